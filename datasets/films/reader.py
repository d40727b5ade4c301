"""Decode chosen pictures of a camera, or read their packets: each film once, and from its beginning to its end."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import chain, dropwhile

import av
import numpy as np
from av.packet import Packet

from datasets.films.index import index_of, time_of
from datasets.films.runs import runs
from datasets.types import Camera, Film, Refused
from videos.film.containers import open_film
from videos.film.facts import NoVideo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MARGIN = 2  # groups: a container's list of key pictures has the times of decoding, which are before those of showing
BROKEN = (NoVideo, av.FFmpegError, ValueError)


def pictures(camera: Camera, positions: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield (position, picture) for each of `positions`: positions in camera.times_us, ascending, repeats allowed.

    A repeated position yields the same object again. Raises Refused if one of these pictures cannot be decoded.
    """
    with CameraReader(camera) as reader:
        yield from reader.pictures(positions)


class CameraReader:
    """Keeps the film open that was read last, so that many short parts of it are read without opening it again."""

    def __init__(self, camera: Camera):
        self._camera = camera
        self._film: OpenFilm | None = None
        self._size: tuple[int, int] | None = None  # of all pictures

    def __enter__(self) -> "CameraReader":
        return self

    def __exit__(self, *exception) -> None:
        if self._film:
            self._film.close()

    def pictures(self, positions: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield as the function of this name does."""
        for part in self._by_film(positions):
            numbers, at = self._camera.picture_numbers[part], 0
            try:
                for number, picture in self._opened(part[0]).pictures(numbers):
                    if number > numbers[at]:
                        break
                    self._check_size(picture)
                    while at < len(numbers) and numbers[at] == number:
                        yield int(part[at]), picture
                        at += 1
                    if at == len(numbers):
                        break
            except OSError:
                raise
            except BROKEN as error:
                raise self._undecodable(part[at], error) from None
            if at < len(numbers):
                raise self._undecodable(part[at], NoVideo("the decoder leaves it out"))

    def packets(self, positions: np.ndarray) -> Iterator[Packet]:
        """Yield one packet for each of `positions`, of which each is the next packet of its film or begins a film."""
        for part in self._by_film(positions):
            try:
                yield from self._opened(part[0]).packets(self._camera.picture_numbers[part])
            except OSError:
                raise
            except BROKEN as error:
                raise self._undecodable(part[0], error) from None

    def template(self, position: int) -> av.VideoStream:
        """Return the stream that this picture is in."""
        return self._opened(position).stream

    def _by_film(self, positions: np.ndarray) -> list[np.ndarray]:
        positions = np.asarray(positions, np.int64)
        return [positions[part] for part in runs(self._camera.film_numbers[positions])]

    def _opened(self, position: int) -> "OpenFilm":
        film = self._camera.films[self._camera.film_numbers[position]]
        if self._film is None or self._film.film != film:
            if self._film:
                self._film.close()
            self._film = OpenFilm(film)
        return self._film

    def _check_size(self, picture: av.VideoFrame) -> None:
        self._size = self._size or (picture.width, picture.height)
        if (picture.width, picture.height) != self._size:
            width, height = self._size
            raise NoVideo(f"it is {picture.width} x {picture.height}; {width} x {height} expected, as of those before")

    def _undecodable(self, position: int, error: Exception) -> Refused:
        """Return the refusal of a picture, with the camera, the video and the time by which people find it."""
        camera = self._camera
        at = (EPOCH + timedelta(microseconds=int(camera.times_us[position]))).isoformat(timespec="microseconds")
        film, number = camera.films[camera.film_numbers[position]], camera.picture_numbers[position]
        reason = getattr(error, "strerror", error)
        return Refused(f"{camera.key}, video {film.video_id}: picture {number} (at {at}) cannot be decoded: {reason}")


class OpenFilm:
    """A film that is read several times, each time from one of its key pictures on."""

    def __init__(self, film: Film):
        self.film, self._index = film, index_of(film)
        self._stack = ExitStack()
        self._open()

    def close(self) -> None:
        self._stack.close()

    def _open(self) -> None:
        self._stack.close()
        _, self._demuxer, self.stream = self._stack.enter_context(open_film(self.film.path))
        self._is_at_begin = True

    def packets(self, numbers: np.ndarray) -> Iterator[Packet]:
        """Yield the packets from the first to the last of these pictures, of which the first is a key picture."""
        begin, end = self._index.times[numbers[[0, -1]]]
        for packet in self._from_group(int(self._index.groups_of(numbers[:1])[0])):
            time = time_of(packet)  # the caller gives the packet another one
            if begin <= time <= end:
                yield packet
            if time >= end:
                return

    def pictures(self, numbers: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (number, picture) in the order shown for these pictures, ascending, and for some between them."""
        index, number = self._index, -1
        for picture in self._decoded(numbers):
            if not index.has_times:  # AVI: all its pictures are decoded from the first one on
                number += 1
                yield number, picture
                continue
            time = picture.dts if picture.pts is None else picture.pts
            number = int(index.times.searchsorted(time))
            if number < len(index.times) and index.times[number] == time:
                yield number, picture

    def _decoded(self, numbers: np.ndarray) -> Iterator[av.VideoFrame]:
        for packet in self._needed(numbers):
            yield from map(_sound, packet.decode())
        yield from map(_sound, self.stream.codec_context.decode(None))

    def _needed(self, numbers: np.ndarray) -> Iterator[Packet]:
        """Yield the packets that have to be decoded: those of the groups that have one of these pictures.

        If pictures refer to later ones, all groups between the first and the last one are needed, and the next one.
        """
        index = self._index
        if not index.has_times:
            yield from self._from_group(-1)
            return
        groups = set(index.groups_of(np.unique(numbers)).tolist())
        first, last, is_in_order = min(groups), max(groups), index.is_in_order
        for packet in self._from_group(first):
            group = int(index.key_times.searchsorted(time_of(packet), "right")) - 1
            if is_in_order and group > last:
                return
            if not is_in_order or group in groups:
                yield packet

    def _from_group(self, group: int) -> Iterator[Packet]:
        """Yield the packets with a picture, in the order of decoding, from the key picture of the group on."""
        if group < 0:
            self._reopen()
            return self._packets()
        begin = self._index.key_times[group]
        return dropwhile(lambda packet: time_of(packet) != begin or not packet.is_keyframe, self._before(group))

    def _before(self, group: int) -> Iterator[Packet]:
        """Yield packets from somewhere before the group on."""
        if group >= MARGIN and self._index.is_seekable:
            self._is_at_begin = False
            self._demuxer.seek(int(self._index.key_times[group - MARGIN]), stream=self.stream)
            packets = self._packets()
            first = next(packets, None)
            if first is not None and time_of(first) <= self._index.key_times[group]:
                return chain([first], packets)
        self._reopen()
        return self._packets()

    def _reopen(self) -> None:
        if not self._is_at_begin:
            self._open()
        self._is_at_begin = False

    def _packets(self) -> Iterator[Packet]:
        return (packet for packet in self._demuxer.demux(self.stream) if time_of(packet) is not None)


def _sound(picture: av.VideoFrame) -> av.VideoFrame:
    if picture.is_corrupt:
        raise NoVideo("its data are damaged")
    return picture
