"""Connected robots, the holders of their sessions, and the fields of a session that has ended."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from robots.models import Robot
from robots.querysets import HandshakeRefused
from teleop.ingest import admission, presence
from teleop.ingest.types import Handshake, Release, SessionLease
from teleop.models import TeleopSession
from teleop.tests.session_leases import (
    T0,
    beats,
    claims,
    falls_silent,
    heartbeat_of,
    opens,
    release_all,
    releases,
    stores,
    sweeps,
)
from tests.robot_socket import KEY, register

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _anyone_may_connect(settings):
    settings.ROBOT_AUTH = "open"


def session(opened: SessionLease) -> TeleopSession:
    return TeleopSession.objects.get(pk=opened.session_id)


def robot(pk="arm") -> Robot:
    return Robot.objects.get(pk=pk)


def test_it_creates_a_live_session_for_a_connection():
    opened = opens()
    made = session(opened)
    assert (made.robot_id, made.key, made.is_live, made.fps, made.frame_count) == ("arm", "morning-run", True, 60, 0)
    assert (opened.next_frame_index, opened.frame_count) == (0, 0)


def test_it_sets_the_robot_online_on_connect():
    opens()
    assert (robot().status, robot().ip_address) == ("online", "10.0.0.7")
    assert abs(robot().last_heartbeat - robot().created_at) < timedelta(seconds=10)


def test_it_creates_no_session_for_a_refused_handshake(settings):
    settings.ROBOT_AUTH = "key"
    assert isinstance(claims(), HandshakeRefused)
    assert not TeleopSession.objects.exists()


def test_the_same_key_resumes_the_session():
    stores(opens(), 0, 1, 5)
    again = opens("worker.2")
    assert TeleopSession.objects.count() == 1
    assert again.next_frame_index == 6


def test_it_creates_a_session_for_each_robot_and_key():
    made = {opens(key="morning-run").session_id, opens(key="evening-run").session_id, opens(robot="leg").session_id}
    assert len(made) == 3


def test_a_resumed_session_is_live_again():
    first = opens()
    releases(first)
    assert not session(first).is_live
    opens("worker.2")
    assert session(first).is_live


def test_it_returns_the_previous_holder_of_a_taken_session():
    opens("worker.1")
    claim = claims("worker.2")
    assert (claim.previous, claim.was_live, claim.is_new) == ("worker.1", True, False)
    assert TeleopSession.objects.get().holder == "worker.2"


def test_it_returns_no_previous_holder_of_a_released_session():
    releases(opens("worker.1"))
    claim = claims("worker.2")
    assert (claim.previous, claim.was_live) == ("", False)


def test_it_returns_a_session_to_its_previous_holder():
    lease = opens("worker.1")
    admission.release([claims("worker.2")])
    assert (session(lease).holder, session(lease).is_live) == ("worker.1", True)


def test_it_ends_a_returned_session_without_a_previous_holder():
    admission.release([claims()])
    assert not TeleopSession.objects.get().is_live


def test_it_does_not_return_a_session_taken_by_another_handshake():
    claim = claims("worker.1")
    taken = opens("worker.2")
    assert admission.release([claim]) == [False]
    assert (session(taken).holder, session(taken).is_live) == ("worker.2", True)


def test_it_stores_frame_count_and_times_when_a_session_ends():
    opened = opens()
    stores(opened, 3, 4, 9)
    assert releases(opened) == 3
    ended = session(opened)
    assert (ended.frame_count, ended.start_time, ended.end_time) == (
        *(3, T0 + timedelta(seconds=3), T0 + timedelta(seconds=9)),
    )


def test_it_ends_a_session_at_its_extreme_times_after_a_clock_step():
    opened = opens()
    stores(opened, 0, 1, 2, times=[0, 1, -7200])
    before, after = (T0.timestamp() + seconds for seconds in (1, -7200))
    step = {"frame_index": 2, "before": before, "timestamp": after, "step_s": -7201 - 1 / 60}
    assert releases(opened, clock_steps=[step]) == 3
    ended = session(opened)
    assert (ended.start_time, ended.end_time) == (T0 - timedelta(seconds=7200), T0 + timedelta(seconds=1))
    assert (ended.clock_steps, ended.duration_s) == ([step], pytest.approx(1 + 1 / 60, abs=1e-5))


def test_a_resumed_session_has_the_last_stored_frame():
    opened = opens()
    assert (opened.last_frame, opened.next_frame_index) == (None, 0)
    stores(opened, 3)
    releases(opened, fps=30)
    again = opens("worker.2")
    assert (again.last_frame, again.fps) == ((3, int(T0.timestamp() + 3) * 10**6), 30)


def test_it_ends_a_session_without_frames_at_its_start_time():
    opened = opens()
    assert releases(opened) == 0
    assert session(opened).end_time == session(opened).start_time


def test_it_sets_a_robot_offline_on_release():
    releases(opens())
    assert robot().status == "offline"


def test_it_sets_status_error_and_stores_the_error_on_a_failed_release():
    releases(opens(), failed=True, error=("invalid_message", "message is not valid JSON"))
    assert (robot().status, robot().last_error_code) == ("error", "invalid_message")
    assert (robot().last_error_detail, robot().last_error_at is not None) == ("message is not valid JSON", True)


def test_a_robot_with_another_live_session_stays_online():
    opens(key="morning-run")
    releases(opens("worker.2", key="evening-run"), failed=True)
    assert robot().status == "online"


def test_it_ignores_a_release_by_a_replaced_holder():
    old = opens("worker.1")
    opens("worker.2")
    releases(old, meta_info={"task": "old"})
    assert session(old).is_live
    assert (session(old).holder, session(old).meta_info, robot().status) == ("worker.2", None, "online")


def test_it_counts_rows_stored_by_an_old_holder_after_the_end():
    old = opens("worker.1")
    stores(old, 0)
    releases(opens("worker.2"))
    stores(old, 1, 2)
    assert session(old).frame_count == 1
    releases(old)
    assert (session(old).frame_count, session(old).end_time) == (3, T0 + timedelta(seconds=2))


def test_it_returns_zero_frames_when_releasing_a_deleted_session():
    old = opens("worker.1")
    releases(opens("worker.2"))
    session(old).delete()
    assert releases(old, meta_info={"task": "fold"}) == 0


def test_it_releases_50_sessions_with_as_many_statements_as_one():
    leases = [opens(f"worker.{number}", robot=f"arm-{number}") for number in range(51)]
    counts = []
    for group in (leases[:1], leases[1:]):
        with CaptureQueriesContext(connection) as statements:
            release_all(*(Release(heartbeat_of(lease), False) for lease in group))
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert not TeleopSession.objects.live().exists()


def test_a_handshake_that_must_not_take_over_leaves_a_held_session():
    opened = opens("worker.1")
    refusal = claims("worker.2", takes_over=False)
    assert (refusal.status, refusal.code) == (409, "session_held")
    assert (session(opened).holder, session(opened).is_live) == ("worker.1", True)
    assert claims("worker.3").previous == "worker.1"


def test_a_handshake_that_must_not_take_over_gets_a_session_that_no_living_worker_has():
    assert claims("worker.1", takes_over=False).is_new
    falls_silent(opened := opens("worker.2"))
    assert claims("worker.3", takes_over=False).previous == "worker.2"
    releases(opened._replace(holder="worker.3"))
    assert claims("worker.4", takes_over=False).lease.session_id == opened.session_id
    assert (session(opened).holder, session(opened).is_live) == ("worker.4", True)


def test_a_refused_handshake_leaves_the_others_of_its_group_alone():
    opens("worker.1", robot="arm")
    opens("worker.2", robot="leg")
    pairs = [("arm", False), ("leg", True), ("new", False)]
    group = [Handshake(robot, None, "morning-run", f"worker.{robot}", None, takes_over) for robot, takes_over in pairs]
    refusal, taken, new = admission.claim(group, [""] * 3)
    assert (refusal.code, taken.previous, new.is_new) == ("session_held", "worker.2", True)


def test_it_opens_50_sessions_with_as_many_statements_as_one(settings):
    settings.ROBOT_AUTH = "key"
    register(*(f"arm-{number}" for number in range(51)))
    counts = []
    for numbers in (range(1), range(1, 51)):
        handshakes = [Handshake(f"arm-{number}", KEY, "morning-run", f"worker.{number}", None) for number in numbers]
        with CaptureQueriesContext(connection) as statements:
            claimed = admission.claim(handshakes, admission.authenticate(handshakes))
            admission.last_frames([claim.lease.session_id for claim in claimed])
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert TeleopSession.objects.live().count() == 51


def test_it_stores_fps_and_meta_info_on_release():
    opened = opens()
    releases(opened, fps=30, meta_info={"task": "fold", "success": True})
    assert (session(opened).fps, session(opened).meta_info) == (30, {"task": "fold", "success": True})


def test_the_sweep_ends_sessions_of_a_killed_worker():
    opened = opens()
    stores(opened, 0, 1)
    falls_silent(opened)
    assert sweeps() == 1
    assert (session(opened).frame_count, session(opened).end_time) == (2, T0 + timedelta(seconds=1))
    assert robot().status == "offline"


def test_the_sweep_keeps_a_session_with_a_recent_heartbeat():
    opened = opens()
    falls_silent(opened)
    beats(opened)
    assert sweeps() == 0
    assert (session(opened).is_live, robot().status) == (True, "online")


def test_the_sweep_ignores_ended_sessions():
    opened = opens()
    releases(opened)
    falls_silent(opened)
    assert sweeps() == 0


def test_a_heartbeat_reopens_a_session_that_the_sweep_ended():
    opened = opens()
    falls_silent(opened)
    sweeps()
    assert beats(opened).saved == {opened.holder}
    assert (session(opened).is_live, robot().status) == (True, "online")


def test_it_stores_a_refused_handshake_as_the_robots_last_error():
    opens()
    presence.note_refusals({"arm": HandshakeRefused("wrong_key", "the key is not valid for this robot")})
    assert (robot().last_error_code, robot().last_error_detail) == ("wrong_key", "the key is not valid for this robot")


def test_it_creates_no_robot_for_a_refused_handshake():
    presence.note_refusals({"stranger": HandshakeRefused("unknown_robot", "robot stranger is not registered")})
    assert not Robot.objects.exists()
