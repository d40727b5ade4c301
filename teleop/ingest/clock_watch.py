"""Find the steps of a robot's clock in the rows of its frames as they come."""

from collections.abc import Sequence

from teleop.clock_steps import LONGEST_PAUSE_S, LONGEST_PAUSE_US, MAX_STEPS, STEP_BACK_S, ClockStep, clock_step
from teleop.ingest.types import Row


class ClockWatch:
    """Detector of steps in rows that come in the order of their indexes; `steps` holds the found steps.

    `last` is the frame_index and the timestamp of the last frame that is stored already, in unix microseconds.
    """

    def __init__(self, last: tuple[int, int] | None = None):
        self.steps: list[ClockStep] = []
        self._last = last

    def follow(self, rows: Sequence[Row], fps: int) -> None:
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
