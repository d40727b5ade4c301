"""Leave the steps of a robot's clock out of columns of timestamps, in unix seconds: no Django, no I/O.

The times go on as if the clock had not stepped: a step lasts as long as the frames between usually take.
"""

from collections.abc import Sequence

import numpy as np

from teleop.clock_steps import LONGEST_PAUSE_S, MAX_STEPS, STEP_BACK_S, ClockStep, clock_step


def step_sizes(indexes: np.ndarray, timestamps: np.ndarray, fps: int) -> np.ndarray:
    """Return for each frame by how many seconds the clock stepped before it, as ClockWatch finds it; 0: it did not."""
    elapsed = np.diff(timestamps, prepend=timestamps[:1])
    sizes = elapsed - np.diff(indexes, prepend=indexes[:1]) / fps
    return np.where((elapsed < -STEP_BACK_S) | (sizes > LONGEST_PAUSE_S), sizes, 0.0)


def clock_steps(indexes: np.ndarray, timestamps: np.ndarray, sizes: np.ndarray) -> list[ClockStep]:
    """Return the first MAX_STEPS of the steps of these sizes."""
    return [
        clock_step(int(indexes[at]), float(timestamps[at - 1]), float(timestamps[at]), float(sizes[at]))
        for at in np.flatnonzero(sizes)[:MAX_STEPS]
    ]


def steady(indexes: np.ndarray, timestamps: np.ndarray, steps: Sequence[ClockStep]) -> np.ndarray:
    """Return the timestamps without the steps of their session; the frames may be a part of it."""
    for step in steps:
        timestamps = timestamps - np.where(indexes >= step["frame_index"], step["step_s"], 0.0)
    return timestamps
