"""Read what the packets of a film say: the times of its pictures, and where decoding and copying can begin."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from threading import Lock
from typing import NamedTuple

import numpy as np
from av.packet import Packet

from datasets.films.h264 import is_independent
from datasets.types import Film, Refused
from videos.film.containers import AVI, MPEG_TS, open_film
from videos.film.examine import read_pictures
from videos.film.facts import NoVideo

CACHE_BYTES = 64 * 2**20  # for 30 hours of 30 pictures a second, be it in films of an hour or of ten seconds
OBJECT_BYTES = 2000  # of an index, beside its numbers


class FilmIndex(NamedTuple):
    """The pictures that a player shows, in the order shown: number n is at times[n], in units of `time_base`.

    A group is a key picture and the pictures after it, up to the next one.
    """

    times: np.ndarray  # int64 [pictures], ascending
    key_times: np.ndarray  # int64 [groups], ascending; a key picture may be one that is not shown
    packet_times: np.ndarray  # int64, of all packets in the order of decoding
    packet_sizes: np.ndarray  # int32, bytes
    independent_times: np.ndarray  # int64; of the key pictures at which a copy can begin
    time_base: Fraction
    extradata: bytes
    has_times: bool  # False for AVI, whose packets only have the order of decoding
    is_seekable: bool

    @property
    def is_in_order(self) -> bool:
        """Check that each packet is shown after the one before it: there are no B-pictures."""
        return bool((np.diff(self.packet_times) > 0).all())

    @property
    def size_bytes(self) -> int:
        return OBJECT_BYTES + sum(each.nbytes for each in self if isinstance(each, np.ndarray))

    def groups_of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the numbers of the groups of these pictures; -1 before the first key picture."""
        return self.key_times.searchsorted(self.times[numbers], "right") - 1


class _Packet(NamedTuple):
    time: int
    size: int
    is_key: bool
    is_independent: bool


class _Cache:
    """Keeps the indexes that were used last, for all threads, up to a number of bytes."""

    def __init__(self, max_bytes: int):
        self._max_bytes, self._bytes = max_bytes, 0
        self._found: dict[Film, FilmIndex] = {}  # the one that was used last is the last one
        self._lock = Lock()

    def get(self, film: Film) -> FilmIndex:
        """Return the index of the film, which is read if it is not kept."""
        with self._lock:
            if index := self._found.pop(film, None):
                self._found[film] = index
                return index
        index = _read(film)
        with self._lock:
            self._forget(film)  # another thread may have read it, too
            self._found[film] = index
            self._bytes += index.size_bytes
            while self._bytes > self._max_bytes and len(self._found) > 1:
                self._forget(next(iter(self._found)))
        return index

    def _forget(self, film: Film) -> None:
        if index := self._found.pop(film, None):
            self._bytes -= index.size_bytes


_cache = _Cache(CACHE_BYTES)


def index_of(film: Film) -> FilmIndex:
    """Return the index of the film; raises Refused if FFmpeg cannot read it."""
    return _cache.get(film)


def _read(film: Film) -> FilmIndex:
    """Read all packets of a film; for one of an hour it takes 1.5 s."""
    notes: list[_Packet] = []
    try:
        with open_film(film.path) as (container, demuxer, stream):
            extradata = stream.codec_context.extradata or b""
            pictures = read_pictures(stream, _note(demuxer.demux(stream), film.codec, extradata, notes))
    except (NoVideo, OSError) as error:
        raise Refused(f"video {film.video_id} is not readable: {getattr(error, 'strerror', error)}") from None
    return FilmIndex(
        times=np.array(pictures.times, np.int64),
        key_times=np.array(sorted(note.time for note in notes if note.is_key), np.int64),
        packet_times=np.array([note.time for note in notes], np.int64),
        packet_sizes=np.array([note.size for note in notes], np.int32),
        independent_times=np.array([note.time for note in notes if note.is_independent], np.int64),
        time_base=pictures.time_base,
        extradata=extradata,
        has_times=container is not AVI,
        is_seekable=container not in (AVI, MPEG_TS),
    )


def time_of(packet: Packet) -> int | None:
    """Return the time of a packet as videos/film/examine.py counts it; None if the packet has no picture."""
    return None if not packet.size else packet.dts if packet.pts is None else packet.pts


def _note(packets: Iterable[Packet], codec: str, extradata: bytes, notes: list[_Packet]) -> Iterator[Packet]:
    for packet in packets:
        if (time := time_of(packet)) is not None:
            is_key = packet.is_keyframe
            begins = is_key and (codec != "h264" or is_independent(bytes(packet), extradata))
            notes.append(_Packet(time, packet.size, is_key, begins))
        yield packet
