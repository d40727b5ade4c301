"""Refuse a session whose streams have gaps in what would be one episode."""

from collections.abc import Iterable

import numpy as np

from datasets.grid.parts import Part
from datasets.grid.streams import Stream
from datasets.grid.times import SECOND_US, iso_time
from datasets.types import Refused, SessionEntry


def refuse_gaps(streams: Iterable[Stream], parts: Iterable[Part], max_gap_us: int, session: SessionEntry) -> None:
    """Raise Refused for the first gap within one of these parts; the streams have their gaps joined."""
    streams = list(streams)
    for part in parts:
        for stream in streams:
            times_us = stream.times_us[stream.runs.at(part.begin_us)]
            inner = times_us[max(0, np.searchsorted(times_us, part.low_us, "right") - 1) :]
            inner = inner[: np.searchsorted(inner, part.high_us, "left") + 1]
            gaps = np.flatnonzero(np.diff(inner) > max_gap_us)
            if len(gaps):
                begin_us, end_us = inner[gaps[0]], inner[gaps[0] + 1]
                seconds = (end_us - begin_us) / SECOND_US
                raise Refused(
                    f"session {session.session_id}: there is a gap of {seconds:.3f} s in {stream.name} at "
                    f"{iso_time(begin_us)}; at most {max_gap_us / SECOND_US:g} s expected (max_gap_s)"
                )
