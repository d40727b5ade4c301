"""Find the steps of a robot's clock in the timestamps of its frames, in the order of frame_index.

A clock steps when NTP sets it, or a person does. The timestamps are stored as they are; the duration of a session and
its plots leave a step out. teleop/ingest/clock_watch.py finds the steps in rows as they come, and
teleop/frames/steady_times.py the same steps in columns.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypedDict

# Frames that several threads stamp may be out of order by less; ntpd steps a clock by 0.128 s at least.
STEP_BACK_S = 0.1
# Timestamps cannot tell a step ahead from a pause, so a longer pause counts as a step.
LONGEST_PAUSE_S = 3600
LONGEST_PAUSE_US = LONGEST_PAUSE_S * 10**6
MAX_STEPS = 20  # of a session; later steps are not listed


class ClockStep(TypedDict):
    """A step before the frame `frame_index`: its timestamp, that of the frame before it, and the size of the step."""

    frame_index: int
    before: float
    timestamp: float
    step_s: float


def clock_step(frame_index: int, before: float, timestamp: float, step_s: float) -> ClockStep:
    return {
        "frame_index": frame_index,
        "before": round(before, 6),
        "timestamp": round(timestamp, 6),
        "step_s": round(step_s, 6),
    }


def merged(known: Iterable[ClockStep], found: Iterable[ClockStep]) -> list[ClockStep]:
    """Return all these steps in the order of the frames; a step that is saved again is the same."""
    by_index = {step["frame_index"]: step for step in (*known, *found)}
    return [by_index[index] for index in sorted(by_index)][:MAX_STEPS]


def span(
    first: datetime, last: datetime, steps: Sequence[ClockStep] | None
) -> tuple[datetime, datetime, timedelta | None]:
    """Return the least and the greatest timestamp of a session, and its duration without the steps, if there are any.

    `first` and `last` are the timestamps of its lowest and its highest frame_index.
    """
    if not steps:
        return min(first, last), max(first, last), None
    at_steps = [datetime.fromtimestamp(step[name], UTC) for step in steps for name in ("before", "timestamp")]
    steady = last - first - timedelta(seconds=sum(step["step_s"] for step in steps))
    return min(first, last, *at_steps), max(first, last, *at_steps), max(steady, timedelta())
