import pytest

from loadtest.report.cost import lines
from loadtest.run.plan import Run
from loadtest.search import search
from loadtest.sweep import runs
from loadtest.tests.rows import GOOD


def server(stable: int, limit: int, generator: int = 10_000):
    """Return the levels of a server that is stable up to `stable` robots and at the limit up to `limit` robots."""
    asked = []

    def level(robots: int) -> str:
        asked.append(robots)
        if robots > generator:
            return "no verdict"
        return "stable" if robots <= stable else "limit" if robots <= limit else "broken"

    level.asked = asked
    return level


@pytest.mark.parametrize(("stable", "limit"), [(130, 170), (10, 20), (333, 334), (5, 7), (200, 200), (49, 799)])
def test_it_finds_both_limits_to_within_one_step(stable, limit):
    level = server(stable, limit)
    found = search(level, first=50, most=800, step=10)
    assert (found.stable or 0) == stable // 10 * 10
    assert max(found.stable or 0, found.limit or 0) == limit // 10 * 10
    assert found.broken == limit // 10 * 10 + 10
    assert len(level.asked) == len(set(level.asked)) <= 14


def test_it_reports_a_search_bounded_by_the_generator():
    found = search(server(500, 600, generator=140), first=50, most=800, step=10)
    assert (found.stable, found.broken) == (140, None)
    assert found.bounded_by == "the generator, from 150 robots"


def test_it_reports_a_search_that_reached_its_maximum():
    found = search(server(5000, 5000), first=50, most=800, step=10)
    assert (found.stable, found.bounded_by) == (800, "the search, at 800 robots")


def test_it_sweeps_one_setting_at_a_time_at_the_highest_robot_count():
    variants = runs([Run("sqlite", 10), Run("sqlite", 50), Run("postgres", 30)])
    assert {(each.database, each.robots) for each in variants} == {("sqlite", 50), ("postgres", 30)}
    assert all(bool(each.settings) != (each.workers > 1) for each in variants)


def test_it_scales_costs_from_the_largest_run_that_met_its_target():
    prices = {
        "surplus_per_vcpu_hour": 0.05,
        "machines": [{"name": "m", "vcpus": 1, "memory_mb": 1024, "per_hour": 0.01, "sustained_share": 0.1}],
    }
    rows = [GOOD | {"robots": 10}, GOOD | {"robots": 50, "cpu": 40.0}, GOOD | {"robots": 100, "verdict": "missed"}]
    # 50 robots take 40 % of a core: at 80 % there are 100, and at a tenth of that 10.
    (line,) = lines(rows, 1.0, prices)
    assert line[3:] == ["10", "0.73", "100", "0.07", "100", "0.40"]
    assert lines([GOOD | {"memory_mb": 900.0}], 1.0, prices)[0][3] == "0"
