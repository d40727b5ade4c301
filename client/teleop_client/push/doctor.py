"""Examine a dataset before it is sent: damaged files, rows against pictures, times, frozen pictures, totals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .dataset import Dataset
from .dataset_files import check_regular
from .dataset_types import DatasetUnusable, Episode, FilmSpan
from .film_pictures import ROUNDING_S, FilmIndex, FilmUnreadable, Thumbnail, is_same, read_index, thumbnails
from .films import MOST_OFF
from .rows import Column, columns_of

TOLERANCE_S = 1e-4  # LeRobot's reader takes no picture that is farther from its row
FROZEN_S = 1.5
MOVED = 0.05  # of the largest range of a joint in the episode; a robot at rest may well see the same picture


@dataclass(frozen=True)
class Finding:
    """A fault of an episode, or of the whole dataset if `episode` is None.

    `is_broken` tells that the episode cannot be sent as it is; other findings are for people to look at.
    """

    episode: int | None
    kind: str
    text: str
    is_broken: bool = True


class _Shot(NamedTuple):
    """The pictures of one camera in one episode."""

    episode: Episode
    camera: str
    span: FilmSpan

    def finding(self, kind: str, text: str, is_broken: bool = True) -> Finding:
        return Finding(self.episode.index, kind, f"episode {self.episode.index}: {self.camera}: {text}", is_broken)


def examine(dataset: Dataset, episodes: Sequence[Episode]) -> list[Finding]:
    """Return all findings, first those of the whole dataset.

    Rows are read once. Of films all packets are read, and about one picture a second is decoded.
    """
    findings = [Finding(None, "unfinished", fault) for fault in dataset.faults]
    for episode in episodes:
        findings += _examine_rows(dataset, episode)
    shots = [_Shot(episode, camera, span) for episode in episodes for camera, span in episode.films.items()]
    shots.sort(key=lambda shot: (shot.span.path, shot.span.start_s))
    for path, group in groupby(shots, lambda shot: shot.span.path):
        findings += _examine_film(dataset, path, list(group))
    return sorted(findings, key=lambda finding: -1 if finding.episode is None else finding.episode)


def _examine_rows(dataset: Dataset, episode: Episode) -> Iterator[Finding]:
    """Yield a finding for each index that is wrong, with its first row; raise nothing."""
    found: dict[str, str] = {}
    row = 0
    try:
        for columns in columns_of(dataset, episode):
            for kind, text in _wrong_indexes(dataset, episode, columns, row):
                found.setdefault(kind, text)
            row += len(columns["index"])
    except DatasetUnusable as error:
        found["rows"] = str(error)
    if not episode.length:
        found["rows"] = "it has no rows"
    for kind, text in found.items():
        yield Finding(episode.index, kind, f"episode {episode.index}: {text}")


def _wrong_indexes(
    dataset: Dataset, episode: Episode, columns: dict[str, Column], first: int
) -> Iterator[tuple[str, str]]:
    rows = np.arange(first, first + len(columns["index"]))
    times = rows / dataset.fps
    expected = {"frame_index": rows, "index": rows + episode.first_row, "timestamp": times}
    # The numbers of float32 are 0.0002 s apart after an hour.
    tolerances = {"timestamp": TOLERANCE_S + np.spacing(times.astype(np.float32))}
    for key, values in expected.items():
        is_right = np.abs(columns[key] - values) <= tolerances.get(key, 0)
        if not is_right.all():
            row = int(np.argmin(is_right))
            yield key, f"{key} is {columns[key][row]:.10g} in row {first + row}; {values[row]:.10g} expected"


def _examine_film(dataset: Dataset, path: Path, shots: list[_Shot]) -> Iterator[Finding]:
    """Yield the findings of a film, in which several episodes may be."""
    name = path.relative_to(dataset.root).as_posix()
    try:
        check_regular(path, name)
        index = read_index(path)
    except DatasetUnusable as error:
        yield from (shot.finding("film", str(error)) for shot in shots)
        return
    except FilmUnreadable as error:
        yield from (shot.finding("film", f"{name} is no readable film: {error}") for shot in shots)
        return
    for shot in shots:
        yield from _examine_times(dataset, shot, index)
    yield from _examine_pictures(dataset, path, shots, index)


def _examine_times(dataset: Dataset, shot: _Shot, index: FilmIndex) -> Iterator[Finding]:
    """Compare the pictures with the rows. A film of v2.1 is that of one episode, and has no other pictures."""
    is_shared, step_s = dataset.version != "v2.1", 1 / dataset.fps
    window = (shot.span.start_s - step_s / 2, shot.span.end_s - step_s / 2) if is_shared else (-np.inf, np.inf)
    begin, end = np.searchsorted(index.times, window)
    times, length = index.times[begin:end], shot.episode.length
    if len(times) != length:
        yield shot.finding("pictures", f"there are {len(times)} pictures for {length} rows")
        return
    off = times - shot.span.start_s - np.arange(length) * step_s
    row = int(np.argmax(np.abs(off))) if length else 0
    if length and (most := abs(off[row])) > TOLERANCE_S:
        text = f"the picture of row {row} is {off[row]:+.4f} s from its row; at most {TOLERANCE_S} s expected"
        yield shot.finding("drift", text, is_broken=most > MOST_OFF * step_s)


def _examine_pictures(dataset: Dataset, path: Path, shots: list[_Shot], index: FilmIndex) -> Iterator[Finding]:
    """Yield which shots cannot be decoded, and where the same picture is shown though the joints move."""
    try:
        for shot, group in groupby(thumbnails(path, index), lambda picture: _shot_at(shots, picture.time_s)):
            pictures = list(group)
            missing = [picture.time_s for picture in pictures if picture.pixels is None]
            if shot and missing:
                row = round((min(missing) - shot.span.start_s) * dataset.fps)
                yield shot.finding("film", f"the picture of row {row} cannot be decoded, perhaps others too")
            elif shot:
                yield from _frozen(dataset, shot, pictures)
    except FilmUnreadable as error:
        yield from (shot.finding("film", f"its pictures cannot be decoded: {error}") for shot in shots)


def _frozen(dataset: Dataset, shot: _Shot, pictures: list[Thumbnail]) -> Iterator[Finding]:
    for begin_s, end_s in _still(pictures):
        begin, end = (round((time_s - shot.span.start_s) * dataset.fps) for time_s in (begin_s, end_s))
        if _moves(dataset, shot.episode, begin, end):
            text = f"rows {begin} to {end} have the same picture, though the joints move"
            yield shot.finding("frozen", text, is_broken=False)


def _still(pictures: list[Thumbnail]) -> Iterator[tuple[float, float]]:
    """Yield the times between which the thumbnails are the same for 1.5 seconds or longer."""
    first = last = pictures[0]
    for picture in pictures:
        if is_same(picture, first):
            last = picture
        else:
            yield from _long(first, last)
            first = last = picture
    yield from _long(first, last)


def _long(first: Thumbnail, last: Thumbnail) -> Iterator[tuple[float, float]]:
    if last.time_s - first.time_s >= FROZEN_S - ROUNDING_S:
        yield first.time_s, last.time_s


def _shot_at(shots: list[_Shot], time_s: float) -> _Shot | None:
    spans = (shot for shot in shots if shot.span.start_s - ROUNDING_S <= time_s < shot.span.end_s - ROUNDING_S)
    return next(spans, None)


def _moves(dataset: Dataset, episode: Episode, begin: int, end: int) -> bool:
    """Tell whether a joint moves between two rows, by more than a robot at rest."""
    key = dataset.info.joints[0].key
    try:
        values = np.concatenate([columns[key] for columns in columns_of(dataset, episode)])
    except DatasetUnusable:  # it has a finding already
        return False
    part = values[begin : end + 1]
    return bool(len(part) and np.ptp(part, axis=0).max() > MOVED * np.ptp(values, axis=0).max())
