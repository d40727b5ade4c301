"""Statistics are recomputed: those of numbers exactly, those of quantiles by their ranks."""

import numpy as np
import pytest

from datasets.films.picture_stats import sampled_rows
from datasets.statistics import statistics_of, to_lists
from datasets.verification.findings import Findings, VerificationFailed
from datasets.verification.picture_statistics import is_sampled
from datasets.verification.statistics import BASIC, QUANTILES, ColumnStatistics

KEYS = (*BASIC, *QUANTILES)


def check(values, stated, pieces=1) -> None:
    """Raise VerificationFailed if the stated statistics are not those of the values."""
    findings, table = Findings(), np.asarray(values)[:, None]
    statistics = ColumnStatistics(1, stated)
    for piece in np.array_split(table, pieces):
        statistics.add(piece)
    statistics.check("action", KEYS, findings)
    findings.conclude()


def stated_of(values) -> dict[str, list]:
    return to_lists(statistics_of(np.asarray(values)))


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).normal(0, 30, 20_000).astype(np.float32),
        np.arange(1000),
        np.round(np.random.default_rng(2).normal(0, 30, 1000)),
        np.full(100, 1e6 + 0.1, np.float32),
        np.array([5.0, 5.0]),
        np.arange(1000) / 30,
        np.random.default_rng(3).random(1000) < 0.01,
        1e7 + np.random.default_rng(4).random(1000),
        np.array([1e30, -1e30, 3], np.float32),
    ],
    ids=["normal", "index", "ticks", "constant", "two", "timestamp", "bool", "large", "extreme"],
)
@pytest.mark.parametrize("pieces", [1, 2])
def test_it_accepts_right_statistics(values, pieces):
    check(values, stated_of(values), pieces)


@pytest.mark.parametrize("key", KEYS)
def test_it_finds_each_wrong_statistic(key):
    values = np.random.default_rng(1).normal(0, 30, 10_000).astype(np.float32)
    stated = stated_of(values)
    stated[key][0] += 1 if key == "count" else 0.4 if key in QUANTILES else 1e-3
    with pytest.raises(VerificationFailed, match=f"^action: {key}, column 0, is "):
        check(values, stated)


def test_it_finds_statistics_that_are_no_numbers():
    with pytest.raises(VerificationFailed, match="action: mean, column 0, is nan"):
        check([1.0, 2.0], stated_of([1.0, 2.0]) | {"mean": ["x"]})


def test_it_finds_statistics_of_another_width():
    with pytest.raises(VerificationFailed, match="action: min has 2 numbers; 1 expected"):
        check([1.0, 2.0], stated_of([1.0, 2.0]) | {"min": [1.0, 2.0]})


def test_it_counts_the_pictures_that_lerobot_counts():
    for length in range(1, 3000):
        assert np.flatnonzero(is_sampled(length)).tolist() == sorted({*sampled_rows(length).tolist()})
