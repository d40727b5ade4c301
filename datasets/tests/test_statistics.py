import json

import numpy as np
import pytest

from datasets.statistics import KEYS, QUANTILES, Totals, combine, statistics_of, to_lists
from datasets.tests.lerobot_samples import V3, lerobot_episodes

# LeRobot computes in float32, as a difference of squares: its standard deviation is off by 2.1e-6 of itself.
LEROBOT = {"rel": 3e-6, "abs": 1e-6}


@pytest.mark.parametrize("key", KEYS)
def test_it_matches_the_statistics_that_lerobot_wrote_for_each_episode(key):
    for episode, values in lerobot_episodes():
        for feature in ("observation.state", "action"):
            expected = episode[f"stats/{feature}/{key}"]
            assert statistics_of(values[feature])[key] == pytest.approx(np.array(expected), **LEROBOT)


@pytest.mark.parametrize("key", KEYS)
def test_it_matches_the_statistics_that_lerobot_wrote_for_the_whole_set(key):
    totals = Totals()
    for _, values in lerobot_episodes():
        totals.add({"action": statistics_of(values["action"])})

    expected = json.loads((V3 / "meta/stats.json").read_text())["action"][key]

    assert totals.to_json()["action"][key] == pytest.approx(expected, **LEROBOT)


def test_it_finds_quantiles_within_one_bin_of_the_sample_at_that_rank():
    values = np.random.default_rng(1).normal(0, 40, 20_000)

    found = statistics_of(values)

    width = (values.max() - values.min()) / 5000
    for key, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        assert found[key][0] == pytest.approx(np.quantile(values, share), abs=2 * width)


@pytest.mark.parametrize("constant", [0.0, 0.5, -7.25, 1e9])
def test_it_gives_the_constant_for_all_quantiles_of_a_constant(constant):
    found = statistics_of(np.full(100, constant, np.float32))

    assert [found[key][0] for key in KEYS if key.startswith("q")] == pytest.approx([constant] * 5, abs=1e-9)
    assert found["std"][0] == 0


def test_it_keeps_the_deviation_of_small_movements_far_from_zero():
    values = (100_000 + np.arange(100) % 2 / 64).astype(np.float32)

    assert statistics_of(values)["std"][0] == pytest.approx(1 / 128)


def test_it_counts_rows_and_not_values():
    assert statistics_of(np.zeros((7, 3)))["count"].tolist() == [7]


def test_it_gives_a_column_to_a_bool():
    assert statistics_of(np.array([True, False, False, False]))["mean"].tolist() == [0.25]


def test_it_takes_a_single_row():
    assert to_lists(statistics_of(np.array([[2.0, 3.0]])))["q99"] == [2, 3]


def test_it_combines_two_parts_into_the_statistics_of_all_rows():
    rows = np.random.default_rng(2).normal(5, 2, (300, 2))

    both = combine(statistics_of(rows[:100]), statistics_of(rows[100:]))

    whole = statistics_of(rows)
    for key in ("min", "max", "mean", "std", "count"):
        assert both[key] == pytest.approx(whole[key])


def test_it_combines_statistics_of_pictures_in_their_shape():
    picture = {key: np.full((3, 1, 1), 0.5) for key in KEYS} | {"count": np.array([90])}

    assert combine(picture, picture)["std"].shape == (3, 1, 1)


@pytest.mark.parametrize("constant", [0, 3, 555, 1e6, -1e12])
def test_the_quantiles_of_a_constant_are_the_constant(constant: float):
    found = statistics_of(np.full(1800, constant))
    assert [found[key].item() for key in QUANTILES] == pytest.approx([constant] * 5, abs=1e-9)
