"""Reduce a session to a line of at most 64 values, by which episodes are told apart: no Django, no I/O.

`timestamps` are unix seconds without steps of the clock, float64 [frames]; `positions` are those of
teleop/quality/scores.py.
"""

import numpy as np

from teleop.quality.scores import joint_ranges

PARTS, FASTEST = 64, 255


def sparkline(timestamps: np.ndarray, positions: np.ndarray) -> bytes:
    """Return how far the joints travel in each of PARTS equal parts of the time, the fastest part as 255.

    The travel of a joint counts as a share of its range, so that a gripper counts as much as a shoulder. Between two
    frames a joint moves evenly, also where frames are missing. A session with fewer steps has fewer parts; b"" if it
    has none, or no joints.
    """
    steps = len(timestamps) - 1
    if steps < 1 or not positions.shape[1]:
        return b""
    travel = np.zeros(steps + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        for joint, range_ in zip(positions.T, joint_ranges(positions.T), strict=True):
            if range_ > 0:
                travel[1:] += np.nan_to_num(np.abs(np.diff(joint)) / range_, posinf=0.0)
    times = np.maximum.accumulate(timestamps)
    ends = np.linspace(times[0], times[-1], min(PARTS, steps) + 1)
    # By interpolation, as a part of a short session has one frame or two of them.
    speeds = np.diff(np.interp(ends, times, np.cumsum(travel)))
    return bytes(np.rint(speeds / (speeds.max() or 1) * FASTEST).astype(np.uint8))
