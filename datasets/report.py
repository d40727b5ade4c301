"""Report the content of a dataset, the parts that were left out with the reasons, and the counts of its verification.

The same manifest gives the same report: it has no present time and no path of this machine.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from datasets.manifest import Manifest, code_version
from datasets.types import Episode, Plan, SessionEntry, Trim

REPORT_FORMAT = 1
FOLDER = "export"  # of the report, in the dataset
UNFINISHED = ".new"  # the ending of info.json, which gets its name last
MAX_TRIMS = 100  # of a session; a session may have a hundred thousand
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def make_report(manifest: Manifest, written, verified, folder: Path) -> dict[str, Any]:
    """Return the report as JSON, from datasets.writing.Written and the result of the verification.

    Exports without a grid (MCAP, Parquet) have no spans, and their plans only warnings: each session counts as one
    episode.
    """
    plans = written.plans
    spans = written.spans or [None] * len(written.entries)
    sessions = [_session(*each) for each in zip(written.entries, plans, spans, strict=True)]
    files = list(_files(folder))
    seconds = sum(session["seconds"] for session in sessions)
    return {
        "report_format": REPORT_FORMAT,
        "name": manifest.name,
        "format": manifest.options.format,
        "code_version": manifest.code_version,
        "made_by": code_version(),
        "created": manifest.created,
        "options": manifest.options.to_json(),
        "episodes": sum(session["episode_count"] for session in sessions),
        "rows": sum(session["rows"] for session in sessions),
        "seconds": round(seconds, 6),
        "hours": round(seconds / 3600, 6),
        "bytes": sum(file["bytes"] for file in files),
        "verified": verified._asdict(),
        "fills": _fills(plans),
        "films": _films(episode for each in spans if each for episode in each),
        "trimmed_seconds": _trimmed(plans),
        "refusals": [_refusal(session) for session in sessions if not session["episode_count"]],
        "warnings": [_of_session(each["session_id"], text) for each in sessions for text in each["warnings"]],
        "sessions": sessions,
        "files": files,
    }


def write_report(folder: Path, manifest: Manifest, report: Mapping[str, Any]) -> None:
    """Write the report and the manifest into the folder `export` of the dataset."""
    from django.template.loader import render_to_string

    from datasets.report_page import context_of

    (folder / FOLDER).mkdir()
    for name, content in (("report", report), ("manifest", manifest.to_json())):
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    page = render_to_string("datasets/report.html", context_of(report))
    (folder / FOLDER / "report.html").write_text(page, encoding="utf-8")


def _session(entry: SessionEntry, plan: Plan, spans: list[Mapping[str, Any]] | None) -> dict[str, Any]:
    about = {
        "session_id": entry.session_id,
        "robot": entry.robot,
        "key": entry.key,
        "start_time": entry.start_time,
        "task": entry.task,
        "success": entry.success,
        "split": "validation" if entry.is_validation else "train",
        "frames": entry.frame_count,
        "values_sha256": entry.values_sha256,
    }
    if spans is None:
        raw = {"episode_count": 1, "rows": entry.frame_count, "seconds": _duration_s(entry)}
        return about | raw | {"episodes": [], "trims": [], "trim_count": 0, "warnings": plan.warnings}
    episodes = list(map(_episode, plan.episodes, spans))
    return about | {
        "episode_count": len(episodes),
        "rows": sum(episode["rows"] for episode in episodes),
        "seconds": round(sum(episode.length / episode.fps for episode in plan.episodes), 6),
        "episodes": episodes,
        "trims": [_trim(trim) for trim in plan.trims[:MAX_TRIMS]],
        "trim_count": len(plan.trims),
        "warnings": [*plan.warnings, *_film_warnings(spans)],
    }


def _duration_s(entry: SessionEntry) -> float:
    """Return the time from the first frame to the last, without steps of the robot's clock if they are known."""
    begin, end = map(datetime.fromisoformat, (entry.start_time, entry.end_time))
    return round(entry.quality.get("duration_s", (end - begin).total_seconds()), 6)


def _episode(episode: Episode, films: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "begin": _moment(episode.begin_us),
        "seconds": round(episode.length / episode.fps, 6),
        "rows": episode.length,
        "repeated_rows": episode.repeated_rows,
        "unused_frames": episode.unused_frames,
        "largest_offset_ms": round(episode.largest_offset_us / 1000, 3),
        "repeated_pictures": dict(episode.repeated_pictures),
        "unused_pictures": dict(episode.unused_pictures),
        "copied_pictures": {camera: span.copied_rows for camera, span in films.items()},
    }


def _trim(trim: Trim) -> dict[str, Any]:
    seconds = round((trim.end_us - trim.begin_us) / 1e6, 6)
    return {"begin": _moment(trim.begin_us), "end": _moment(trim.end_us), "seconds": seconds, "reason": trim.reason}


def _film_warnings(spans: Iterable[Mapping[str, Any]]) -> list[str]:
    return [warning for films in spans for span in films.values() for warning in span.warnings]


def _of_session(session_id: int, text: str) -> str:
    """Name the session of a warning, unless the warning does so."""
    name = f"session {session_id}"
    return text if text.startswith(name) else f"{name}: {text}"


def _fills(plans: Iterable[Plan]) -> dict[str, Any]:
    """Return the totals of rows that repeat a frame or a picture, and of frames and pictures that no row uses."""
    repeated, unused = Counter[str](), Counter[str]()
    rows = frames = offset_us = 0
    for episode in (episode for plan in plans for episode in plan.episodes):
        rows, frames = rows + episode.repeated_rows, frames + episode.unused_frames
        offset_us = max(offset_us, episode.largest_offset_us)
        repeated.update(episode.repeated_pictures)
        unused.update(episode.unused_pictures)
    return {
        "repeated_rows": rows,
        "unused_frames": frames,
        "repeated_pictures": dict(sorted(repeated.items())),
        "unused_pictures": dict(sorted(unused.items())),
        "largest_offset_ms": round(offset_us / 1000, 3),
    }


def _films(episodes: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return by camera how many pictures have the packets of the uploaded films, and how many were encoded again."""
    copied, pictures = Counter[str](), Counter[str]()
    for films in episodes:
        for camera, span in films.items():
            copied[camera] += span.copied_rows
            pictures[camera] += span.length
    return {
        camera: {"copied_pictures": copied[camera], "encoded_pictures": pictures[camera] - copied[camera]}
        for camera in sorted(pictures)
    }


def _trimmed(plans: Iterable[Plan]) -> dict[str, float]:
    """Return the seconds that are in no episode, by reason."""
    by_reason = Counter[str]()
    for trim in (trim for plan in plans for trim in plan.trims):
        by_reason[trim.reason] += trim.end_us - trim.begin_us
    return {reason: round(total_us / 1e6, 6) for reason, total_us in sorted(by_reason.items())}


def _refusal(session: Mapping[str, Any]) -> dict[str, Any]:
    """Name a session that gives no episode, and why."""
    reasons = sorted({trim["reason"] for trim in session["trims"]})
    return {"session_id": session["session_id"], "robot": session["robot"], "reasons": reasons}


def _files(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = path.relative_to(folder).as_posix().removesuffix(UNFINISHED)
        yield {"path": name, "bytes": path.stat().st_size, "sha256": sha256}


def _moment(time_us: int) -> str:
    return (EPOCH + timedelta(microseconds=int(time_us))).isoformat(timespec="microseconds")
