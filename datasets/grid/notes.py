"""Report clock steps, missing frames and unusual rates of a session, or refuse the session if the options do."""

from collections.abc import Sequence

import numpy as np

from datasets.grid.sides import ClockStep
from datasets.grid.streams import Stream
from datasets.grid.times import SECOND_US
from datasets.options import Options
from datasets.recording.names import name_of
from datasets.types import Recording, Refused, SessionEntry

MAX_RATE_ERROR = 0.02
MAX_LISTED = 5


def notes(
    recording: Recording,
    streams: Sequence[Stream],
    steps: Sequence[ClockStep],
    session: SessionEntry,
    options: Options,
) -> list[str]:
    """Return sentences for the report; raises Refused for clock steps and missing frames if the options refuse them."""
    found = {"clock_step": _clock_steps(steps), "missing_frames": _missing_frames(recording, session)}
    for name in options.refuse:
        if found.get(name):
            raise Refused(f"{name_of(session)}: {' '.join(found[name])} (refuse: {name})")
    return [
        *found["clock_step"],
        *found["missing_frames"],
        *_rate(recording.indexes, streams[0], session),
        *_rare_samples(streams, options),
    ]


def _clock_steps(steps: Sequence[ClockStep]) -> list[str]:
    sentences = [
        f"The clock of the robot steps by {step.step_s:+.3f} s before frame {step.frame_index}; no episode spans it."
        for step in steps[:MAX_LISTED]
    ]
    return [*sentences, *_more(len(steps), "clock steps")]


def _missing_frames(recording: Recording, session: SessionEntry) -> list[str]:
    """Count frames as the quality score does, which knows the indexes that the robot left unused on purpose."""
    indexes = np.sort(recording.indexes)
    absent = int(indexes[-1] - indexes[0]) + 1 - len(indexes)
    missing = int(session.quality.get("missing_frames", absent))
    if missing <= 0:
        return []
    holes = np.flatnonzero(np.diff(indexes) > 1)
    ranges = [f"{indexes[at] + 1} to {indexes[at + 1] - 1}" for at in holes[:MAX_LISTED]]
    if len(holes) > MAX_LISTED:
        ranges.append("and others")
    listed = f": frame_index {', '.join(ranges)}" if ranges else ""
    return [f"{missing} of {missing + len(indexes)} frames are missing{listed}."]


def _rate(indexes: np.ndarray, frames: Stream, session: SessionEntry) -> list[str]:
    steps = abs(int((indexes[frames.runs.lasts] - indexes[frames.runs.firsts]).sum()))  # a missing frame counts
    elapsed_us = int((frames.runs.ends_us - frames.runs.begins_us).sum())
    rate = steps * SECOND_US / elapsed_us if elapsed_us else session.fps
    if abs(rate / session.fps - 1) <= MAX_RATE_ERROR:
        return []
    return [f"The frames come at {rate:.2f} Hz; fps of the session is {session.fps}."]


def _rare_samples(streams: Sequence[Stream], options: Options) -> list[str]:
    """Find streams of which most samples are too far apart for any run."""
    sentences = []
    for stream in streams:
        steps_us = np.diff(stream.times_us())
        usual_s = float(np.median(steps_us)) / SECOND_US if len(steps_us) else 0.0
        if usual_s > options.max_gap_s:
            sentences.append(
                f"Most samples of {stream.name} are in no episode: they come every {usual_s:.3f} s, and max_gap_s is "
                f"{options.max_gap_s:g} s."
            )
    return sentences


def _more(count: int, noun: str) -> list[str]:
    return [f"There are {count} {noun} altogether."] if count > MAX_LISTED else []
