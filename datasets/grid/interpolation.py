"""Interpolate columns linearly between the samples before and after each row."""

from typing import NamedTuple

import numpy as np

from datasets.grid.streams import FRAMES, has_value
from datasets.grid.times import SECOND_US, row_times_us
from datasets.types import Episode, Recording


class Neighbours(NamedTuple):
    """The rows that have a sample before and one after them, both in the run of the episode.

    `before` and `after` are positions in the Recording; `share` is the place of the row between them, from 0 to 1.
    """

    rows: np.ndarray
    before: np.ndarray
    after: np.ndarray
    share: np.ndarray


class Interpolation:
    """Interpolation of the columns of an episode; columns with the same samples share the search for neighbours."""

    def __init__(self, recording: Recording, episode: Episode, max_gap_us: int):
        self._recording, self._episode, self._max_gap_us = recording, episode, max_gap_us
        self._found: dict[int, Neighbours] = {}  # by the identity of the array of samples, which the episode keeps

    def of(self, name: str, held: np.ndarray) -> np.ndarray:
        """Return the values of a column at the rows, float64 [length]: a + (b - a) * ((t - t_a) / (t_b - t_a)).

        a is the newest sample at the row's time t or earlier, b the one after. Where the run does not have both, the
        value is that of `held`. This order of operations is a part of the format: another one may round differently.
        """
        column = self._recording.columns[name]
        rows, before, after, share = self._neighbours(name, column)
        a = column[before]
        with np.errstate(over="ignore", invalid="ignore"):
            between = a + (column[after] - a) * share
        held[rows] = np.where(share == 0, a, between)  # a itself, also if a is -0.0 or b - a is infinite
        return held

    def _neighbours(self, name: str, column: np.ndarray) -> Neighbours:
        samples = self._episode.samples
        key = id(samples[name if name in samples else FRAMES])
        if key not in self._found:
            if len(self._found) > 1:  # each takes 32 bytes a row
                self._found.popitem()
            self._found[key] = self._find(name, column)
        return self._found[key]

    def _find(self, name: str, column: np.ndarray) -> Neighbours:
        rows_us = row_times_us(self._episode.begin_us, self._episode.fps, self._episode.length)
        positions = self._samples(name, column, rows_us)
        times_us = self._recording.times_us[positions]
        before = np.searchsorted(times_us, rows_us, "right") - 1
        rows = np.flatnonzero((before >= 0) & (before < len(times_us) - 1))
        before = before[rows]
        after = before + 1
        share = (rows_us[rows] - times_us[before]) / (times_us[after] - times_us[before])
        return Neighbours(rows, positions[before], positions[after], share)

    def _samples(self, name: str, column: np.ndarray, rows_us: np.ndarray) -> np.ndarray:
        """Return the positions of the column's samples in its run, of those that may be neighbours of rows.

        A session may have many short episodes: each looks at its own frames only.
        """
        margin_us = self._max_gap_us + SECOND_US  # half the time between frames is less than a second
        near = np.searchsorted(self._recording.times_us, (rows_us[0] - margin_us, rows_us[-1] + margin_us))
        first, last = self._episode.runs[name if name in self._episode.runs else FRAMES]
        positions = np.arange(max(first, near[0]), min(last + 1, near[1]))
        return positions[has_value(column[positions])] if name in self._episode.runs else positions
