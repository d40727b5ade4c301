"""Check the films of a dataset: their form, their times, and each picture against its source.

A packet that has the hash of the stored film's packet is a copy. Where a group of pictures begins with such a packet,
all its packets have to be copies. All other pictures are compared with theirs and with their neighbours
(pictures.py). Each picture of the dataset is decoded once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np

from datasets.verification.dataset import Dataset
from datasets.verification.findings import Findings, VerificationFailed
from datasets.verification.picture_statistics import COPIED, ENCODED, PictureStatistics, is_sampled
from datasets.verification.pictures import Picture, Scaler, Shift, is_same, size_in_dataset, wrong_picture
from datasets.verification.source_films import SourceCamera, digest_of, open_stream
from datasets.verification.source_pictures import BrokenSource, SourcePictures

CODECS = ("h264", "av1")


class FilmEpisode(NamedTuple):
    """An episode of one camera: `positions` are those of its rows in `camera`, int64 [rows]."""

    episode: int
    session_id: int
    camera: SourceCamera
    positions: np.ndarray
    stated: Mapping[str, Any]  # statistics
    keys: Sequence[str]  # of those that are expected


class Shown(NamedTuple):
    """A picture of a film of the dataset, with the hash of its packet."""

    frame: av.VideoFrame
    digest: bytes
    is_key: bool


class CameraFilms:
    """The films of one camera of a dataset, read once from the first to the last; for one thread at a time."""

    def __init__(self, dataset: Dataset, key: str, fps: int, threads: int, findings: Findings):
        self._dataset, self._key, self._fps, self._threads = dataset, key, fps, threads
        self._findings = findings
        self._opened = ExitStack()
        self.names: list[str] = []
        self._shown: Iterator[Shown] = iter(())
        self._rows = 0  # of the current film, so far
        self.pictures = 0

    def check(self, episode: FilmEpisode) -> None:
        """Check the pictures of the next episode."""
        name = self._dataset.film_name(episode.episode, self._key)
        if not self.names or name != self.names[-1]:
            self._open(name)
        self._check_place(episode, name)
        source = SourcePictures(episode.camera, self._threads)
        try:
            _EpisodeCheck(self._where(episode), episode, source, self._findings).run(self._take(len(episode.positions)))
        except BrokenSource as error:
            self._fail(f"{self._where(episode)}: its source is broken: {error}")
        except (OSError, av.FFmpegError) as error:
            self._fail(f"{self._where(episode)}: it cannot be decoded at row {self._rows} of the film: {error}")
        finally:
            source.close()

    def finish(self) -> None:
        """Check that the last film has no further picture."""
        try:
            surplus = sum(1 for _ in self._shown)
        except (OSError, av.FFmpegError) as error:
            self._fail(f"{self.names[-1]}: it cannot be decoded behind its last row: {error}")
        if surplus:
            self._findings.add(f"{self.names[-1]} has {self._rows + surplus} pictures; {self._rows} expected")
        self.close()

    def close(self) -> None:
        self._shown = iter(())
        self._opened.close()

    def _where(self, episode: FilmEpisode) -> str:
        return f"{self.names[-1]}: episode {episode.episode} (session {episode.session_id})"

    def _fail(self, sentence: str) -> None:
        """Stop: what follows in this film cannot be told."""
        self._findings.add(sentence)
        self._findings.conclude()

    def _open(self, name: str) -> None:
        if self.names:
            self.finish()
        if self._dataset.is_v3:
            number = len(self.names)
            expected = f"videos/{self._key}/chunk-{number // 1000:03d}/file-{number % 1000:03d}.mp4"
            self._findings.compare(f"meta/episodes: film {number} of {self._key}", name, expected)
        self.names.append(name)
        self._rows = 0
        path = self._dataset.folder / name
        if not path.is_file():
            self._fail(f"{name} is missing")
        try:
            film, stream = self._opened.enter_context(open_stream(path, "mp4", self._threads))
        except (OSError, av.FFmpegError, StopIteration) as error:
            raise VerificationFailed([f"{name} is no readable film: {error}"]) from None
        self._check_form(name, film, stream)
        self._shown = self._decoded(name, film, stream)

    def _check_form(self, name: str, film: Any, stream: Any) -> None:
        feature = self._dataset.features[self._key]
        info = feature.get("info") or {}
        context = stream.codec_context
        found = {
            "the number of streams": len(film.streams),
            "codec": stream.codec.canonical_name,
            "pixel format": context.pix_fmt,
            "[height, width, channels]": [context.height, context.width, 3],
            "rate": stream.average_rate,
        }
        expected = {
            "the number of streams": 1,
            "codec": info.get("video.codec"),
            "pixel format": "yuv420p",
            "[height, width, channels]": feature.get("shape"),
            "rate": Fraction(self._fps),
        }
        for what, value in found.items():
            self._findings.compare(f"{name}: {what}", value, expected[what])
        if stream.codec.canonical_name not in CODECS:
            self._findings.add(f"{name}: codec is {stream.codec.canonical_name}; h264 or av1 expected")

    def _check_place(self, episode: FilmEpisode, name: str) -> None:
        if not self._dataset.is_v3:
            return
        row, prefix = self._dataset.episodes[episode.episode], f"meta/episodes: episode {episode.episode}"
        for key, at in (("from_timestamp", self._rows), ("to_timestamp", self._rows + len(episode.positions))):
            column = f"videos/{self._key}/{key}"
            self._findings.compare(f"{prefix}: {column} in {name}", row.get(column), at / self._fps)

    def _take(self, count: int) -> Iterator[Shown]:
        for _ in range(count):
            shown = next(self._shown, None)
            if shown is None:
                self._findings.add(f"{self.names[-1]} ends after {self._rows} pictures; more expected")
                return
            self._rows += 1
            self.pictures += 1
            yield shown

    def _decoded(self, name: str, film: Any, stream: Any) -> Iterator[Shown]:
        """Yield all pictures, and check that number n is shown at n / fps."""
        packets: dict[int, tuple[bytes, bool]] = {}
        count = 0
        for packet in film.demux(stream):
            if packet.size:
                packets[packet.pts] = digest_of(packet), packet.is_keyframe
                if packet.is_discard:
                    self._findings.add(f"{name}: an edit list hides a picture at {packet.pts}")
            for frame in packet.decode():
                if frame.is_corrupt:
                    self._findings.add(f"{name}: picture {count} is damaged")
                if frame.pts * stream.time_base != Fraction(count, self._fps):
                    self._findings.add(
                        f"{name}: picture {count} is at {float(frame.pts * stream.time_base)} s; "
                        f"{count / self._fps} s expected"
                    )
                count += 1
                yield Shown(frame, *packets.pop(frame.pts))


class _EpisodeCheck:
    """The comparison of an episode's pictures, row by row."""

    def __init__(self, where: str, episode: FilmEpisode, source: SourcePictures, findings: Findings):
        self._where, self._episode, self._source, self._findings = where, episode, source, findings
        self._camera, self._positions = episode.camera, episode.positions
        self._scaler, self._shift = Scaler(), Shift()
        self._is_copy = self._was_copy = False  # of the group that this row is in, and of the row before
        self._encoded = 0

    def run(self, shown: Iterator[Shown]) -> None:
        statistics, sampled = PictureStatistics(), is_sampled(len(self._positions))
        row = -1
        for row, picture in enumerate(shown):
            self._check(row, picture)
            if sampled[row]:
                statistics.add(picture.frame)
        if row + 1 < len(self._positions):
            self._findings.add(f"{self._where} has {row + 1} pictures; {len(self._positions)} expected")
            return
        if neighbour := self._shift.found():
            self._findings.add(f"{self._where}: its pictures are, all together, nearer to {neighbour} than to theirs")
        tolerance = ENCODED if self._encoded else COPIED
        statistics.check(self._where, self._episode.stated, self._episode.keys, tolerance, self._findings)

    def _check(self, row: int, picture: Shown) -> None:
        position = int(self._positions[row])
        is_equal = picture.digest == self._digest(position)
        if picture.is_key:
            self._is_copy = is_equal
        if not self._is_copy:
            self._encoded += 1
            self._compare(row, position, picture.frame)
        elif not (is_equal and self._was_copy) and not is_same(picture.frame, self._source.get(position).frame):
            # Copied packets are wrong pictures if the film's header is not theirs.
            why = "its header differs" if is_equal else "the packet is not that of the stored film"
            self._findings.add(f"{self._where}, row {row} is not {self._name(position)}, of which it is a copy: {why}")
        self._was_copy = self._is_copy
        self._source.forget_before(min(position, int(self._positions[min(row + 1, len(self._positions) - 1)]) - 1))

    def _compare(self, row: int, position: int, frame: av.VideoFrame) -> None:
        size = size_in_dataset(self._source.get(position).frame)
        where = f"{self._where}, row {row}: [width, height]"
        if not self._findings.compare(where, [frame.width, frame.height], [*size]):
            return
        neighbours = dict(zip(self._shift.neighbours, (position - 1, position + 1), strict=True))
        if row:
            neighbours["that of the row before"] = int(self._positions[row - 1])
        if row + 1 < len(self._positions):
            neighbours["that of the row after"] = int(self._positions[row + 1])
        names = {at: name for name, at in reversed(neighbours.items())}  # rows beside it mostly show its neighbours
        others = {name: at for at, name in names.items() if at != position and 0 <= at < len(self._camera.times_us)}
        smalls = self._smalls(position, set(others.values()))
        found = Picture(frame, self._scaler).small
        there = {name: smalls[at] for name, at in others.items() if at in smalls}
        wrong = wrong_picture(found, smalls[position], there, self._shift)
        if wrong:
            self._findings.add(f"{self._where}, row {row} shows {wrong}, not {self._name(position)}")

    def _smalls(self, position: int, others: set[int]) -> dict[int, np.ndarray]:
        """Return the small versions of these pictures, without neighbours that cannot be decoded."""
        smalls = {}
        for at in sorted({position, *others}):
            try:
                smalls[at] = self._source.get(at).small
            except BrokenSource:
                if at == position:
                    raise
        return smalls

    def _digest(self, position: int) -> bytes:
        film = self._camera.films[self._camera.film_of[position]]
        return film.digests[self._camera.numbers[position]]

    def _name(self, position: int) -> str:
        film = self._camera.films[self._camera.film_of[position]]
        return f"picture {self._camera.numbers[position]} of {film.name}"
