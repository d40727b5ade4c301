"""Tell the frames before a step of the robot's clock from those after it, also where their times overlap.

In the order of frame_index a clock that is set back shows. In the order of time, frames of both sides are mixed, and
no picture tells to which side it belongs: such times are on side -1, which is in no episode.
"""

from typing import NamedTuple

import numpy as np

from datasets.grid.runs import Runs, find_runs
from datasets.grid.times import SECOND_US
from datasets.types import Recording
from teleop.clock_steps import LONGEST_PAUSE_US, STEP_BACK_S


class ClockStep(NamedTuple):
    """A step before the frame `frame_index`, with the times of the frames before and after it, and its size."""

    frame_index: int
    before_us: int
    after_us: int
    step_s: float


def sides_of(recording: Recording, max_gap_us: int) -> np.ndarray | None:
    """Return the side of each frame, int64 [frames]: numbers from 0, or -1; None if the clock was not set back."""
    if (np.diff(recording.indexes) > 0).all():
        return None  # the order of time is that of the indexes
    by_index = np.argsort(recording.indexes, kind="stable")
    is_step = np.diff(recording.times_us[by_index]) < -STEP_BACK_S * SECOND_US
    if not is_step.any():
        return None
    sides = np.empty(len(by_index), np.int64)
    sides[by_index] = np.concatenate(([0], np.cumsum(is_step)))
    begins, ends = _shared_times(recording.times_us, sides, max_gap_us)
    begun = np.searchsorted(begins, recording.times_us, "right")
    ended = np.searchsorted(ends, recording.times_us, "left")
    sides[begun > ended] = -1
    return sides


def clock_steps(recording: Recording, fps: int) -> list[ClockStep]:
    """Return the steps as teleop/clock_steps.py finds them, in the order of indexes; `fps` is the session's."""
    by_index = np.argsort(recording.indexes, kind="stable")
    indexes, times_us = recording.indexes[by_index], recording.times_us[by_index]
    elapsed_us = np.diff(times_us)
    sizes_us = elapsed_us - np.diff(indexes) * (SECOND_US / fps)
    steps = np.flatnonzero((elapsed_us < -STEP_BACK_S * SECOND_US) | (sizes_us > LONGEST_PAUSE_US))
    return [
        ClockStep(int(indexes[at + 1]), int(times_us[at]), int(times_us[at + 1]), float(sizes_us[at] / SECOND_US))
        for at in steps
    ]


def _shared_times(times_us: np.ndarray, sides: np.ndarray, max_gap_us: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the begins and ends of times that runs of two sides have in common."""
    by_side = np.lexsort((times_us, sides))
    return _covered_twice(find_runs(times_us[by_side], max_gap_us, sides[by_side]))


def _covered_twice(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    times_us = np.concatenate((runs.begins_us, runs.ends_us))
    changes = np.repeat([1, -1], len(runs.begins_us))
    order = np.lexsort((-changes, times_us))  # at equal times begins come first: both ends belong to a run
    depth = np.cumsum(changes[order])
    is_begin = (depth == 2) & (changes[order] == 1)
    is_end = (depth == 1) & (changes[order] == -1)
    return times_us[order][is_begin], times_us[order][is_end]
