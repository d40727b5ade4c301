"""Decode pictures of a stored camera by their positions, each film once and forwards."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import av

from datasets.verification.pictures import Picture, Scaler
from datasets.verification.source_films import SourceCamera, SourceFilm, open_stream


class BrokenSource(Exception):
    """A picture of a stored film cannot be decoded; the message names the film and the picture."""


class SourcePictures:
    """The pictures of one camera in one session. `get` takes positions that ascend, but for those still kept."""

    def __init__(self, camera: SourceCamera, threads: int):
        self._camera, self._threads = camera, threads
        self._kept: dict[int, Picture] = {}
        self._scaler = Scaler()
        self._opened = ExitStack()
        self._film = -1
        self._number = -1  # of the picture decoded last
        self._decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())

    def get(self, position: int) -> Picture:
        """Return the picture at this position; raises BrokenSource."""
        if position not in self._kept:
            film, number = int(self._camera.film_of[position]), int(self._camera.numbers[position])
            self._kept[position] = Picture(self._decode(film, number), self._scaler)
        return self._kept[position]

    def forget_before(self, position: int) -> None:
        for each in [each for each in self._kept if each < position]:
            del self._kept[each]

    def close(self) -> None:
        self._decoded = iter(())
        self._opened.close()

    def _decode(self, film_number: int, number: int) -> av.VideoFrame:
        film = self._camera.films[film_number]
        key = _key_before(film, number)
        if film_number != self._film or number <= self._number or key > self._number + 1:
            self._open(film_number, key)
        try:
            return self._forward_to(film, number)
        except _Passed:
            self._open(film_number, 0)  # the file's index led behind the picture: from the beginning then
            try:
                return self._forward_to(film, number)
            except _Passed:
                raise BrokenSource(f"{film.name}: the decoder leaves picture {number} out") from None

    def _forward_to(self, film: SourceFilm, number: int) -> av.VideoFrame:
        try:
            for found, frame in self._decoded:
                self._number = found
                if found > number:
                    break
                if found == number:
                    if frame.is_corrupt:
                        raise BrokenSource(f"{film.name}: picture {number} is damaged")
                    return frame
        except (OSError, av.FFmpegError) as error:
            raise BrokenSource(f"{film.name}: picture {number} cannot be decoded: {error}") from None
        raise _Passed

    def _open(self, film_number: int, key: int) -> None:
        """Begin to decode a film, at a key picture before the wanted one if the file can be searched."""
        self.close()
        film = self._camera.films[film_number]
        container, stream = self._opened.enter_context(open_stream(film.path, film.demuxer, self._threads))
        if key and film.demuxer in ("mp4", "matroska"):
            earlier = film.key_numbers[film.key_numbers < key]  # one more: indexes have the order of decoding
            if len(earlier):
                container.seek(int(film.media_times[earlier[-1]]), stream=stream)
        self._film, self._number = film_number, -1
        self._decoded = _numbered(container, stream, film)


class _Passed(Exception):
    """The decoder has come to a later picture."""


def _key_before(film: SourceFilm, number: int) -> int:
    keys = film.key_numbers[film.key_numbers <= number]
    return int(keys[-1]) if len(keys) else 0


def _numbered(container: Any, stream: Any, film: SourceFilm) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield the shown pictures with their numbers. AVI has no times: there all pictures are shown in turn."""
    last = -1
    for order, frame in enumerate(container.decode(stream)):
        if film.demuxer == "avi":
            yield order, frame
            continue
        time = frame.pts if frame.pts is not None else frame.dts
        number = int(film.media_times.searchsorted(time))
        if number < len(film.media_times) and film.media_times[number] == time and number != last:
            yield number, frame
            last = number
