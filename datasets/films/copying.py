"""Choose the rows of an episode whose packets can be copied from the films as they are."""

from typing import NamedTuple

import numpy as np

from datasets.films.encoder import PIXEL_FORMAT, sets_of
from datasets.films.index import index_of
from datasets.films.runs import runs
from datasets.films.sizes import even
from datasets.types import Camera, Film

LEAST_ROWS = 10  # of a copy: encoding goes on behind it with a key picture, which is large


class Part(NamedTuple):
    """Rows of an episode that are all copied, or all encoded again."""

    rows: slice
    is_copied: bool

    @property
    def length(self) -> int:
        return self.rows.stop - self.rows.start


def fits(film: Film, codec: str) -> bool:
    """Check that the packets of the film may stand in a film of this codec in a dataset."""
    if film.codec != codec or film.pixel_format != PIXEL_FORMAT:
        return False
    if (even(film.width), even(film.height)) != (film.width, film.height):
        return False
    index = index_of(film)
    return (
        index.is_seekable
        and index.is_in_order
        and bool(len(index.independent_times))
        and bool(sets_of(film.codec, index.extradata))
    )


def parts_of(camera: Camera, positions: np.ndarray, codec: str) -> list[Part]:
    """Return the parts of an episode in a film of this codec, in order.

    A copy begins at a key picture, and goes on as long as each row shows the next picture: the first row after a
    repeated or an unused picture is encoded again, and those after it up to the next key picture. So are the rows of a
    copy that would be very short.
    """
    is_copied = np.zeros(len(positions), bool)
    for part in runs(camera.film_numbers[positions]):
        film = camera.films[camera.film_numbers[positions[part.start]]]
        if fits(film, codec):
            is_copied[part] = _copied(film, camera.picture_numbers[positions[part]])
    for part in runs(is_copied):
        if part.stop - part.start < min(LEAST_ROWS, len(positions)):
            is_copied[part] = False
    return [Part(part, bool(is_copied[part.start])) for part in runs(is_copied)]


def _copied(film: Film, numbers: np.ndarray) -> np.ndarray:
    """Return which of the pictures are copied, bool [numbers]."""
    index = index_of(film)
    times = index.times[numbers]
    steps = np.diff(index.packet_times.searchsorted(times), prepend=-1)
    can_begin = np.isin(times, index.independent_times)
    # Another key picture may bring parameters that the dataset's film lacks.
    is_break = (steps != 1) | (np.isin(times, index.key_times) & ~can_begin)
    is_break[0] = True
    can_begin &= steps != 0  # the same packet twice would confuse decoders
    copied = np.zeros(len(numbers), bool)
    for begin, end in zip(np.flatnonzero(is_break), [*np.flatnonzero(is_break)[1:], len(numbers)], strict=True):
        starts = np.flatnonzero(can_begin[begin:end])
        if len(starts):
            copied[begin + starts[0] : end] = True
    return copied
