"""State the rules of the grid a second time: which episodes a session has, and what each row shows.

All times are integers, microseconds of unix time.

- A stream is: the frames; each camera; each column that lacks values, with the frames that have one.
- A stretch of a stream has no two neighbours further apart than max_gap. At a step of the clock a stretch ends.
- An episode lies where each stream has a stretch. It begins at a frame. Its row k is at k / fps after that.
- Half the time between two frames is tolerated: at both ends, and for the sample that a row shows, which is the newest
  at this time. It is of the stretch that the episode lies in.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from datasets.options import Options
from datasets.types import SessionEntry
from datasets.verification.database import Frames
from teleop.quality.scores import idle_steps

SECOND_US = 10**6
STEP_US = 100_000  # a clock that goes back by more has stepped
ALWAYS = (-(2**62), 2**62)


class Stretch(NamedTuple):
    """The first and the last sample of a stretch, and their times."""

    first: int
    last: int
    begin_us: int
    end_us: int


class Stream(NamedTuple):
    """Samples by time, and the stretches they form; `positions` are those of the frames, or None if it has all."""

    times_us: np.ndarray
    positions: np.ndarray | None
    stretches: list[Stretch]

    def stretch_at(self, time_us: int) -> Stretch:
        return self.stretches[bisect_right(self.stretches, time_us, key=lambda stretch: stretch.begin_us) - 1]


class Rows(NamedTuple):
    """An expected episode.

    `shown[name]` are the positions of the frames or pictures that the rows show, int64 [rows]; "" is for the frames.
    """

    begin_us: int
    times_us: np.ndarray
    shown: dict[str, np.ndarray]
    streams: dict[str, Stream]

    def stretch_of(self, name: str) -> tuple[Stream, Stretch]:
        stream = self.streams.get(name, self.streams[""])
        position = self.shown.get(name, self.shown[""])[0]
        at_us = stream.times_us[position if stream.positions is None else np.searchsorted(stream.positions, position)]
        return stream, stream.stretch_at(int(at_us))


def expected_episodes(
    frames: Frames,
    cameras: Mapping[str, np.ndarray],
    joints: Sequence[str],
    entry: SessionEntry,
    options: Options,
    fps: int,
) -> Iterator[Rows]:
    """Yield the episodes of a session; `joints` are the columns whose movement counts for idle ends."""
    if not len(frames.times_us):
        return
    streams = _streams(frames, cameras, round(options.max_gap_s * SECOND_US))
    marks = _marks(entry, options)
    still = _Stillness(frames, joints) if "idle" in options.trim else None
    half_us = SECOND_US // (2 * entry.fps)
    for begin_us, end_us in _common(streams, frames, marks):
        low_us, high_us = max(begin_us - half_us, marks[0]), min(end_us + half_us, marks[1])
        if still and not (kept := still.moving_part(low_us, high_us)):
            continue
        if still:
            low_us, high_us = kept
        if rows := _rows(streams, begin_us, low_us, high_us, half_us, fps):
            yield rows


def has_steps(frames: Frames) -> bool:
    """Check whether the robot's clock was set back between two frames."""
    return bool((np.diff(frames.times_us[np.argsort(frames.indexes)]) < -STEP_US).any())


def _streams(frames: Frames, cameras: Mapping[str, np.ndarray], max_gap_us: int) -> dict[str, Stream]:
    labels = _labels(frames, max_gap_us)
    streams = {"": Stream(frames.times_us, None, _stretches(frames.times_us, max_gap_us, labels))}
    for key, times_us in cameras.items():
        streams[key] = Stream(times_us, None, _stretches(times_us, max_gap_us))
    numbers = np.full(len(frames.times_us), -1)
    for number, stretch in enumerate(streams[""].stretches):
        numbers[stretch.first : stretch.last + 1] = number
    for name, column in frames.columns.items():
        is_there = np.array([value is not None for value in column]) if column.dtype == object else column == column
        if not is_there.all():
            positions = np.flatnonzero(is_there)
            times_us = frames.times_us[positions]
            steps = None if labels is None else numbers[positions]
            streams[name] = Stream(times_us, positions, _stretches(times_us, max_gap_us, steps))
    return streams


def _stretches(times_us: np.ndarray, max_gap_us: int, labels: np.ndarray | None = None) -> list[Stretch]:
    """Return the stretches; neighbours of different labels are in different ones, and those of label -1 in none."""
    if not len(times_us):
        return []
    is_end = times_us[1:] - times_us[:-1] > max_gap_us
    if labels is not None:
        is_end |= labels[1:] != labels[:-1]
    lasts = [*np.flatnonzero(is_end).tolist(), len(times_us) - 1]
    firsts = [0, *(last + 1 for last in lasts[:-1])]
    return [
        Stretch(first, last, int(times_us[first]), int(times_us[last]))
        for first, last in zip(firsts, lasts, strict=True)
        if labels is None or labels[first] >= 0
    ]


def _labels(frames: Frames, max_gap_us: int) -> np.ndarray | None:
    """Return the number of clock steps before each frame, or -1 at times that two sides of a step have in common."""
    order = np.argsort(frames.indexes)
    is_step = np.diff(frames.times_us[order]) < -STEP_US
    if not has_steps(frames):
        return None
    labels = np.zeros(len(order), np.int64)
    labels[order[1:]] = np.cumsum(is_step)
    covered = [
        (stretch.begin_us, stretch.end_us)
        for label in range(labels.max() + 1)
        for stretch in _stretches(frames.times_us[labels == label], max_gap_us)
    ]
    begins, ends = np.sort(np.array(covered), axis=0).T
    covers = np.searchsorted(begins, frames.times_us, "right") - np.searchsorted(ends, frames.times_us, "left")
    labels[covers > 1] = -1
    return labels


def _marks(entry: SessionEntry, options: Options) -> tuple[int, int]:
    times = {mark["kind"]: round(mark["timestamp"] * SECOND_US) for mark in entry.marks if "marks" in options.trim}
    return times.get("trim_start", ALWAYS[0]), times.get("trim_end", ALWAYS[1])


def _common(streams: Mapping[str, Stream], frames: Frames, marks: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the times between the marks at which each stream has a stretch, in the order of time."""
    begin_us, end_us = max(int(frames.times_us[0]), marks[0]), min(int(frames.times_us[-1]), marks[1])
    parts = [(begin_us, end_us)] if begin_us <= end_us else []
    for stream in streams.values():
        found, at, stretches = [], 0, stream.stretches
        for begin_us, end_us in parts:
            while at < len(stretches) and stretches[at].end_us < begin_us:
                at += 1
            number = at
            while number < len(stretches) and stretches[number].begin_us <= end_us:
                found.append((max(begin_us, stretches[number].begin_us), min(end_us, stretches[number].end_us)))
                number += 1
        parts = found
    return parts


def _rows(streams: Mapping[str, Stream], at_us: int, low_us: int, high_us: int, half_us: int, fps: int) -> Rows | None:
    """Return the rows from the first frame at `low_us` to `high_us`; None if there are fewer than two."""
    frames = streams[""]
    stretch = frames.stretch_at(at_us)
    begins = frames.times_us[stretch.first : stretch.last + 1]
    begins = begins[begins >= low_us]
    if not len(begins):
        return None
    begin_us = int(begins[0])
    numbers = np.arange(max(0, (high_us - begin_us) * fps // SECOND_US) + 2, dtype=np.int64)
    times_us = begin_us + (2 * numbers * SECOND_US + fps) // (2 * fps)
    times_us = times_us[times_us <= high_us]
    if len(times_us) < 2:
        return None
    shown = {name: _newest(stream, at_us, times_us + half_us) for name, stream in streams.items()}
    return Rows(begin_us, times_us, shown, dict(streams))


def _newest(stream: Stream, at_us: int, limits_us: np.ndarray) -> np.ndarray:
    stretch = stream.stretch_at(at_us)
    found = stretch.first - 1 + np.searchsorted(stream.times_us[stretch.first : stretch.last + 1], limits_us, "right")
    return found if stream.positions is None else stream.positions[found]


class _Stillness:
    """The steps from frame to frame in which no joint moves, as the quality's idle_share defines it."""

    def __init__(self, frames: Frames, joints: Sequence[str]):
        seconds = (frames.times_us - frames.times_us[0]) / SECOND_US
        self._idle = idle_steps(seconds, [frames.columns[name] for name in joints])
        self._times_us = frames.times_us

    def moving_part(self, low_us: int, high_us: int) -> tuple[int, int] | None:
        """Return the times between which something moves; all of it if movement is unknown, None if there is none."""
        if self._idle is None:
            return low_us, high_us
        within = (self._times_us[:-1] >= low_us) & (self._times_us[1:] <= high_us)
        moving = np.flatnonzero(within & ~self._idle)
        return (int(self._times_us[moving[0]]), int(self._times_us[moving[-1] + 1])) if len(moving) else None
