import pytest

from loadtest.generator.measure import bottleneck, distribution, percentile, quantiles
from loadtest.report.verdicts import level, problems, verdict
from loadtest.tests.rows import GOOD


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1, 100), (0.001, 1)], ids=lambda each: str(each)
)
def test_percentile_uses_the_nearest_rank(share, value):
    assert percentile(list(range(100, 0, -1)), share) == value


def test_percentiles_of_an_empty_list_are_none():
    assert percentile([], 0.5) is None
    assert quantiles([])["p95"] is None
    assert distribution([]) == []


def test_distribution_is_sorted_from_minimum_to_maximum():
    assert distribution([3, 1, 2], points=2) == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"acked": 89990}, ["10 of 90000 frames were not acknowledged"]),
        ({"stored": 89100}, ["900 of 90000 acknowledged frames are not stored"]),
        ({"stored": 90001}, ["1 more frames are stored than were sent"]),
        ({"acked": None, "stored": 89999}, ["1 of 90000 frames are not stored"]),
        ({"acked": None}, []),
        ({"stored": None}, ["the stored frames could not be counted"]),
        ({"sent": 0, "acked": 0, "stored": 0}, ["no frame was sent"]),
    ],
)
def test_it_detects_inconsistent_counts(changes, found):
    assert problems(GOOD | changes) == found


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "met"),
        ({"p95_ms": 60.0}, "close"),
        ({"p95_ms": 60.0, "database": "sqlite"}, "met"),
        ({"p95_ms": 150.0}, "missed"),
        ({"failures": 1}, "close"),
        ({"failures": 900}, "missed"),
        ({"rps": 2950.0}, "close"),
        ({"rps": 2800.0}, "missed"),
        ({"cpu": 60.0}, "close"),
        ({"cpu": 89.0, "robots": 100, "rps": 6000.0}, "met"),
        ({"memory_mb": 200.0}, "close"),
        ({"db_connections": 10}, "close"),
        ({"cpu": None, "memory_mb": None, "db_connections": None}, "met"),
    ],
)
def test_it_judges_a_run_by_its_target(changes, word):
    assert verdict(GOOD | changes, is_sound=True, bottleneck=None) == word


def test_inconsistent_counts_fail_a_run():
    assert verdict(GOOD, is_sound=False, bottleneck="it was busy") == "failed"


@pytest.mark.parametrize(
    ("cpu", "slip_ms", "others", "is_slow"),
    [(0.9, 16, 0.25, False), (0.91, 1, 0, True), (0.2, 17, 0, True), (0.2, 1, 0.26, True)],
)
def test_an_overloaded_generator_or_machine_gives_no_verdict(cpu, slip_ms, others, is_slow):
    slow = bottleneck(cpu, slip_ms, others)
    assert bool(slow) == is_slow
    assert verdict(GOOD, is_sound=True, bottleneck=slow) == ("no verdict" if is_slow else "met")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "stable"),
        ({"cpu": 80.0}, "limit"),
        ({"p95_ms": 100.0}, "limit"),
        ({"p95_ms": 150.0}, "broken"),
        ({"verdict": "failed"}, "broken"),
        ({"verdict": "no verdict"}, "no verdict"),
    ],
)
def test_it_classifies_a_run_as_stable_limit_or_broken(changes, found):
    assert level(GOOD | changes) == found
