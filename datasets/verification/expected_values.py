"""Compute the values that rows have to have, from the frames of their session."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from datasets.options import Options
from datasets.verification.database import Frames
from datasets.verification.layout import CAPTURE_TIME, Expected
from datasets.verification.rules import SECOND_US, Rows

# Rounding of an interpolated value: other orders of the same operations differ by less, in units of the last place.
ROUNDING = 4 * np.finfo(np.float64).eps


class Source(NamedTuple):
    """The frames of a session, the rows expected of them, and what the options say."""

    frames: Frames
    rows: Rows
    options: Options


def is_interpolated(feature: Expected, number: int, options: Options) -> bool:
    """Check a column of a vector against the options' patterns, which may name it with or without its part."""
    if feature.names is None:
        return False
    names = (feature.names[number], feature.columns[number])
    return any(fnmatchcase(name, pattern) for name in names for pattern in options.interpolate)


def expected_vector(feature: Expected, source: Source, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest right value of these rows, float32 [rows, names].

    The two are one array, but for interpolated columns: where the exact value is halfway between two float32, either
    is right, and so are the many between the two near zero, where rounding is coarser than float32.
    """
    low = np.empty((len(source.rows.times_us[part]), len(feature.columns)), np.float32)
    smooth = [number for number in range(len(feature.columns)) if is_interpolated(feature, number, source.options)]
    with np.errstate(over="ignore"):
        for number, column in enumerate(feature.columns):
            low[:, number] = held(column, source, part)
    if not smooth:
        return low, low
    high = low.copy()
    for number in smooth:
        _interpolate(feature.columns[number], source, part, low[:, number], high[:, number])
    return low, high


def expected_column(feature: Expected, source: Source, part: slice) -> np.ndarray:
    """Return the values of a feature that is no vector: objects, or float64 of unix seconds."""
    if feature.key == CAPTURE_TIME:
        return source.frames.times_us[source.rows.shown[""][part]] / SECOND_US
    return held(feature.columns[0], source, part)


def held(column: str, source: Source, part: slice) -> np.ndarray:
    positions: Sequence[int] = source.rows.shown.get(column, source.rows.shown[""])
    return source.frames.columns[column][positions[part]]


def _interpolate(column: str, source: Source, part: slice, low: np.ndarray, high: np.ndarray) -> None:
    """Set the bounds of the values on the line between the samples before and after each row, where there are both."""
    stream, stretch = source.rows.stretch_of(column)
    samples = source.frames.columns[column]
    samples = samples if stream.positions is None else samples[stream.positions]
    times_us = stream.times_us[stretch.first : stretch.last + 1]
    before = np.searchsorted(times_us, source.rows.times_us[part], "right") - 1
    inner = np.flatnonzero((before >= 0) & (before + 1 < len(times_us)))
    at = stretch.first + before[inner]
    a, b = samples[at].astype(np.longdouble), samples[at + 1].astype(np.longdouble)
    passed = source.rows.times_us[part][inner] - stream.times_us[at]
    lasts = stream.times_us[at + 1] - stream.times_us[at]
    with np.errstate(over="ignore", invalid="ignore"):
        line = np.where(passed == 0, a, (a * (lasts - passed) + b * passed) / lasts)
        margin = np.where(passed == 0, 0, ROUNDING * np.maximum(abs(a), abs(b)))
        low[inner], high[inner] = (line - margin).astype(np.float64), (line + margin).astype(np.float64)
