"""Compute numbers by which bad sessions are found, from their columns: no Django, no I/O.

`indexes` are frame_index, int64 [frames]; `timestamps` are unix seconds, float64 [frames]; `positions` are joint angles
in the robot's units, float64 [frames, joints], NaN where a frame has none. A number is None if there are too few frames
for it. The computation goes joint by joint, so that it needs only a few columns besides a million frames.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from teleop.frames.steady_times import clock_steps, step_sizes

# 5 % of a joint's range a second, over a time so long that one tick of an encoder (0.09 degrees) is no movement.
IDLE_S, IDLE_BAND = 0.25, 0.0125
LEAST_RANGE = 0.1  # of the widest joint's range: the range of a joint that stays still is its encoder's noise
LONGEST_STEP = 1.5  # times the usual one: a missing frame makes two, and a jump in the differentiated positions
LEAST_OTHERS = 3


class Motion(NamedTuple):
    """Frames of a session as columns, in the order of their indexes; and the scores of its motors, if they have any."""

    indexes: np.ndarray
    timestamps: np.ndarray
    positions: np.ndarray
    servo_scores: dict[str, Any] = {}


def quality(motion: Motion, fps: int, others_s: Sequence[float], skipped_frames: int = 0) -> dict[str, Any]:
    """Return the scores of a session; `others_s` are the durations of other sessions of its task.

    `skipped_frames` are indexes that the robot left unused: they do not count as missing.
    All but clock_steps are computed from times in which the robot's clock does not step.
    """
    indexes, positions = motion.indexes, motion.positions
    timestamps, sizes = steady_times(motion, fps)
    duration_s = float(np.ptp(timestamps)) if len(timestamps) else None
    return {
        "idle_share": idle_share(timestamps, positions),
        "jerk": jerk(timestamps, positions),
        "fps_jitter": fps_jitter(timestamps, fps),
        "missing_frames": max(0, int(np.ptp(indexes)) + 1 - len(indexes) - skipped_frames) if len(indexes) else 0,
        "duration_s": duration_s,
        "duration_ratio": duration_ratio(duration_s, others_s),
        "clock_steps": clock_steps(indexes, motion.timestamps, sizes),
        **motion.servo_scores,
    }


def steady_times(motion: Motion, fps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the timestamps without the steps of the robot's clock, and the size of the step before each frame."""
    sizes = step_sizes(motion.indexes, motion.timestamps, fps)
    return motion.timestamps - np.cumsum(sizes), sizes


def idle_share(timestamps: np.ndarray, positions: np.ndarray) -> float | None:
    """Return the share of the time, 0 to 1, in which no joint moves: in 0.25 s by no more than 1.25 % of its range.

    The range is from the 1st to the 99th percentile of its positions, so that one wild value does not make the rest
    look still. Time in which frames or all joints are missing does not count.
    """
    steps, usual_s = _steps(timestamps)
    idle = idle_steps(timestamps, positions.T)
    if idle is None:
        return None
    known = (steps > 0) & (steps <= LONGEST_STEP * usual_s) & ~np.isnan(positions).all(axis=1)[1:]
    known_s = steps[known].sum()
    return float(steps[known & idle].sum() / known_s) if known_s else None


def idle_steps(timestamps: np.ndarray, joints: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return for each step from frame to frame whether it is idle, as `idle_share` says, bool [frames - 1].

    `joints` are float64 [joints, frames] or a list of such columns. None: there are no joints, or too few frames.
    """
    steps, usual_s = _steps(timestamps)
    window = max(1, round(IDLE_S / usual_s)) if usual_s else 0
    if not 0 < window <= len(steps) or not len(joints):
        return None
    still = np.ones(len(steps) - window + 1, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for joint, range_ in zip(joints, joint_ranges(joints), strict=True):
            # Written so that NaN is no movement: a missing joint leaves the result to the others.
            still &= ~(_window_ranges(joint, window + 1) > IDLE_BAND * range_)
    return np.convolve(still, np.ones(window)) > 0.5  # all steps of a still window


def jerk(timestamps: np.ndarray, positions: np.ndarray) -> float | None:
    """Return the root mean square of the third derivative, in units/s^3, over all joints and frames.

    It takes third differences at the usual step, because the jitter of the timestamps would be taken for movement;
    across missing frames there are none. The jerk of A sin(w t) is A w^3 / sqrt(2).
    """
    steps, usual_s = _steps(timestamps)
    if not usual_s or len(steps) < 3:
        return None
    steady = sliding_window_view(steps <= LONGEST_STEP * usual_s, 3).all(axis=-1)
    squares, count = 0.0, 0
    with np.errstate(over="ignore", invalid="ignore"):
        for joint in positions.T:
            thirds = np.diff(joint, 3)[steady]
            thirds = thirds[~np.isnan(thirds)] / usual_s**3
            squares += float(np.square(thirds).sum())
            count += len(thirds)
    found = (squares / count) ** 0.5 if count else np.nan
    return found if np.isfinite(found) else None


def fps_jitter(timestamps: np.ndarray, fps: int) -> float | None:
    """Return the standard deviation of the time between two frames, as a share of 1 / `fps`; pauses count."""
    return float(np.std(np.diff(timestamps)) * fps) if len(timestamps) > 2 else None


def duration_ratio(duration_s: float | None, others_s: Sequence[float]) -> float | None:
    """Return the ratio to the median of the others, if there are three or more."""
    usual_s = median(others_s) if len(others_s) >= LEAST_OTHERS else 0
    return duration_s / usual_s if duration_s is not None and usual_s > 0 else None


def _steps(timestamps: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the times from frame to frame, and their median; 0 where the median is no step forward."""
    steps = np.diff(timestamps)
    return steps, max(0.0, float(np.median(steps))) if len(steps) else 0.0


def _window_ranges(values: np.ndarray, size: int) -> np.ndarray:
    """Return maximum less minimum of each `size` neighbours, NaN if one is; windows of 1, 2, 4 ... are made in turn."""
    low = high = values
    width = 1
    while width < size:
        shift = min(width, size - width)
        low, high = np.minimum(low[:-shift], low[shift:]), np.maximum(high[:-shift], high[shift:])
        width += shift
    return high - low


def joint_ranges(joints: Sequence[np.ndarray]) -> np.ndarray:
    """Return the range of each joint, from the 1st to the 99th percentile, but at least a tenth of the widest."""
    ranges = np.zeros(len(joints))
    for number, joint in enumerate(joints):
        if len(there := joint[~np.isnan(joint)]):
            low, high = np.percentile(there, [1, 99])
            ranges[number] = high - low
    return np.maximum(ranges, LEAST_RANGE * ranges.max())
