"""Find the steps of a robot's clock in the timestamps of its frames, in the order of frame_index.

A clock steps when NTP sets it, or a person does. The timestamps are stored as they are; the duration of a session and
its plots leave a step out. teleop/frames/steady_times.py finds the same steps in columns.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from teleop.ingest.types import Row

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


class ClockWatch:
    """Detector of steps in rows that come in the order of their indexes; `steps` holds the found steps.

    `last` is the frame_index and the timestamp of the last frame that is stored already, in unix microseconds.
    """

    def __init__(self, last: tuple[int, int] | None = None):
        self.steps: list[ClockStep] = []
        self._last = last

    def follow(self, rows: Sequence["Row"], fps: int) -> None:
        last_index, last_us = self._last or (-1, rows[0].timestamp_us)
        for _, _, frame_index, timestamp_us, _ in rows:
            if frame_index > last_index:  # if not, the robot has sent it again
                if not 0 <= timestamp_us - last_us <= LONGEST_PAUSE_US:
                    self._check(last_index, last_us, frame_index, timestamp_us, fps)
                last_index, last_us = frame_index, timestamp_us
        self._last = last_index, last_us

    def _check(self, last_index: int, last_us: int, frame_index: int, timestamp_us: int, fps: int) -> None:
        elapsed_s = (timestamp_us - last_us) / 1e6
        step_s = elapsed_s - (frame_index - last_index) / fps
        if (elapsed_s < -STEP_BACK_S or step_s > LONGEST_PAUSE_S) and len(self.steps) < MAX_STEPS:
            self.steps.append(clock_step(frame_index, last_us / 1e6, timestamp_us / 1e6, step_s))


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
