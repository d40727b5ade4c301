"""Pictures for the tests of cameras, and readers of the films that come of them."""

import av
import numpy
from teleop_client.camera.film_chunk import Chunk, repack

WIDTH, HEIGHT = 64, 48


def picture(number=0, size=(WIDTH, HEIGHT), colours=3):
    """Return an image that differs from those of other numbers."""
    image = numpy.zeros((size[1], size[0], colours), numpy.uint8)
    image[:] = numpy.arange(size[0], dtype=numpy.uint8)[None, :, None]
    image[:, : 1 + number % size[0]] += 100
    image[:8] = number % 256
    return image


def times(film):
    """Return the time of each picture of a film, in seconds; all of them can be decoded."""
    with av.open(str(film)) as file:
        return [float(frame.time) for frame in file.decode(video=0)]


def first_picture(film):
    """Return the first picture in RGB, as a player shows it."""
    with av.open(str(film)) as file:
        return next(file.decode(video=0)).to_ndarray(format="rgb24")


def make_film(path, seconds=1.0, fps=10, about=None):
    """Write a film at `<path>.mp4` that begins at the unix time of 2026-01-01; return its path."""
    start_s = 1767225600.0
    about = {"camera": path.parent.name, "start": {"unix_s": start_s}} | (about or {})
    chunk = Chunk(path, about, 0.0, (WIDTH, HEIGHT), fps=fps)
    for number in range(round(seconds * fps)):
        chunk.add(picture(number), "rgb24", number / fps)
    chunk.finish()
    return chunk.path


def repacked(film):
    """Return the film as it is uploaded, and its length in seconds."""
    target = film.with_suffix(".upload")
    return target, repack(film, target)
