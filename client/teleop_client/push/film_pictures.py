"""Look into a film: the times of its pictures, and about two pictures a second as a thumbnail."""

import math
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

WIDTH, HEIGHT = 128, 96  # of a thumbnail
STEP_S = 0.5  # from thumbnail to thumbnail
ROUNDING_S = 0.01  # of a step: times of pictures are no whole fractions of a second
SAME_PIXELS = 2  # of 255: an encoder does not repeat a picture exactly
MAX_PIXELS = 8192 * 8192  # of a picture, which FFmpeg allocates before it decodes


class FilmUnreadable(ValueError):
    """The file is no film, or a damaged one; the message says why."""


class FilmIndex(NamedTuple):
    """The times of a film's pictures in seconds, sorted, and the longest time without a key frame."""

    times: npt.NDArray[np.float64]
    key_gap_s: float


class Thumbnail(NamedTuple):
    """A small grey picture; `pixels` are None if the picture cannot be decoded."""

    time_s: float
    pixels: npt.NDArray[np.int16] | None


def is_same(one: Thumbnail, other: Thumbnail) -> bool:
    """Tell whether two pictures are the same, but for what an encoder changes."""
    if one.pixels is None or other.pixels is None:
        return False
    return bool(np.abs(one.pixels - other.pixels).max() <= SAME_PIXELS)


def read_index(path: Path) -> FilmIndex:
    """Read the times without decoding a picture; raise FilmUnreadable."""
    times, keys = array("d"), array("d")
    with _open(path) as film:
        for time_s, packet in _packets(film):
            times.append(time_s)
            if packet.is_keyframe:
                keys.append(time_s)
    sorted_times = np.sort(np.array(times))
    marks = np.sort(np.array([*sorted_times[:1], *keys, *sorted_times[-1:]]))
    return FilmIndex(sorted_times, float(np.diff(marks).max(initial=0.0)))


def thumbnails(path: Path, index: FilmIndex) -> Iterator[Thumbnail]:
    """Yield about two pictures a second; raise FilmUnreadable. Those that cannot be decoded come last.

    If the film has key frames as often, no other picture is decoded. LeRobot's films have a key frame every second
    picture: of 30 pictures a second two are decoded, in 1.5 ms each (640 x 480).
    """
    is_sparse = index.key_gap_s <= STEP_S + ROUNDING_S
    with _open(path) as film:
        stream = film.streams.video[0]
        stream.thread_type = "AUTO"
        missing: dict[int | None, float] = {}  # the times of pictures that the decoder has not returned yet
        next_s, reduce = -math.inf, VideoReformatter().reformat
        for time_s, packet in chain(_sparse_keys(film) if is_sparse else _packets(film), [(0.0, None)]):
            if packet:
                missing[packet.pts] = time_s
            for frame in _decoded(stream, packet):
                time_s = missing.pop(frame.pts, math.inf)
                if time_s >= next_s:
                    next_s = time_s + STEP_S - ROUNDING_S
                    pixels = reduce(frame, WIDTH, HEIGHT, "gray", interpolation="POINT").to_ndarray()
                    yield Thumbnail(time_s, pixels.astype(np.int16))
    for time_s in missing.values():
        yield Thumbnail(time_s, None)


def _decoded(stream: VideoStream, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
    """Return the pictures that the decoder has ready; none if it refuses the packet."""
    try:
        return [frame for frame in stream.codec_context.decode(packet) if not frame.is_corrupt]
    except av.FFmpegError:
        return []


def _sparse_keys(film: InputContainer) -> Iterator[tuple[float, "Packet[VideoStream]"]]:
    """Yield a key frame about every half second; each is decoded without the packets before it."""
    next_s = -math.inf
    for time_s, packet in _packets(film):
        if packet.is_keyframe and time_s >= next_s:
            next_s = time_s + STEP_S - ROUNDING_S
            yield time_s, packet


def _packets(film: InputContainer) -> Iterator[tuple[float, "Packet[VideoStream]"]]:
    """Yield the time and the packet of each picture that a player shows."""
    for packet in film.demux(film.streams.video[0]):
        if packet.pts is not None and not packet.is_discard:
            yield float(packet.pts * packet.time_base), packet


@contextmanager
def _open(path: Path) -> Iterator[InputContainer]:
    """Open an MP4 file and nothing else: a playlist with its name could open other files."""
    try:
        with av.open(str(path), format="mov") as film:
            if not film.streams.video:
                raise FilmUnreadable("it has no pictures")
            context = film.streams.video[0].codec_context
            if (pixels := context.width * context.height) > MAX_PIXELS:
                raise FilmUnreadable(f"its pictures have {pixels} pixels; at most {MAX_PIXELS} expected")
            yield film
    except av.FFmpegError as error:
        raise FilmUnreadable(f"{error.strerror}") from None
