"""Columns thinned for plots, so that peaks survive and gaps stay gaps."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from tsdownsample import MinMaxLTTBDownsampler

from teleop.frames.columns import table
from teleop.frames.fields import HEAD, TooManyColumns
from teleop.frames.text import FrameRange, blocks
from teleop.models import TeleopFrame

# Over an hour at 60 a second is read whole, in two seconds. Of more only so many are, in about the same time, as to go
# from index entry to index entry costs 12 us a frame.
MAX_FRAMES, MAX_PICKED = 250_000, 125_000
MAX_COLUMNS = 64  # with as many frames 128 MB of doubles
GAP = 2.5  # times the usual step between two frames: one frame that is missing is two steps


class Series(NamedTuple):
    """One column: unix seconds and values, a NaN in the middle of each gap."""

    name: str
    timestamps: np.ndarray
    values: np.ndarray


def read_series(frames: FrameRange, fields: Iterable[str], points: int) -> tuple[int, list[Series]]:
    """The stride that was taken, and the columns; raises TooManyColumns."""
    parts: list[pa.Table] = []
    frames = frames._replace(stride=_stride(frames))
    for block in blocks(frames):
        parts.append(table(block, fields))
        if (selected := parts[-1].num_columns - len(HEAD)) > MAX_COLUMNS:
            raise TooManyColumns(f"fields selects {selected} numbers; at most {MAX_COLUMNS} expected")
    if not parts:
        return 1, []
    columns = pa.concat_tables(parts, promote_options="default")
    timestamps = columns["timestamp"].to_numpy()
    names = [name for name in columns.column_names if name not in HEAD]
    return frames.stride, [thin(name, timestamps, columns[name].to_numpy(), points) for name in names]


def _stride(frames: FrameRange) -> int:
    """1, unless there are so many frames that looking at all of them would take seconds."""
    stored = TeleopFrame.objects.filter(
        session_id=frames.session_id, frame_index__gte=frames.start, frame_index__lt=frames.stop
    )
    count = stored.count()
    return 1 if count <= MAX_FRAMES else -(-count // MAX_PICKED)


def thin(name: str, timestamps: np.ndarray, values: np.ndarray, points: int) -> Series:
    """At most `points` of them; where frames, or this column's values, are missing for long, a NaN besides."""
    is_there = ~np.isnan(values)
    timestamps, values = timestamps[is_there], values[is_there]
    if len(values) < 2:
        return Series(name, timestamps, values)
    steps = np.diff(timestamps)
    gaps_before = np.concatenate([[0], np.cumsum(steps > GAP * np.median(steps))])
    if len(values) > points:
        chosen = MinMaxLTTBDownsampler().downsample(values, n_out=points)
        timestamps, values, gaps_before = timestamps[chosen], values[chosen], gaps_before[chosen]
    after_gap = np.flatnonzero(np.diff(gaps_before)) + 1
    middles = (timestamps[after_gap - 1] + timestamps[after_gap]) / 2
    return Series(name, np.insert(timestamps, after_gap, middles), np.insert(values, after_gap, np.nan))
