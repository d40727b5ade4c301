"""/health: the parts that are up or down, and a low cost of each request in all cases."""

import threading
import time
from types import SimpleNamespace

import pytest

from robots.tests.api_clients import Client
from teleop.monitoring import health
from teleop.monitoring.health import Probe, WriterWatch


@pytest.fixture
def parts(monkeypatch):
    """Replace the probes with fakes; return their questions, which a test can replace."""
    questions = {"database": lambda: None, "pool": lambda: None, "channel_layer": lambda: None}
    for name in questions:
        monkeypatch.setattr(health, name, Probe(lambda name=name: questions[name]()))
    return questions


def away():
    raise ConnectionError("postgresql://user:secret@10.0.0.1 refused")


def test_it_returns_200_if_all_parts_are_up(parts):
    answer = Client().get("/health")
    assert (answer.status_code, answer.json()["status"], answer.json()["detail"]) == (200, "ok", "")
    assert answer.json()["writer"] == {"status": "ok", "pending_frames": 0, "last_commit_s": None}
    assert answer["Cache-Control"].startswith("max-age=0") and answer.json()["version"]


def test_it_shows_the_writer_of_a_process_that_serves_robots(parts, monkeypatch):
    writer = SimpleNamespace(pending_frames=12, last_commit_at=time.monotonic() - 60)
    idle = SimpleNamespace(problem=lambda _stuck_after_s: None)
    worker = SimpleNamespace(writer=writer, frame_thread=idle, session_thread=idle)
    monkeypatch.setattr("teleop.ingest.worker._worker", worker)
    shown = Client().get("/health").json()["writer"]
    assert (shown["pending_frames"], shown["last_commit_s"]) == (12, pytest.approx(60, abs=1))


@pytest.mark.parametrize("part", ["database", "channel_layer"])
def test_it_names_the_failed_part_without_its_address(parts, part):
    parts[part] = away
    answer = Client().get("/health")
    assert (answer.status_code, answer.json()["detail"]) == (503, f"{part}: unreachable (ConnectionError)")
    assert answer.json()[part] == "unreachable (ConnectionError)" and "secret" not in str(answer.json())


def test_it_waits_one_second_in_total_and_only_once_for_hanging_parts(parts):
    thaw = threading.Event()
    parts["database"] = parts["channel_layer"] = thaw.wait
    took = []
    for _ in range(3):
        begin = time.monotonic()
        assert "database: no answer within 1 s; channel_layer: no answer" in Client().get("/health").json()["detail"]
        took.append(time.monotonic() - begin)
    thaw.set()
    assert took[0] < 1.5 and max(took[1:]) < 0.2


def test_it_returns_200_after_the_part_recovers(parts):
    thaw = threading.Event()
    parts["database"] = thaw.wait
    assert Client().get("/health").status_code == 503
    thaw.set()
    time.sleep(0.1)
    assert Client().get("/health").status_code == 200


def test_it_probes_once_for_many_requests(parts, monkeypatch):
    monkeypatch.setattr(health, "FRESH_S", 60)  # longer than twenty requests take on a busy machine
    asked = []
    parts["database"] = lambda: asked.append(1)
    for _ in range(20):
        Client().get("/health")
    assert len(asked) == 1


def test_it_probes_again_after_one_second(monkeypatch):
    asked = []
    probe = Probe(lambda: asked.append(1))
    for now in (10.0, 10.9, 11.1, 11.2):
        monkeypatch.setattr(health.time, "monotonic", lambda now=now: now)
        probe.start()
        probe._result.result(timeout=5)
    assert len(asked) == 2


@pytest.mark.parametrize("path", ["/health/live", "/health/live/", "/health", "/health/"])
def test_it_answers_with_and_without_a_trailing_slash(parts, path):
    assert Client().get(path).json()["status"] == "ok"
    assert Client().head(path).status_code == 200


def test_liveness_returns_ok_while_other_parts_are_down(parts):
    parts["database"] = parts["channel_layer"] = away
    assert Client().get("/health/live").json() == {"status": "ok"}


def test_it_probes_the_database_on_a_separate_connection(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        health.check_database()
    assert health.database_connection().connection is not None


@pytest.mark.redis
def test_it_probes_redis():
    health.check_channel_layer()


WRITER_STORIES = {
    "nothing waits": [(0, 0, None), (0, 0, 60)],
    "what waits is committed": [(5, 0, None), (5, 1, 9), (5, 2, 60)],
    "it begins to wait after an hour of nothing": [(5, 1, 0), (0, 1, 1), (5, 1, 3600), (5, 1, 3609)],
}


@pytest.mark.parametrize("story", WRITER_STORIES.values(), ids=WRITER_STORIES)
def test_it_reports_no_problem_for_a_working_writer(story):
    watch = WriterWatch()
    assert [watch.problem(pending, last_commit_at, now or 0) for pending, last_commit_at, now in story] == [None] * len(
        story
    )


def test_it_reports_frames_that_wait_too_long_for_a_commit():
    watch = WriterWatch()
    assert watch.problem(5, None, 100) is None
    assert watch.problem(7, None, 111) == "7 frames wait; no frame was committed for 11 s"


@pytest.mark.parametrize("part, thread", [("writer", "frame_thread"), ("sessions", "session_thread")])
def test_it_reports_a_stuck_thread_without_pending_frames(parts, monkeypatch, part, thread):
    idle = SimpleNamespace(problem=lambda _stuck_after_s: None)
    stuck = SimpleNamespace(problem=lambda stuck_after_s: f"stuck for more than {stuck_after_s} s")
    threads = {"frame_thread": idle, "session_thread": idle} | {thread: stuck}
    writer = SimpleNamespace(pending_frames=0, last_commit_at=None)
    monkeypatch.setattr("teleop.ingest.worker._worker", SimpleNamespace(writer=writer, **threads))
    answer = Client().get("/health")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith(f"{part}: stuck for more than")
