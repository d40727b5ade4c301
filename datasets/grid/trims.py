"""Collect the parts of a session that are in no episode, with their reasons."""

from collections.abc import Iterable

import numpy as np

from datasets.grid.runs import Spans
from datasets.grid.times import seconds_to_us
from datasets.options import Options
from datasets.types import SessionEntry, Trim

BEGINNING_US, END_US = -(2**62), 2**62
TOO_SHORT = "too short"


def marked(session: SessionEntry, options: Options) -> tuple[int, int]:
    """Return the times between which rows may be, both included."""
    bounds = {"trim_start": BEGINNING_US, "trim_end": END_US}
    if "marks" in options.trim:
        bounds |= {mark["kind"]: seconds_to_us(mark["timestamp"]) for mark in session.marks if mark["kind"] in bounds}
    begin_us, end_us = bounds["trim_start"], bounds["trim_end"]
    return (begin_us, end_us) if begin_us <= end_us else (END_US, END_US)  # nothing is between them


class TrimList:
    """Trims as columns: a session may have a hundred thousand."""

    def __init__(self) -> None:
        self._spans: list[Spans] = []
        self._reasons: list[str] = []

    def add(self, spans: Spans, reason: str) -> None:
        if len(spans.begins_us):
            self._spans.append(spans)
            self._reasons.append(reason)

    def add_one(self, begin_us: int, end_us: int, reason: str) -> None:
        """Add one trim; a trim of no length is none, unless it is a part that is too short."""
        if end_us > begin_us or reason == TOO_SHORT:
            self.add(Spans(np.array([begin_us]), np.array([end_us])), reason)

    def sorted(self) -> list[Trim]:
        """Return the trims in the order of time.

        A part that is too short between two trims of one reason is one trim with them: if all frames lie too far
        apart, the list would have two trims a frame.
        """
        if not self._spans:
            return []
        names = [TOO_SHORT, *self._reasons]
        begins, ends = map(np.concatenate, zip(*self._spans, strict=True))
        codes = [
            np.full(len(spans.begins_us), names.index(name))
            for spans, name in zip(self._spans, self._reasons, strict=True)
        ]
        order = np.lexsort((ends, begins))
        return list(_merged(begins[order], ends[order], np.concatenate(codes)[order], names))


def _merged(begins: np.ndarray, ends: np.ndarray, codes: np.ndarray, names: list[str]) -> Iterable[Trim]:
    touches = begins[1:] == ends[:-1]
    between = np.flatnonzero((codes[1:-1] == 0) & (codes[:-2] == codes[2:]) & touches[:-1] & touches[1:]) + 1
    codes[between] = codes[between - 1]
    is_first = np.ones(len(begins), bool)  # without a short part between them, an episode is between two trims
    is_first[between] = is_first[between + 1] = False
    firsts = np.flatnonzero(is_first)
    lasts = np.append(firsts[1:] - 1, len(begins) - 1)
    for begin, end, code in zip(begins[firsts], ends[lasts], codes[firsts], strict=True):
        yield Trim(int(begin), int(end), names[code])
