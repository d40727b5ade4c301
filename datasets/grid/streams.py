"""Collect the streams of a session: the frames, the cameras, and the columns in which values are missing."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datasets.grid.runs import Runs, Spans, find_runs
from datasets.grid.sides import sides_of
from datasets.types import Camera, Layout, Recording

FRAMES = ""  # the key of the frames among the samples of an episode
NO_TIMES = np.empty(0, np.int64)


class Stream(NamedTuple):
    """Samples in the order of time, and their runs.

    The samples of a column are some of the frames: `positions` are theirs in the Recording, int32 [samples], and
    `all_times_us` has the times of all frames. Without positions it has the times of all samples.
    """

    keys: tuple[str, ...]  # FRAMES, columns or the key of a camera
    is_camera: bool
    all_times_us: np.ndarray
    positions: np.ndarray | None
    runs: Runs

    def times_us(self, part: slice = slice(None)) -> np.ndarray:
        """Return the times of all samples, or of a part of them."""
        return self.all_times_us[part] if self.positions is None else self.all_times_us[self.positions[part]]

    def run_times_us(self, time_us: int) -> np.ndarray:
        """Return the times of the samples in the run that holds `time_us`."""
        return self.times_us(self.runs.at(time_us))

    def run_ends(self, time_us: int) -> tuple[int, int]:
        """Return the positions of the first and last frame of the run that holds `time_us`."""
        run = self.runs.at(time_us)
        first, last = run.start, run.stop - 1
        return (first, last) if self.positions is None else (int(self.positions[first]), int(self.positions[last]))

    @property
    def spans(self) -> Spans:
        return Spans(self.runs.begins_us, self.runs.ends_us)

    @property
    def name(self) -> str:
        """Name the stream as trims and messages do."""
        if self.is_camera:
            return f"camera {self.keys[0].removeprefix('observation.images.')}"
        return self.keys[0] or "the frames"

    @property
    def reason(self) -> str:
        """Say why a time outside of the runs is in no episode."""
        if self.is_camera:
            return self.name
        return f"no value of {self.keys[0]}" if self.keys[0] else "gap"

    def newest(self, time_us: int, limits_us: np.ndarray) -> np.ndarray:
        """Return the positions of the newest samples up to these times, from the run that holds `time_us`."""
        run = self.runs.at(time_us)
        found = np.searchsorted(self.times_us(run), limits_us, "right") + (run.start - 1)
        return found if self.positions is None else self.positions[found].astype(np.int64)


def streams_of(
    recording: Recording, cameras: Sequence[Camera], layout: Layout, max_gap_us: int, join_gaps: bool = False
) -> list[Stream]:
    """Return the streams, first the frames; with `join_gaps` runs end at steps of the clock only.

    A camera or column of the layout that the session does not have is a stream without samples.
    """
    sides, bound_us = sides_of(recording, max_gap_us), None if join_gaps else max_gap_us
    frames = find_runs(recording.times_us, bound_us, sides)
    streams = [Stream((FRAMES,), False, recording.times_us, None, frames)]
    known = {camera.key: camera.times_us for camera in cameras}
    for key in dict.fromkeys([*known, *(camera.key for camera in layout.cameras)]):
        times_us = known.get(key, NO_TIMES)
        streams.append(Stream((key,), True, times_us, None, find_runs(times_us, bound_us)))
    numbers = None if sides is None else run_numbers(frames, len(sides))
    for keys, positions in _sparse_columns(recording, layout):
        runs = find_runs(recording.times_us[positions], bound_us, None if numbers is None else numbers[positions])
        streams.append(Stream(keys, False, recording.times_us, positions, runs))
    return streams


def run_numbers(runs: Runs, length: int) -> np.ndarray:
    """Return for each frame the number of its run, int64 [length]; -1: it is in none."""
    places = np.arange(length)
    begun, ended = np.searchsorted(runs.firsts, places, "right"), np.searchsorted(runs.lasts, places, "left")
    return np.where(begun > ended, ended, -1)


def has_value(column: np.ndarray) -> np.ndarray:
    """Return for each frame whether the column has a value, bool [frames]."""
    return np.not_equal(column, np.array(None)).astype(bool) if column.dtype == object else ~np.isnan(column)


def _sparse_columns(recording: Recording, layout: Layout) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Yield the columns with missing values, and where they have values; together if these are the same frames."""
    together: dict[bytes, list[str]] = {}
    for name in dict.fromkeys(name for feature in layout.features for name in feature.columns):
        column = recording.columns.get(name)
        there = np.zeros(len(recording.times_us), bool) if column is None else has_value(column)
        if not there.all():
            together.setdefault(np.packbits(there).tobytes(), []).append(name)
    for packed, names in together.items():
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=len(recording.times_us))
        yield tuple(names), np.flatnonzero(bits).astype(np.int32)
