"""Read the packets of a session's stored films by PyAV: when each picture is shown, and its hash."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from datasets.options import Options
from datasets.types import FilmEntry, SessionEntry
from datasets.verification.findings import Findings
from videos.film.examine import examine
from videos.film.facts import NoVideo
from videos.models import VideoChunk

PREFIX = "observation.images."
DEMUXERS = {
    "video/mp4": "mp4",
    "video/quicktime": "mp4",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
    "video/x-msvideo": "avi",
    "video/mp2t": "mpegts",
}
SECOND_US = 10**6


class SourceFilm(NamedTuple):
    """The shown pictures of a stored film, in the order shown.

    `media_times` are in units of the stream's time base, `times_us` on the session's clock; `digests` are the hashes of
    the packets, `key_numbers` the numbers of the key pictures.
    """

    name: str
    path: Path
    demuxer: str
    media_times: np.ndarray
    times_us: np.ndarray
    digests: list[bytes]
    key_numbers: np.ndarray


class SourceCamera(NamedTuple):
    """All pictures of a camera in a session, by time: picture i is number `numbers[i]` of `films[film_of[i]]`."""

    key: str
    films: list[SourceFilm]
    times_us: np.ndarray
    film_of: np.ndarray
    numbers: np.ndarray


def digest_of(packet: av.Packet) -> bytes:
    return hashlib.sha256(packet).digest()[:16]


def source_cameras(entry: SessionEntry, options: Options, findings: Findings) -> dict[str, SourceCamera]:
    """Return the cameras of a session that are exported, by their keys in the dataset."""
    cameras = None if options.cameras is None else {_key_of(camera) for camera in options.cameras}
    chunks = VideoChunk.objects.in_bulk([film.video_id for film in entry.films])
    found: dict[str, list[VideoChunk]] = {}
    for film in sorted(entry.films, key=lambda film: film.start_timestamp):
        if cameras is not None and _key_of(film.camera) not in cameras:
            continue
        if chunk := _stored(chunks.get(film.video_id), film, entry, findings):
            found.setdefault(_key_of(film.camera), []).append(chunk)
    return {key: _camera(key, chunks) for key, chunks in sorted(found.items()) if not any(map(_is_depth, chunks))}


def _key_of(camera: str) -> str:
    return camera if camera.startswith(PREFIX) else PREFIX + camera


def _stored(chunk: VideoChunk | None, film: FilmEntry, entry: SessionEntry, findings: Findings) -> VideoChunk | None:
    name = f"session {entry.session_id}: video {film.video_id} of camera {film.camera}"
    if chunk is None or (chunk.session_id, chunk.sha256) != (entry.session_id, film.sha256):
        findings.add(f"{name} was deleted or replaced since the export began")
    elif not chunk.path.is_file() or chunk.path.stat().st_size != chunk.size:
        findings.add(f"{name}: its file is missing or cut off")
    else:
        return _probed(chunk, name, findings)
    return None


def _probed(chunk: VideoChunk, name: str, findings: Findings) -> VideoChunk | None:
    try:
        if not chunk.codec:
            chunk.describe(examine(chunk.path))
        return chunk
    except (NoVideo, OSError) as error:
        findings.add(f"{name} is not readable: {error}")
        return None


def _is_depth(chunk: VideoChunk) -> bool:
    return chunk.pixel_format.startswith("gray") and chunk.pixel_format != "gray"


def _camera(key: str, chunks: list[VideoChunk]) -> SourceCamera:
    """Put the films together: a player shows a film until the next one begins, and no two pictures at one time."""
    films = [_read(chunk) for chunk in chunks]
    begins = [film.times_us[0] for film in films] + [np.iinfo(np.int64).max]
    rows = []
    for position, film in enumerate(films):
        limit, last = min(begins[position + 1 :]), None
        for number, time_us in enumerate(film.times_us.tolist()):
            if time_us < limit and time_us != last:
                rows.append((time_us, position, number))
            last = time_us
    times_us, film_of, numbers = np.array(rows, np.int64).reshape(-1, 3).T
    return SourceCamera(key, films, times_us, film_of, numbers)


def _read(chunk: VideoChunk) -> SourceFilm:
    """Read all packets of a film; none is decoded."""
    name, demuxer = f"video {chunk.pk} of camera {chunk.camera_key}", DEMUXERS[chunk.media_type]
    shown: list[tuple[int, bytes, bool]] = []
    with open_stream(chunk.path, demuxer) as (film, stream):
        time_base, first_key = stream.time_base, None
        is_vp8 = stream.codec.canonical_name == "vp8"
        for packet in film.demux(stream):
            time = packet.pts if packet.pts is not None else packet.dts
            if not packet.size or time is None:
                continue
            if first_key is None and packet.is_keyframe:
                first_key = time
            is_hidden = is_vp8 and not bytes(packet)[0] & 0x10  # VP8: a bit says whether the picture is shown
            if not packet.is_discard and not is_hidden:
                shown.append((time, digest_of(packet), packet.is_keyframe))
    shown = sorted((each for each in shown if first_key is None or each[0] >= first_key), key=lambda each: each[0])
    times = [time for time, _, _ in shown]
    return SourceFilm(
        name=name,
        path=chunk.path,
        demuxer=demuxer,
        media_times=np.array(times, np.int64),
        times_us=_session_times(times, time_base, chunk),
        digests=[digest for _, digest, _ in shown],
        key_numbers=np.flatnonzero([is_key for _, _, is_key in shown]),
    )


def _session_times(times: list[int], time_base: Fraction, chunk: VideoChunk) -> np.ndarray:
    """Return start_timestamp + (media time - that of the first picture) * stretch, in microseconds (docs/api.md)."""
    is_stretched = chunk.timing == "nominal" or (chunk.timing == "" and chunk.is_evenly_spaced)
    interval_s = chunk.end_timestamp - chunk.start_timestamp
    stretch = Fraction(interval_s / chunk.duration_s if is_stretched and chunk.duration_s else 1.0)
    unit_us, begin_us = time_base * SECOND_US * stretch, round(chunk.start_timestamp * SECOND_US)
    return np.array([begin_us + round((time - times[0]) * unit_us) for time in times], np.int64)


@contextmanager
def open_stream(path: Path, demuxer: str, threads: int = 1) -> Iterator[tuple[Any, Any]]:
    """Open the first stream of pictures of a film; a broken picture raises an error in place of being patched up."""
    with av.open(f"file:{path}", format=demuxer, container_options={"protocol_whitelist": "file"}) as film:
        covers = av.stream.Disposition.attached_pic
        stream = next(each for each in film.streams.video if not each.disposition & covers)
        stream.codec_context.thread_count = threads
        stream.thread_type = "AUTO" if threads > 1 else "NONE"
        yield film, stream
