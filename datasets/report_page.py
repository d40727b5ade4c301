"""Prepare a report for its HTML page: numbers as texts, and long lists cut."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

MAX_ROWS = 500  # of a table; report.json has all
MAX_PARTS = 200  # of a session's bar
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def context_of(report: Mapping[str, Any]) -> dict[str, Any]:
    sessions, files, warnings = report["sessions"], report["files"], report["warnings"]
    return {
        "report": report,
        "on_grid": report["format"].startswith("lerobot"),
        "facts": _facts(report),
        "checks": _checks(report["verified"]),
        "options": [(name, json.dumps(value, ensure_ascii=False)) for name, value in report["options"].items()],
        "fills": _fills(report["fills"]),
        "films": [(camera, *map(_count, counts.values())) for camera, counts in report["films"].items()],
        "trimmed": [(reason, _seconds(seconds)) for reason, seconds in report["trimmed_seconds"].items()],
        "refusals": [(each["session_id"], each["robot"], ", ".join(each["reasons"])) for each in report["refusals"]],
        "warnings": warnings[:MAX_ROWS],
        "sessions": [_session(session) for session in sessions[:MAX_ROWS]],
        "files": [(file["path"], _size(file["bytes"]), file["sha256"]) for file in files[:MAX_ROWS]],
        "more": {
            name: len(rows) - MAX_ROWS
            for name, rows in (("sessions", sessions), ("files", files), ("warnings", warnings))
            if len(rows) > MAX_ROWS
        },
    }


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("episodes", _count(report["episodes"])),
        ("hours", f"{report['hours']:,.2f}"),
        ("rows", _count(report["rows"])),
        ("sessions", _count(len(report["sessions"]))),
        ("size", _size(report["bytes"])),
    ]


def _checks(verified: Mapping[str, int]) -> str:
    values, rows = _count(verified["values"]), _count(verified["rows"])
    pictures, files = _count(verified["pictures"]), _count(verified["files"])
    return f"{values} values in {rows} rows and {pictures} pictures, in {files} files"


def _fills(fills: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("rows that repeat the frame before", _count(fills["repeated_rows"])),
        ("frames that no row uses", _count(fills["unused_frames"])),
        ("greatest distance of a frame from its row", f"{fills['largest_offset_ms']:.3f} ms"),
    ]
    for name, words in (("repeated_pictures", "repeated pictures"), ("unused_pictures", "unused pictures")):
        rows += [(f"{words} of {camera}", _count(count)) for camera, count in fills[name].items()]
    return rows


def _session(session: Mapping[str, Any]) -> dict[str, Any]:
    success = {True: "yes", False: "no", None: ""}[session["success"]]
    return {
        **{name: session[name] for name in ("session_id", "robot", "task", "split")},
        "start": session["start_time"][:19].replace("T", " "),
        "success": success,
        "episodes": _count(session["episode_count"]),
        "rows": _count(session["rows"]),
        "seconds": _seconds(session["seconds"]),
        "bar": _bar(session["episodes"], session["trims"]),
    }


def _bar(episodes: Iterable[Mapping[str, Any]], trims: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the episodes and the trims in the order of time, each as wide as it lasts."""
    parts = [(each["begin"], "episode", "episode", each["seconds"]) for each in episodes]
    parts += [(each["begin"], "trim", each["reason"], each["seconds"]) for each in trims]
    shown = sorted(parts)[:MAX_PARTS]
    percent = 100 / (sum(seconds for *_, seconds in shown) or 1)
    return [
        {"kind": kind, "title": f"{title}, {_seconds(seconds)}", "width": f"{seconds * percent:.3f}"}
        for _, kind, title, seconds in shown
    ]


def _count(number: int) -> str:
    return f"{number:,}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.2f} s"


def _size(size: int) -> str:
    power = min(len(UNITS) - 1, (len(str(size)) - 1) // 3)
    return f"{size / 1000**power:,.1f} {UNITS[power]}" if power else f"{size} {UNITS[0]}"
