"""Make an episode of a part of a session: its rows, and which samples they take."""

from collections.abc import Sequence

import numpy as np

from datasets.grid.parts import Part
from datasets.grid.streams import Stream
from datasets.grid.times import row_times_us, rows_until
from datasets.types import Episode

MIN_ROWS = 2


def episode_of(
    streams: Sequence[Stream], part: Part, session_id: int, number: int, fps: int, half_us: int
) -> Episode | None:
    """Return the longest episode that begins at the first frame of the part; None if it has fewer than two rows."""
    frames = streams[0]
    run_times_us = frames.run_times_us(part.begin_us)
    first = int(np.searchsorted(run_times_us, part.low_us, "left"))
    if first == len(run_times_us):
        return None
    begin_us = int(run_times_us[first])
    length = rows_until(begin_us, part.high_us, fps)
    if length < MIN_ROWS:
        return None
    rows_us = row_times_us(begin_us, fps, length)
    limits_us = rows_us + half_us
    samples: dict[str, np.ndarray] = {}
    pictures: dict[str, np.ndarray] = {}
    runs: dict[str, tuple[int, int]] = {}
    for stream in streams:
        found = stream.newest(part.begin_us, limits_us)
        (pictures if stream.is_camera else samples).update(dict.fromkeys(stream.keys, found))
        if not stream.is_camera:
            runs.update(dict.fromkeys(stream.keys, stream.run_ends(part.begin_us)))
    used = samples[frames.keys[0]]
    return Episode(
        session_id=session_id,
        number=number,
        begin_us=begin_us,
        fps=fps,
        length=length,
        samples=samples,
        pictures=pictures,
        runs=runs,
        repeated_rows=_repeated(used),
        unused_frames=_unused(used),
        largest_offset_us=int(np.abs(rows_us - frames.times_us()[used]).max()),
        repeated_pictures={key: _repeated(positions) for key, positions in pictures.items()},
        unused_pictures={key: _unused(positions) for key, positions in pictures.items()},
    )


def _repeated(positions: np.ndarray) -> int:
    """Count the rows that take the same sample as the row before."""
    return len(positions) - 1 - int(np.count_nonzero(np.diff(positions)))


def _unused(positions: np.ndarray) -> int:
    """Count the samples between those of the first and the last row that no row takes."""
    return int(positions[-1] - positions[0]) - int(np.count_nonzero(np.diff(positions)))
