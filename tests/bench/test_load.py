import time

import pytest

from tests.bench import __main__ as bench
from tests.bench.load import figures
from tests.bench.robot import Robot
from tests.bench.serving import HERE

pytestmark = pytest.mark.once


@pytest.fixture
def robot():
    """Return a robot that sent frame 0 five seconds ago and frame 1 one second ago."""
    robot = Robot("arm")
    now = time.perf_counter()
    robot.pending = {0: now - 5, 1: now - 1}
    robot.sent = 2
    return robot


def test_it_counts_a_frame_without_ack_with_its_age(robot):
    assert 5000 <= figures([robot])["max_ms"] < 60_000


def test_it_counts_an_ack_for_all_earlier_frames(robot):
    robot.receive({"type": "ack", "frame_index": 1})
    result = figures([robot])
    assert (result["sent"], result["acked"]) == (2, 2)
    assert 1000 <= result["p50_ms"] <= result["max_ms"] < 60_000


def test_it_ignores_frames_sent_before_the_window(robot):
    assert figures([robot], since=time.perf_counter() - 3)["max_ms"] < 5000


def test_it_runs_the_baseline_before_a_case_that_is_compared_with_it():
    assert bench.chosen(["start"]) == ["baseline", "start"]
    assert bench.chosen(["connect"]) == ["accept-and-greet", "connect"]


def test_it_has_a_program_for_each_kind_of_server():
    kinds = {benchmark.case.kind for benchmark in bench.BENCHMARKS.values()} - {"serve"}
    assert all((HERE / f"{kind}.py").exists() for kind in kinds)
