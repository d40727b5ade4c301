"""Refuse a session whose streams have gaps in what would be one episode."""

from collections.abc import Iterable, Sequence

import numpy as np

from datasets.grid.parts import Part
from datasets.grid.streams import Stream
from datasets.grid.times import SECOND_US, iso_time
from datasets.recording.names import name_of
from datasets.types import Refused, SessionEntry


def refuse_gaps(streams: Sequence[Stream], parts: Iterable[Part], max_gap_us: int, session: SessionEntry) -> None:
    """Raise Refused for the first gap between the first and the last frame of a part; the streams have gaps joined."""
    for part in parts:
        frames_us = streams[0].run_times_us(part.begin_us)
        first, last = np.searchsorted(frames_us, part.low_us, "left"), np.searchsorted(frames_us, part.high_us, "right")
        for stream in streams if last > first else ():
            gap = _first_gap(stream.run_times_us(part.begin_us), frames_us[first], frames_us[last - 1], max_gap_us)
            if gap:
                raise Refused(
                    f"{name_of(session)}: there is a gap of {(gap[1] - gap[0]) / SECOND_US:.3f} s in "
                    f"{stream.name} at {iso_time(gap[0])}; at most {max_gap_us / SECOND_US:g} s expected (max_gap_s)"
                )


def _first_gap(times_us: np.ndarray, begin_us: int, end_us: int, max_gap_us: int) -> tuple[int, int] | None:
    """Return the times of the first two neighbours that are too far apart, if a part of it is between these times."""
    first = max(0, int(np.searchsorted(times_us, begin_us, "right")) - 1)
    last = int(np.searchsorted(times_us, end_us, "left"))
    gaps = first + np.flatnonzero(np.diff(times_us[first : last + 1]) > max_gap_us)
    return (int(times_us[gaps[0]]), int(times_us[gaps[0] + 1])) if len(gaps) else None
