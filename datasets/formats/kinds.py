"""Distinguish the columns of a Recording: numbers, true and false, or texts."""

import numpy as np


def has_texts(values: np.ndarray) -> bool:
    return values.dtype == object and any(type(value) is str for value in values)


def as_numbers(values: np.ndarray) -> np.ndarray:
    """Return float64 with NaN for missing values; true and false become 1 and 0."""
    if values.dtype != object:
        return values
    return np.array([np.nan if value is None else float(value) for value in values])
