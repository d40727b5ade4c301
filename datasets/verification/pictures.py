"""Tell whether a picture of a dataset is that of its source, or rather the one before or after it.

An encoder changes pictures. In a still scene it repeats the picture before, noise and all, so that the picture nearest
to an encoded one, pixel by pixel, is often a neighbour of the right one. So pictures are compared as means of 8 x 8
pixels, and only where the right picture and its neighbour differ by 6 of 255 levels or more, which encoders keep.
Where no such place is, or hardly any, the source repeats itself, and either picture is right.
"""

from collections.abc import Mapping
from functools import cached_property

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

BLOCK, LONG_SIDE = 8, 100  # pixels of a block's side, more in large pictures; blocks
CHANGE = 6  # levels by which a block differs from its neighbour for certain
NEAREST = 0.6  # 0: as the right picture, 1: as its neighbour
EVIDENCE = 300  # squared levels, summed over blocks: six blocks that differ by CHANGE, or one by 17
FOREIGN = 12  # levels: the mean difference from a picture that is of another camera or time
# Slow films: each picture differs from the next by less, but all of an episode together show a shift.
SLOW_CHANGE, SLOW_EVIDENCE = 4, 3000


def size_in_dataset(frame: av.VideoFrame) -> tuple[int, int]:
    """Return width and height of a film of such pictures: pixels share colours in pairs, so an odd one is left out."""
    return frame.width - frame.width % 2, frame.height - frame.height % 2


class Scaler:
    """Makes the small grey version of pictures. One for each stream: setting it up takes 1 ms, and scaling 0.1."""

    def __init__(self) -> None:
        self._reformatter, self._to_grey = VideoReformatter(), VideoReformatter()

    def small(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the means of blocks of what a dataset has of the picture, int32 [rows, columns] from 0 to 255."""
        if size_in_dataset(frame) != (frame.width, frame.height):
            frame = self._cut(frame)
        block = max(BLOCK, round(max(frame.width, frame.height) / LONG_SIDE))
        size = {"width": max(1, frame.width // block), "height": max(1, frame.height // block)}
        grey = self._reformatter.reformat(frame, **size, format="gray", interpolation=Interpolation.AREA)
        return grey.to_ndarray().astype(np.int32)

    def _cut(self, frame: av.VideoFrame) -> av.VideoFrame:
        width, height = size_in_dataset(frame)
        grey = self._to_grey.reformat(frame, format="gray").to_ndarray()[:height, :width]
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(grey), format="gray")


class Picture:
    """A decoded picture, and its small version once it is asked for."""

    def __init__(self, frame: av.VideoFrame, scaler: Scaler):
        self.frame, self._scaler = frame, scaler

    @cached_property
    def small(self) -> np.ndarray:
        return self._scaler.small(self.frame)


def is_same(a: av.VideoFrame, b: av.VideoFrame) -> bool:
    """Check whether two pictures have the same size, format and pixels."""
    if (a.width, a.height, a.format.name) != (b.width, b.height, b.format.name):
        return False
    return np.array_equal(a.to_ndarray(), b.to_ndarray())


class Shift:
    """How far the pictures of an episode are from theirs to a neighbour's, all together."""

    neighbours = ("the one before", "the one after")

    def __init__(self) -> None:
        self._energy = dict.fromkeys(self.neighbours, 0.0)
        self._towards = dict.fromkeys(self.neighbours, 0.0)

    def add(self, neighbour: str, energy: float, towards: float) -> None:
        self._energy[neighbour] += energy
        self._towards[neighbour] += towards

    def found(self) -> str | None:
        """Return the neighbour that the pictures show instead of theirs."""
        for neighbour, energy in self._energy.items():
            if energy > SLOW_EVIDENCE and self._towards[neighbour] > NEAREST * energy:
                return neighbour
        return None


def wrong_picture(found: np.ndarray, right: np.ndarray, others: Mapping[str, np.ndarray], shift: Shift) -> str | None:
    """Return the name of the neighbour that `found` is nearer to than to the right picture, or None."""
    if found.shape != right.shape:
        return "one of another size"
    error, nearer = found - right, {}
    for name, other in others.items():
        difference = other - right
        size = abs(difference)
        if name in shift.neighbours:
            shift.add(name, *_towards(error, difference, size >= SLOW_CHANGE))
        energy, towards = _towards(error, difference, size >= CHANGE)
        # A picture that is as near to one as to the other has towards = energy / 2.
        if towards > NEAREST * energy and 2 * towards - energy > EVIDENCE:
            nearer[name] = np.square(found - other).sum()
    if nearer:
        return min(nearer, key=nearer.__getitem__)
    return "none near it" if abs(error).mean() > FOREIGN else None


def _towards(error: np.ndarray, difference: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Return how much the neighbour differs from the right picture, and how much of this the found picture has."""
    there = difference[where]
    return float(there @ there), float(error[where] @ there)
