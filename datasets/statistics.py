"""Statistics of a dataset's numbers, as LeRobot's trainers read them: per episode, and over all episodes.

LeRobot estimates quantiles from a histogram of 5000 bins, and these functions do the same, in float64: an estimate is
within (max - min) / 5000 of the sample at that rank. Over several episodes the quantiles are means weighted by the
episodes' lengths, as of LeRobot 0.4 to 0.6: an estimate, not a quantile of all rows.
"""

from collections.abc import Mapping

import numpy as np

Statistics = dict[str, np.ndarray]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
BASIC = ("min", "max", "mean", "std", "count")
KEYS = (*BASIC, *QUANTILES)
BINS = 5000
# LeRobot widens the range by this much, so that the largest value is within the last bin.
PADDING = 1e-10


def statistics_of(values: np.ndarray) -> Statistics:
    """Return the statistics of each column of [rows] or [rows, n]: float64 [n] each, and `count` int64 [1]."""
    columns = values[:, np.newaxis] if values.ndim == 1 else values
    each = [_of_column(columns[:, number].astype(np.float64)) for number in range(columns.shape[1])]
    joined = {key: np.array([column[key] for column in each]) for key in KEYS if key != "count"}
    return _in_order(joined | {"count": np.array([len(values)])})


def _of_column(values: np.ndarray) -> dict[str, float]:
    low, high = values.min(), values.max()
    found = {"min": low, "max": high, "mean": values.mean(), "std": values.std()}
    return found | _quantiles(values, low - PADDING, high + PADDING)


def _quantiles(values: np.ndarray, low: float, high: float) -> dict[str, float]:
    """Return the quantiles of a column: the rank's bin, and a straight line within it."""
    # A large constant, such as an index: doubles are too far apart for so many bins within the padding.
    is_narrow = high - low <= BINS * np.spacing(max(abs(low), abs(high)))
    if len(values) < 2 or is_narrow:
        return dict.fromkeys(QUANTILES, values.mean())
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    ranks = np.cumsum(counts)
    return {key: _at_rank(share * len(values), ranks, edges) for key, share in QUANTILES.items()}


def _at_rank(rank: float, ranks: np.ndarray, edges: np.ndarray) -> float:
    number = int(np.searchsorted(ranks, rank))
    if number == 0:
        return edges[0]
    before = ranks[number - 1]
    return edges[number] + (rank - before) / (ranks[number] - before) * (edges[number + 1] - edges[number])


class Totals:
    """Statistics of the episodes of a dataset so far, by feature, without the rows."""

    def __init__(self) -> None:
        self._of: dict[str, Statistics] = {}

    def add(self, episode: Mapping[str, Statistics]) -> None:
        for key, found in episode.items():
            self._of[key] = combine(self._of[key], found) if key in self._of else found

    def to_json(self) -> dict[str, dict[str, list]]:
        return {key: to_lists(found) for key, found in self._of.items()}


def combine(a: Statistics, b: Statistics) -> Statistics:
    """Return the statistics of two parts together. Minimum, maximum, mean, std and count are those of all rows."""
    count = a["count"] + b["count"]
    share = {
        key: (a[key] * a["count"] + b[key] * b["count"]) / count for key in a if key not in ("min", "max", "count")
    }
    # The rows' variance is the parts' variance, and that of the parts' means.
    within = (a["std"] ** 2 * a["count"] + b["std"] ** 2 * b["count"]) / count
    between = a["count"] * b["count"] * (a["mean"] - b["mean"]) ** 2 / count**2
    return _in_order(
        share
        | {"min": np.minimum(a["min"], b["min"]), "max": np.maximum(a["max"], b["max"]), "count": count}
        | {"std": np.sqrt(within + between)}
    )


def to_lists(found: Statistics) -> dict[str, list]:
    return {key: np.asarray(value).tolist() for key, value in found.items()}


def _in_order(found: Statistics) -> Statistics:
    return {key: found[key] for key in KEYS if key in found}
