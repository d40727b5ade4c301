"""Recompute statistics from the rows that a dataset has, and compare them with those that it states.

`min`, `max` and `count` have to be equal. `mean` and `std` may differ by the rounding of sums in float64: 1e-9 and 1e-6
of the range, and 1e-12 of the largest value. LeRobot estimates quantiles by a histogram of 5000 bins: between a bin's
width below a stated quantile and a bin's width above it, the number of rows passes the quantile's rank.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from datasets.verification.findings import Findings

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
BASIC = ("min", "max", "mean", "std", "count")
BINS = 5000
MEAN_TOLERANCE, STD_TOLERANCE, ROUNDING = 1e-9, 1e-6, 1e-12
PADDING = 2e-10  # by which LeRobot widens the range of the histogram at either side, twice


class ColumnStatistics:
    """The statistics of one feature in one episode, from rows that come in pieces; `stated` are those of the dataset.

    Quantiles need no sorting, as those that are stated are known: two ranks are counted for each.
    """

    def __init__(self, width: int, stated: Mapping[str, Any]):
        self._width, self.count = width, 0
        self._low, self._high = np.full(width, np.inf), np.full(width, -np.inf)
        self._shift: np.ndarray | None = None
        self._sum, self._squares = np.zeros(width), np.zeros(width)
        self._stated = {key: _flat(value, width) for key, value in stated.items()}
        usable = {key: value for key, value in self._stated.items() if len(value) == width}
        self._ranks = {
            key: (np.zeros(width, np.int64), np.zeros(width, np.int64)) for key in QUANTILES if key in usable
        }
        self._margin = self._margin_of(usable)

    def add(self, values: np.ndarray) -> None:
        """Add rows [rows, width] of float64, or of a type that it contains."""
        if self._shift is None:
            self._shift = values[0].astype(np.float64)
        self._low, self._high = np.minimum(self._low, values.min(0)), np.maximum(self._high, values.max(0))
        self.count += len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            shifted = values - self._shift
            self._sum += shifted.sum(0)
            self._squares += np.einsum("ij,ij->j", shifted, shifted)
        for key, (below, up_to) in self._ranks.items():
            stated = self._stated[key]
            below += np.count_nonzero(values < stated - self._margin, 0)
            up_to += np.count_nonzero(values <= stated + self._margin, 0)

    def check(self, where: str, keys: Sequence[str], findings: Findings) -> None:
        """Compare with what is stated, which has to have these keys."""
        if not findings.compare(f"{where}: the list of statistics", sorted(self._stated), sorted(keys)):
            return
        largest, width = np.maximum(abs(self._low), abs(self._high)), self._high - self._low
        with np.errstate(invalid="ignore"):
            mean = self._sum / self.count
            std = np.sqrt(np.maximum(0, self._squares / self.count - mean**2))
            exact = {"min": self._low, "max": self._high, "count": np.array([self.count])}
            near = {
                "mean": (mean + self._shift, MEAN_TOLERANCE * width + ROUNDING * (1 + largest)),
                "std": (std, STD_TOLERANCE * width + ROUNDING),
            }
        for key, expected in exact.items():
            _compare(f"{where}: {key}", self._stated[key], expected, 0, findings)
        for key, (expected, tolerance) in near.items():
            _compare(f"{where}: {key}", self._stated[key], expected, tolerance, findings)
        for key, (below, up_to) in self._ranks.items():
            rank = QUANTILES[key] * self.count
            for column in np.flatnonzero(~((below < rank) & (rank <= up_to))):
                findings.add(
                    f"{where}: {key}, column {column}, is {self._stated[key][column]}, with {below[column]} rows below "
                    f"and {up_to[column]} up to it; rank {rank:g} of {self.count} expected"
                )

    def _margin_of(self, stated: Mapping[str, np.ndarray]) -> np.ndarray:
        low, high = stated.get("min", np.zeros(1)), stated.get("max", np.zeros(1))
        return (high - low + PADDING) / BINS * (1 + 1e-6) + PADDING + ROUNDING * np.maximum(abs(low), abs(high))


class TotalStatistics:
    """The statistics of all episodes together, from those of each episode.

    Quantiles are means, weighted by the episodes' counts, as LeRobot computed them until 0.6.
    """

    def __init__(self) -> None:
        self._of: dict[str, list[dict[str, np.ndarray]]] = {}

    def add(self, stated: Mapping[str, Mapping[str, Any]]) -> None:
        for feature, numbers in stated.items():
            found = {key: np.asarray(value, np.float64) for key, value in numbers.items()}
            known = self._of.get(feature)
            self._of[feature] = _sums(found) if known is None else _added(known, _sums(found, known["shift"]))

    def check(self, name: str, stated: Mapping[str, Mapping[str, Any]], findings: Findings) -> None:
        findings.compare(f"{name}: the list of features", sorted(stated), sorted(self._of))
        for feature in sorted(stated.keys() & self._of.keys()):
            keys = [key for key, _, _ in _totals(self._of[feature])]
            findings.compare(f"{name}: {feature}: the list of statistics", sorted(stated[feature]), sorted(keys))
            for key, expected, tolerance in _totals(self._of[feature]):
                found = stated[feature].get(key)
                found = np.asarray(np.nan if found is None else found, np.float64)
                _compare(f"{name}: {feature}, {key}", found.ravel(), expected.ravel(), tolerance, findings)


def _sums(stated: dict[str, np.ndarray], shift: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return what can be added over episodes; the shift keeps the digits of a small deviation of large values."""
    count, shift = stated["count"], stated["mean"] if shift is None else shift
    mean = stated["mean"] - shift
    sums = {"count": count, "sum": count * mean, "squares": count * (stated["std"] ** 2 + mean**2), "shift": shift}
    quantiles = {key: count * stated[key] for key in QUANTILES if key in stated}
    return sums | quantiles | {"min": stated["min"], "max": stated["max"]}


def _added(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kept = {"shift": a["shift"], "min": np.minimum(a["min"], b["min"]), "max": np.maximum(a["max"], b["max"])}
    return {key: a[key] + b[key] for key in a if key not in kept} | kept


def _totals(sums: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the name of each statistic, its expected value, and by how much it may differ."""
    count, mean = sums["count"], sums["sum"] / sums["count"]
    largest = np.maximum(abs(sums["min"]), abs(sums["max"])).ravel()
    width = (sums["max"] - sums["min"]).ravel()
    for key in ("min", "max", "count"):
        yield key, sums[key], 0 * largest[:1]
    yield "mean", mean + sums["shift"], MEAN_TOLERANCE * width + ROUNDING * (1 + largest)
    std = np.sqrt(np.maximum(0, sums["squares"] / count - mean**2))
    yield "std", std, STD_TOLERANCE * width + ROUNDING
    for key in QUANTILES:
        if key in sums:
            yield key, sums[key] / count, MEAN_TOLERANCE * width + ROUNDING * largest + PADDING


def _compare(where: str, found: np.ndarray, expected: np.ndarray, tolerance: Any, findings: Findings) -> None:
    if found.shape != expected.shape:
        findings.add(f"{where} has {found.size} numbers; {expected.size} expected")
        return
    with np.errstate(invalid="ignore"):
        is_right = (abs(found - expected) <= tolerance) | (found == expected) | (np.isnan(found) & np.isnan(expected))
    for column in np.flatnonzero(~is_right):
        findings.add(f"{where}, column {column}, is {found[column]}; {expected[column]} expected")


def _flat(value: Any, width: int) -> np.ndarray:
    try:
        return np.asarray(value, np.float64).ravel()
    except (TypeError, ValueError):
        return np.full(width, np.nan)
