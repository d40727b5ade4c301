"""Decide whether a run was sound, and whether it met its target; pure."""

from typing import Any

from loadtest.generator.frames import FPS
from loadtest.report import published

MET, CLOSE, MISSED = "met", "close", "missed"
FAILED, NONE = "failed", "no verdict"  # its counts disagree; the generator was the bottleneck


def problems(run: dict[str, Any]) -> list[str]:
    """Return why the counts of a run do not agree; empty if the run was sound."""
    sent, acked, stored = run["sent"], run["acked"], run["stored"]
    found = []
    if not sent:
        found.append("no frame was sent")
    if acked is not None and acked < sent:
        found.append(f"{sent - acked} of {sent} frames were not acknowledged")
    if stored is None:
        found.append("the stored frames could not be counted")
    elif acked is not None and stored < acked:
        found.append(f"{acked - stored} of {acked} acknowledged frames are not stored")
    elif stored < sent and acked is None:
        found.append(f"{sent - stored} of {sent} frames are not stored")
    elif stored > sent:
        found.append(f"{stored - sent} more frames are stored than were sent")
    return found


def rate_percent(run: dict[str, Any]) -> float:
    return run["rps"] / (run["robots"] * FPS) * 100


def missed(run: dict[str, Any]) -> list[str]:
    """Return the target's parts that a sound run missed; a number that was not measured counts as met."""
    target = published.target(run["database"], run["robots"])
    found = []
    for name in ("p95_ms", "cpu", "memory_mb", "db_connections"):
        if run[name] is not None and run[name] >= getattr(target, name):
            found.append(f"{name} is {run[name]:g}, below {getattr(target, name):g} expected")
    if run["failures"]:
        found.append(f"{run['failures']} failures, none expected")
    if run.get("scenario") != "mixed" and rate_percent(run) < target.rate_percent:
        found.append(f"{rate_percent(run):.1f} % of the rate, 100 % expected")
    return found


def is_close(run: dict[str, Any]) -> bool:
    """Check the bounds that the report calls "at the limit", which are wider than the target."""
    return (
        run["p95_ms"] is not None
        and run["p95_ms"] < published.LIMIT_P95_MS
        and run["failures"] < run["sent"] * published.LIMIT_FAILURES_SHARE
        and (run.get("scenario") == "mixed" or rate_percent(run) >= published.LIMIT_RATE_PERCENT)
    )


def verdict(run: dict[str, Any], is_sound: bool, bottleneck: str | None) -> str:
    if not is_sound:
        return FAILED
    if bottleneck:
        return NONE
    if not missed(run):
        return MET
    return CLOSE if is_close(run) else MISSED


def level(run: dict[str, Any]) -> str:
    """Return the verdict on a run for --find-max: stable, limit, broken, or no verdict."""
    if run["verdict"] in (FAILED, NONE):
        return "broken" if run["verdict"] == FAILED else NONE
    is_full = rate_percent(run) >= 99.5
    is_idle = run["cpu"] is None or run["cpu"] < published.STABLE_CPU
    if is_full and is_idle and run["p95_ms"] < published.STABLE_P95_MS and not run["failures"]:
        return "stable"
    return "limit" if is_close(run) else "broken"
