"""Give a camera's pictures as an H.264 stream in Annex B form, one message a picture, as Foxglove reads them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from datasets.films import h264
from datasets.films.copying import parts_of
from datasets.films.encoder import Form, Header, encode, sets_of
from datasets.films.index import index_of
from datasets.films.reader import CameraReader
from datasets.types import Camera

CODEC = "h264"
MAX_FPS = 1000


class Message(NamedTuple):
    time_us: int
    data: bytes
    is_key: bool  # decoding can begin here: the parameter sets are in `data`


def packets(camera: Camera, positions: np.ndarray | None = None) -> Iterator[Message]:
    """Yield a message for each of `positions` (all pictures by default), ascending.

    No picture refers to a later one. What is not H.264 with mp4's structure, what has B-pictures, and what follows a
    repeated or missing picture, up to the next key picture, is encoded again. Raises Refused.
    """
    positions = np.arange(len(camera.times_us)) if positions is None else np.asarray(positions, np.int64)
    fps = _rate_of(camera.times_us[positions])
    with CameraReader(camera) as reader:
        for part in parts_of(camera, positions, CODEC):
            rows = positions[part.rows]
            stream = _copied(camera, reader, rows) if part.is_copied else _encoded(reader, rows, fps)
            for time_us, (data, sets) in zip(camera.times_us[rows].tolist(), stream, strict=True):
                yield _message(time_us, data, sets)


def _copied(camera: Camera, reader: CameraReader, rows: np.ndarray) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    for position, packet in zip(rows, reader.packets(rows), strict=True):
        film = camera.films[camera.film_numbers[position]]
        yield bytes(packet), sets_of(film.codec, index_of(film).extradata)


def _encoded(reader: CameraReader, rows: np.ndarray, fps: int) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    form = Form(next(reader.pictures(rows[:1]))[1])
    sets = tuple(sorted(Header(CODEC, fps, form).sets))
    for packet in encode(CODEC, fps, form, (picture for _, picture in reader.pictures(rows))):
        yield bytes(packet), sets


def _message(time_us: int, data: bytes, sets: tuple[bytes, ...]) -> Message:
    units = list(h264.units_of(data))
    is_key = any(h264.kind_of(unit) == h264.IDR for unit in units)
    if is_key:
        first = [unit for unit in units[:1] if h264.kind_of(unit) == h264.DELIMITER]  # it begins what belongs together
        units = [*first, *sets, *(unit for unit in units[len(first) :] if unit not in sets)]
    return Message(time_us, h264.with_start_codes(units), is_key)


def _rate_of(times_us: np.ndarray) -> int:
    """Return pictures a second, for the encoder's choice of quality."""
    if len(times_us) < 2:
        return 1
    return min(MAX_FPS, max(1, round(1e6 / float(np.median(np.diff(times_us))))))
