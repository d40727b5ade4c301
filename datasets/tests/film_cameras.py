"""Cameras of numbered films, and small films that are broken, frozen or of odd sizes."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np

from datasets.films.index import index_of
from datasets.films.writer import FilmSpan, FilmWriter
from datasets.types import Camera, Film
from videos.film.examine import examine
from videos.tests.film_files import number_of

START_US = 1_700_000_000_000_000
SEAM_US = 33_333
ROBOT = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}  # as the robots' client encodes
VIDEO_IDS = count(1)


def camera_of(*paths: Path, key="observation.images.front") -> Camera:
    """Return a camera whose films follow each other."""
    films, times, start_us = [], [], START_US
    for path in paths:
        facts = examine(path)
        form = facts.media_type, facts.codec, facts.pixel_format, facts.width, facts.height
        films.append(Film(next(VIDEO_IDS), path, "", *form))
        index = index_of(films[-1])
        units = (index.times - index.times[0]).tolist()
        times.append([start_us + round(unit * index.time_base * 1_000_000) for unit in units])
        start_us = times[-1][-1] + SEAM_US
    lengths = [len(each) for each in times]
    numbers = np.concatenate([np.arange(length) for length in lengths])
    return Camera(key, tuple(films), np.concatenate(times), np.repeat(np.arange(len(films)), lengths), numbers)


def written(folder: Path, *episodes: tuple[Camera, Iterable[int]], fps=30, **options) -> list[FilmSpan]:
    """Write episodes by one writer as 0.mp4, 1.mp4 and so on."""
    writer = FilmWriter(fps, lambda number: folder / f"{number}.mp4", **options)
    spans = [writer.add(camera, np.array(positions)) for camera, positions in episodes]
    writer.close()
    return spans


def shown(path: Path) -> list[int]:
    """Return the numbers that the pictures show."""
    with av.open(path) as film:
        return [number_of(picture) for picture in film.decode(video=0)]


def packets_of(path: Path) -> list[bytes]:
    with av.open(path) as film:
        return [bytes(packet) for packet in film.demux(video=0) if packet.size]


def painted(target: Path, paint: Callable[[int], np.ndarray], length=40, codec="libx264", **options: str) -> Path:
    """Write a film of RGB pictures, `paint(n)` for picture n, in `pix_fmt`; color_range 2: all levels."""
    height, width, _ = paint(0).shape
    pixel_format, levels = options.pop("pix_fmt", "yuv420p"), int(options.pop("color_range", "1"))
    with av.open(target, "w") as output:
        stream = output.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.color_range = levels
        for number in range(length):
            picture = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            picture = picture.reformat(format=pixel_format, dst_color_range=levels)
            picture.pts, picture.time_base = number, Fraction(1, 30)
            output.mux(stream.encode(picture))
        output.mux(stream.encode())
    return target


def damaged(source: Path, target: Path, number: int, damage: Callable[[bytes], bytes]) -> Path:
    """Copy a film, with `damage` done to the packet of this number."""
    with av.open(source) as film, av.open(target, "w") as output:
        stream = output.add_stream_from_template(film.streams.video[0])
        packets = [packet for packet in film.demux(video=0) if packet.size]
        for at, packet in enumerate(packets):
            if at == number:
                times = packet.pts, packet.dts, packet.duration, packet.time_base
                packet = av.Packet(damage(bytes(packet)))
                packet.pts, packet.dts, packet.duration, packet.time_base = times
            packet.stream = stream
            output.mux(packet)
    return target
