"""Find where a camera is frozen: it goes on to give pictures, but all are the same.

An encoder makes the pictures of a still scene equal too, but only up to the next key picture, in which the noise is
another one: then at most 0.7 s were equal, with noise of 0.3 levels. Of a frozen camera the key pictures are equal as
well, as soon as the encoder has found its quality; those between may become a little sharper than the key picture.
"""

from collections.abc import Iterator

import av
import numpy as np

from datasets.films.runs import runs

LEAST_US = 1_000_000
SHARPER = 2.0  # levels, mean difference from the key picture
SAME_BYTES = 16  # by which the packets of equal key pictures may differ: they are numbered
COARSE = 16  # lines of which one is compared first


class FrozenPictures:
    """Gets pictures in the order shown, and finds equal ones that last for more than a second."""

    def __init__(self) -> None:
        self.spans_us: list[tuple[int, int]] = []
        self._last: av.VideoFrame | None = None
        self._key: av.VideoFrame | None = None  # the last one among the equal pictures
        self._begin_us = self._end_us = self._equal_keys = 0

    def feed(self, time_us: int, picture: av.VideoFrame) -> None:
        if picture is self._last:
            return
        if self._last is not None and self._goes_on(picture):
            self._equal_keys += bool(picture.key_frame)
        else:
            self.stop()
            self._begin_us, self._equal_keys = time_us, 0
        if picture.key_frame:
            self._key = picture
        self._last, self._end_us = picture, time_us

    def stop(self) -> None:
        """Note that the next picture does not follow the last one, or that there is none."""
        if self._equal_keys and self._end_us - self._begin_us > LEAST_US:
            self.spans_us.append((self._begin_us, self._end_us))
        self._last = self._key = None
        self._equal_keys = 0

    def _goes_on(self, picture: av.VideoFrame) -> bool:
        if is_equal(self._last, picture):
            return True
        if self._key is None:
            return False
        return is_equal(self._key, picture) if picture.key_frame else is_near(self._key, picture)


def is_equal(a: av.VideoFrame, b: av.VideoFrame) -> bool:
    """Check whether the brightness of all pixels is equal."""
    first, second = _brightness(a), _brightness(b)
    if first.shape != second.shape or not np.array_equal(first[::COARSE], second[::COARSE]):
        return False
    return np.array_equal(first, second)


def is_near(a: av.VideoFrame, b: av.VideoFrame) -> bool:
    """Check whether the brightness differs by little."""
    first, second = (_brightness(each)[::COARSE].astype(np.int16) for each in (a, b))
    return first.shape == second.shape and float(np.abs(first - second).mean()) <= SHARPER


def _brightness(picture: av.VideoFrame) -> np.ndarray:
    """Return the first plane without the bytes behind each line."""
    plane = picture.planes[0]
    lines = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
    return lines[:, : plane.width]


def suspicious_rows(sizes: np.ndarray, is_key: np.ndarray) -> Iterator[slice]:
    """Yield rows in which a camera may be frozen: packets of neighbouring key pictures have the same size.

    Their last row is the one before the first key picture of another size. `sizes` are those of the packets, in bytes.
    """
    keys = np.flatnonzero(is_key)
    is_same = np.abs(np.diff(sizes[keys])) <= SAME_BYTES
    for run in runs(is_same):
        if is_same[run.start]:
            end = keys[run.stop + 1] if run.stop + 1 < len(keys) else len(sizes)
            yield slice(int(keys[run.start]), int(end))
