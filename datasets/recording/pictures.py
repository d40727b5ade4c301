"""Read the times of a camera's pictures from its films; no picture is decoded."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from datasets.films.sizes import even
from datasets.options import Options
from datasets.recording.cameras import is_chosen, is_name, key_of
from datasets.recording.names import list_of, name_of
from datasets.types import Camera, CameraFeature, Film, FilmEntry, Refused, SessionEntry
from videos.film.containers import open_film
from videos.film.examine import examine, read_pictures
from videos.film.facts import Facts, NoVideo
from videos.models import VideoChunk


def cameras_of(entry: SessionEntry, options: Options) -> list[Camera]:
    """Open the films of the manifest; return the cameras in the order of their keys.

    Films of depth are left out; `left_out` names them. Raises Refused if a film is missing, is not readable, or has
    another size than the camera's other films.
    """
    return [_camera(key, chunks, entry) for key, chunks in _chosen(entry, options).items()]


def camera_features(entry: SessionEntry, options: Options) -> list[CameraFeature]:
    """Return the same cameras with the sizes that their films get, from what the probes of the films found."""
    return [camera_feature(key, chunks[0]) for key, chunks in _chosen(entry, options).items()]


def camera_feature(key: str, film: VideoChunk | Film) -> CameraFeature:
    """Return the camera with the size of its films in a dataset, which have no odd row or column."""
    return CameraFeature(key, even(film.height), even(film.width))


def left_out(entry: SessionEntry, options: Options) -> list[str]:
    """Return sentences for the report about the cameras that cannot be exported."""
    depth = [camera for camera, chunks in _cameras(entry, options).items() if _is_depth(chunks)]
    return [f"{name_of(entry)}: camera {list_of(depth)} left out: films of depth are not exported"] if depth else []


def _chosen(entry: SessionEntry, options: Options) -> dict[str, list[VideoChunk]]:
    cameras: dict[str, list[VideoChunk]] = {}
    names: dict[str, str] = {}
    for camera, chunks in _cameras(entry, options).items():
        key = key_of(camera)
        if not is_name(camera):
            allowed = "letters, digits, _ and -, separated by single dots,"
            raise Refused(f"{name_of(entry)} has a camera {camera!r:.120}; {allowed} expected")
        if key in names:
            raise Refused(f"{name_of(entry)} has cameras {names[key]} and {camera}, which are both {key} in a dataset")
        names[key] = camera
        if not _is_depth(chunks):
            cameras[key] = chunks
    return dict(sorted(cameras.items()))


def _cameras(entry: SessionEntry, options: Options) -> dict[str, list[VideoChunk]]:
    """Return the chunks of the manifest by camera, each camera's by time; raises Refused if one was deleted."""
    films = [film for film in entry.films if is_chosen(film.camera, options)]
    found = VideoChunk.objects.in_bulk([film.video_id for film in films])
    cameras = defaultdict(list)
    for film in sorted(films, key=lambda film: film.start_timestamp):
        chunk = found.get(film.video_id)
        if chunk is None or chunk.sha256 != film.sha256 or chunk.session_id != entry.session_id:
            raise Refused(f"{name_of(entry)}: {film_name(film)} was deleted")
        if not chunk.codec:  # it was not probed yet, or without success
            chunk.describe(_examined(chunk, entry))
        cameras[film.camera].append(chunk)
    return cameras


def _examined(chunk: VideoChunk, entry: SessionEntry) -> Facts:
    with _readable(chunk, entry):
        return examine(chunk.path)


@contextmanager
def _readable(chunk: VideoChunk, entry: SessionEntry) -> Iterator[None]:
    """Raise Refused if the file is missing, or if it is not readable in the block."""
    name = f"video {chunk.pk} of camera {chunk.camera_key}"
    if not chunk.is_stored:
        raise Refused(f"{name_of(entry)}: the file of {name} is missing or cut off ({chunk.file_path.name})")
    try:
        yield
    except (NoVideo, OSError) as error:
        raise Refused(f"{name_of(entry)}: {name} is not readable: {error}") from None


def film_name(film: FilmEntry) -> str:
    return f"video {film.video_id} of camera {film.camera}"


def _camera(key: str, chunks: list[VideoChunk], entry: SessionEntry) -> Camera:
    films, times = [], []
    for chunk in chunks:
        film, found = _read(chunk, entry)
        films.append(film)
        times.append(found)
    _check_sizes(key, films, entry)
    begins = [int(found[0]) for found in times]
    shown = [_shown(found, end_us) for found, end_us in zip(times, [*begins[1:], None], strict=True)]
    film_numbers = np.repeat(np.arange(len(films)), [len(each) for each in shown])
    times_us = np.concatenate([found[each] for found, each in zip(times, shown, strict=True)])
    return Camera(key, tuple(films), times_us, film_numbers, np.concatenate(shown))


def _shown(times_us: np.ndarray, end_us: int | None) -> np.ndarray:
    """Return the numbers of the pictures that a player shows: those before the next film, one at each time."""
    is_new = np.diff(times_us, prepend=times_us[0] - 1) > 0
    return np.flatnonzero(is_new if end_us is None else is_new & (times_us < end_us))


def _read(chunk: VideoChunk, entry: SessionEntry) -> tuple[Film, np.ndarray]:
    """Return the film, and the times of its pictures in the order in which they are shown."""
    with _readable(chunk, entry):
        _check_content(chunk, entry)
        with open_film(chunk.path) as (_, film, stream):
            pictures = read_pictures(stream, film.demux(stream))
    offsets = np.array(pictures.times, np.int64) - pictures.times[0]
    offsets_us = np.rint(offsets * float(pictures.time_base * 10**6) * chunk.stretch).astype(np.int64)
    facts = chunk.media_type, chunk.codec, chunk.pixel_format, chunk.width, chunk.height
    return Film(chunk.pk, chunk.path, chunk.sha256, *facts), round(chunk.start_timestamp * 1e6) + offsets_us


def _check_content(chunk: VideoChunk, entry: SessionEntry) -> None:
    """Raise Refused if the disk has other bytes than those that were uploaded; hashing 1 GB takes 1 s."""
    with chunk.path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != chunk.sha256:
            name = f"video {chunk.pk} of camera {chunk.camera_key}"
            raise Refused(f"{name_of(entry)}: the file of {name} is damaged; its SHA-256 is not that of the upload")


def _check_sizes(key: str, films: list[Film], entry: SessionEntry) -> None:
    sizes = {(film.width, film.height): film.video_id for film in films}
    if len(sizes) > 1:
        listed = list_of([f"{width} x {height} (video {video})" for (width, height), video in sizes.items()])
        raise Refused(f"{name_of(entry)}: the films of {key} have different sizes: {listed}")


def _is_depth(chunks: list[VideoChunk]) -> bool:
    return any(chunk.codec and not chunk.facts.has_preview for chunk in chunks)
