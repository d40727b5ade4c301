"""Find the runs of a stream, and intersect the runs of several streams."""

from typing import NamedTuple

import numpy as np


class Runs(NamedTuple):
    """Runs in the order of time: int64 arrays of the positions of their first and last samples, and these times."""

    firsts: np.ndarray
    lasts: np.ndarray
    begins_us: np.ndarray
    ends_us: np.ndarray

    def at(self, time_us: int) -> slice:
        """Return the positions of the run that holds this time."""
        number = int(np.searchsorted(self.begins_us, time_us, "right")) - 1
        return slice(int(self.firsts[number]), int(self.lasts[number]) + 1)


class Spans(NamedTuple):
    """Parts of a session in the order of time, both ends included: int64 arrays."""

    begins_us: np.ndarray
    ends_us: np.ndarray


def find_runs(times_us: np.ndarray, max_gap_us: int | None, sides: np.ndarray | None = None) -> Runs:
    """Return the runs of ascending times; without `max_gap_us` no gap is too long.

    `sides` are int [samples]: two neighbours with different sides are in different runs, and those of side -1 in none.
    """
    if not len(times_us):
        return Runs(*[np.empty(0, np.int64)] * 4)
    is_break = np.zeros(len(times_us) - 1, bool)
    if max_gap_us is not None:
        is_break |= np.diff(times_us) > max_gap_us
    if sides is not None:
        is_break |= np.diff(sides) != 0
    breaks = np.flatnonzero(is_break)
    firsts = np.concatenate(([0], breaks + 1))
    lasts = np.concatenate((breaks, [len(times_us) - 1]))
    if sides is not None:
        is_kept = sides[firsts] >= 0
        firsts, lasts = firsts[is_kept], lasts[is_kept]
    return Runs(firsts, lasts, times_us[firsts], times_us[lasts])


def intersect(spans: Spans, others: Spans) -> Spans:
    """Return the intersection. The spans of each argument are in the order of time and do not overlap."""
    low = np.searchsorted(others.ends_us, spans.begins_us, "left")
    counts = np.maximum(np.searchsorted(others.begins_us, spans.ends_us, "right") - low, 0)
    first = np.repeat(np.arange(len(counts)), counts)
    second = np.arange(len(first)) + np.repeat(low - np.cumsum(counts) + counts, counts)
    begins = np.maximum(spans.begins_us[first], others.begins_us[second])
    ends = np.minimum(spans.ends_us[first], others.ends_us[second])
    return Spans(begins, ends)


def subtract(spans: Spans, kept: Spans) -> Spans:
    """Return the parts of `spans` between and beside `kept`, each of which lies in one of them; ends may touch."""
    begins = np.sort(np.concatenate((spans.begins_us, kept.ends_us)))
    ends = np.sort(np.concatenate((kept.begins_us, spans.ends_us)))
    is_part = ends > begins
    lone = ~np.isin(spans.begins_us, kept.begins_us) & (spans.begins_us == spans.ends_us)
    begins = np.concatenate((begins[is_part], spans.begins_us[lone]))
    ends = np.concatenate((ends[is_part], spans.ends_us[lone]))
    order = np.argsort(begins, kind="stable")
    return Spans(begins[order], ends[order])
