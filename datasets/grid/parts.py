"""Find the parts of a session that all streams cover."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datasets.grid.idle import IdleEnds
from datasets.grid.runs import Spans, intersect, subtract
from datasets.grid.sides import ClockStep
from datasets.grid.streams import FRAMES, Stream
from datasets.grid.trims import TOO_SHORT, TrimList


class Part(NamedTuple):
    """A part that may become an episode: what a run of each stream covers, and the bounds of its rows.

    Rows may lie outside of the runs by half the time between frames.
    """

    begin_us: int
    end_us: int
    low_us: int
    high_us: int


class Bounds(NamedTuple):
    """What bounds the parts besides the runs."""

    marks_us: tuple[int, int]
    half_us: int  # by which a row may lie outside of a run
    row_us: int  # from the first row to the second
    idle_ends: IdleEnds | None


def parts_of(streams: Sequence[Stream], steps: Sequence[ClockStep], bounds: Bounds, trims: TrimList) -> list[Part]:
    """Return the parts in the order of time, and add the rest of the session to `trims`."""
    covered = _covered(streams, steps, bounds, trims)
    is_short = covered.ends_us - covered.begins_us < bounds.row_us - 2 * bounds.half_us
    trims.add(Spans(covered.begins_us[is_short], covered.ends_us[is_short]), TOO_SHORT)
    long = zip(covered.begins_us[~is_short].tolist(), covered.ends_us[~is_short].tolist(), strict=True)
    parts = (_part(begin_us, end_us, bounds, trims) for begin_us, end_us in long)
    return [part for part in parts if part]


def _covered(streams: Sequence[Stream], steps: Sequence[ClockStep], bounds: Bounds, trims: TrimList) -> Spans:
    """Return the intersections of the runs of all streams with the time between the marks."""
    times_us = streams[0].times_us()
    session = Spans(times_us[:1], times_us[-1:])
    spans = intersect(session, Spans(*np.array(bounds.marks_us)[:, None]))
    trims.add(subtract(session, spans), "mark")
    for stream in streams:
        kept = intersect(spans, stream.spans)
        lost = subtract(spans, kept)
        if stream.keys[0] == FRAMES:
            is_step = _hold_a_step(lost, steps)
            trims.add(Spans(lost.begins_us[is_step], lost.ends_us[is_step]), "clock step")
            lost = Spans(lost.begins_us[~is_step], lost.ends_us[~is_step])
        trims.add(lost, stream.reason)
        spans = kept
    return spans


def _hold_a_step(spans: Spans, steps: Sequence[ClockStep]) -> np.ndarray:
    """Return for each span whether the last time before a step, or the first time after it, is within it."""
    times_us = np.sort(np.array([time_us for step in steps for time_us in (step.before_us, step.after_us)], np.int64))
    return np.searchsorted(times_us, spans.begins_us, "left") < np.searchsorted(times_us, spans.ends_us, "right")


def _part(begin_us: int, end_us: int, bounds: Bounds, trims: TrimList) -> Part | None:
    low_us = max(begin_us - bounds.half_us, bounds.marks_us[0])
    high_us = min(end_us + bounds.half_us, bounds.marks_us[1])
    if not bounds.idle_ends:
        return Part(begin_us, end_us, low_us, high_us)
    kept = bounds.idle_ends.cut(low_us, high_us)
    if not kept:
        trims.add_one(begin_us, end_us, "idle")
        return None
    first_us, last_us = (min(max(begin_us, time_us), end_us) for time_us in kept)
    trims.add_one(begin_us, first_us, "idle")
    trims.add_one(last_us, end_us, "idle")
    return Part(first_us, last_us, *kept)
