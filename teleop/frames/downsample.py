"""Downsample columns for plots, so that peaks survive and gaps stay gaps."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from tsdownsample import MinMaxLTTBDownsampler

from teleop.clock_steps import ClockStep
from teleop.frames.columns import session_tables
from teleop.frames.fields import HEAD, TooManyColumns
from teleop.frames.sql import FrameRange, blocks
from teleop.frames.steady_times import steady
from teleop.models import TeleopFrame

# MAX_FRAMES, over an hour at 60 frames a second, are all read in two seconds. Of more frames only MAX_PICKED are read,
# in less than one second, as stepping from index entry to index entry costs 12 us a frame.
MAX_FRAMES, MAX_PICKED = 250_000, 60_000
MAX_COLUMNS = 64  # 128 MB of doubles with MAX_FRAMES frames
GAP = 2.5  # times the usual step between two frames: one frame that is missing is two steps
MAX_ANCHORS, MAX_GAPS = 500, 500


class Series(NamedTuple):
    """One column: unix seconds and values, a NaN in the middle of each gap."""

    name: str
    timestamps: np.ndarray
    values: np.ndarray


class Picture(NamedTuple):
    """Columns for a plot. If `stride` is above 1, only every stride-th frame was read, and shorter events are not seen.

    `anchors` are pairs of frame_index and timestamp: between two of them frames come at a steady rate, unless there is
    one of the `gaps`, pairs of timestamps.
    """

    stride: int
    anchors: list[tuple[int, float]]
    gaps: list[tuple[float, float]]
    series: list[Series]


def read_series(
    frames: FrameRange, fields: Iterable[str], points: int, clock_steps: Sequence[ClockStep] = ()
) -> Picture:
    """Read the columns that the fields select; raise TooManyColumns if there are more than MAX_COLUMNS.

    The timestamps leave out the steps of the session's clock.
    """
    parts: list[pa.Table] = []
    selected: dict[str, None] = {}
    frames = frames._replace(stride=_stride(frames))
    for part in session_tables(blocks(frames), fields):
        parts.append(part)
        selected |= dict.fromkeys(part.column_names)
        if (count := len(selected) - len(HEAD)) > MAX_COLUMNS:
            raise TooManyColumns(count, MAX_COLUMNS)
    if not parts:
        return Picture(1, [], [], [])
    columns = pa.concat_tables(parts, promote_options="default")
    indexes, timestamps = (columns[name].to_numpy() for name in HEAD)
    timestamps = steady(indexes, timestamps, clock_steps)
    names = [name for name in columns.column_names if name not in HEAD]
    series = [thin(name, timestamps, columns[name].to_numpy(), points) for name in names]
    return Picture(frames.stride, *landmarks(indexes, timestamps), series)


def _stride(frames: FrameRange) -> int:
    """Return 1, unless there are so many frames that reading all of them would take seconds."""
    count = TeleopFrame.objects.count_between(frames.session_id, frames.start, frames.stop)
    return 1 if count <= MAX_FRAMES else -(-count // MAX_PICKED)


def landmarks(indexes: np.ndarray, timestamps: np.ndarray) -> tuple[list, list]:
    """Return the anchors and the longest gaps. If the clock was set back, the highest time so far is used."""
    timestamps = np.maximum.accumulate(timestamps)
    before = _before_gaps(timestamps)
    longest = np.argsort(timestamps[before] - timestamps[before + 1], kind="stable")[:MAX_GAPS]
    before = np.sort(before[longest])
    spread = np.linspace(0, len(indexes) - 1, MAX_ANCHORS).astype(int)
    chosen = np.unique(np.concatenate([spread, before, before + 1]))
    anchors = zip(indexes[chosen].tolist(), timestamps[chosen].tolist(), strict=True)
    return list(anchors), list(zip(timestamps[before].tolist(), timestamps[before + 1].tolist(), strict=True))


def _before_gaps(timestamps: np.ndarray) -> np.ndarray:
    """Return the positions of the last frames before a gap."""
    steps = np.diff(timestamps)
    return np.flatnonzero(steps > GAP * np.median(steps)) if len(steps) else np.array([], int)


def thin(name: str, timestamps: np.ndarray, values: np.ndarray, points: int) -> Series:
    """Keep at most `points` values, and add a NaN where frames or this column's values are missing for long."""
    is_there = ~np.isnan(values)
    timestamps, values = timestamps[is_there], values[is_there]
    if len(values) < 2:
        return Series(name, timestamps, values)
    gaps_before = np.searchsorted(_before_gaps(timestamps), np.arange(len(timestamps)))
    if len(values) > points:
        chosen = MinMaxLTTBDownsampler().downsample(values, n_out=points)
        timestamps, values, gaps_before = timestamps[chosen], values[chosen], gaps_before[chosen]
    after_gap = np.flatnonzero(np.diff(gaps_before)) + 1
    middles = (timestamps[after_gap - 1] + timestamps[after_gap]) / 2
    return Series(name, np.insert(timestamps, after_gap, middles), np.insert(values, after_gap, np.nan))
