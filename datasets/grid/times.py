"""Compute the times of rows from integers."""

from datetime import UTC, datetime, timedelta

import numpy as np

SECOND_US = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def row_times_us(begin_us: int, fps: int, length: int) -> np.ndarray:
    """Return the times of all rows of an episode, int64 [length]; each is rounded to a microsecond, halves up."""
    return begin_us + (np.arange(length, dtype=np.int64) * SECOND_US + fps // 2) // fps


def half_us(fps: int) -> int:
    """Return half of the time between two frames, in microseconds, rounded down."""
    return SECOND_US // 2 // fps


def rows_until(begin_us: int, end_us: int, fps: int) -> int:
    """Return how many rows of an episode that begins at `begin_us` are at `end_us` or earlier."""
    return max(0, ((end_us - begin_us + 1) * fps - fps // 2 - 1) // SECOND_US + 1)


def seconds_to_us(seconds: float) -> int:
    return round(seconds * SECOND_US)


def iso_time(time_us: int) -> str:
    """Return the time as ISO 8601 in UTC, with six digits of microseconds."""
    return (EPOCH + timedelta(microseconds=int(time_us))).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
