"""Who is here, whose session it is, and what a session says when it has ended."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from robots.models import Robot
from robots.querysets import HandshakeRefused
from teleop.ingest import admission, presence
from teleop.ingest.types import Handshake, Release, SessionLease
from teleop.models import TeleopSession
from teleop.tests.stays import (
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
from tests.wire import KEY, register

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _anyone_may_connect(settings):
    settings.ROBOT_AUTH = "open"


def session(opened: SessionLease) -> TeleopSession:
    return TeleopSession.objects.get(pk=opened.session_id)


def robot(pk="arm") -> Robot:
    return Robot.objects.get(pk=pk)


def test_a_connection_makes_a_live_session():
    opened = opens()
    made = session(opened)
    assert (made.robot_id, made.key, made.is_live, made.fps, made.frame_count) == ("arm", "morning-run", True, 60, 0)
    assert (opened.next_frame_index, opened.frame_count) == (0, 0)


def test_a_connection_puts_its_robot_online():
    opens()
    assert (robot().status, robot().ip_address) == ("online", "10.0.0.7")
    assert abs(robot().last_heartbeat - robot().created_at) < timedelta(seconds=10)


def test_a_robot_that_may_not_connect_gets_no_session(settings):
    settings.ROBOT_AUTH = "key"
    assert isinstance(claims(), HandshakeRefused)
    assert not TeleopSession.objects.exists()


def test_the_same_key_resumes_the_session():
    stores(opens(), 0, 1, 5)
    again = opens("worker.2")
    assert TeleopSession.objects.count() == 1
    assert again.next_frame_index == 6


def test_another_key_or_robot_makes_another_session():
    made = {opens(key="morning-run").session_id, opens(key="evening-run").session_id, opens(robot="leg").session_id}
    assert len(made) == 3


def test_a_resumed_session_is_live_again():
    first = opens()
    releases(first)
    assert not session(first).is_live
    opens("worker.2")
    assert session(first).is_live


def test_it_returns_the_holder_from_whom_a_session_was_taken():
    opens("worker.1")
    claim = claims("worker.2")
    assert (claim.previous, claim.was_live, claim.is_new) == ("worker.1", True, False)
    assert TeleopSession.objects.get().holder == "worker.2"


def test_it_returns_no_previous_holder_of_a_released_session():
    releases(opens("worker.1"))
    claim = claims("worker.2")
    assert (claim.previous, claim.was_live) == ("", False)


def test_it_gives_a_session_back_to_its_holder():
    lease = opens("worker.1")
    admission.give_back([claims("worker.2")])
    assert (session(lease).holder, session(lease).is_live) == ("worker.1", True)


def test_it_ends_a_session_that_is_given_back_and_had_no_holder():
    admission.give_back([claims()])
    assert not TeleopSession.objects.get().is_live


def test_it_gives_nothing_back_that_another_handshake_has_taken():
    claim = claims("worker.1")
    taken = opens("worker.2")
    assert admission.give_back([claim]) == [False]
    assert (session(taken).holder, session(taken).is_live) == ("worker.2", True)


def test_a_session_that_ends_says_what_its_frames_say():
    opened = opens()
    stores(opened, 3, 4, 9)
    assert releases(opened) == 3
    ended = session(opened)
    assert (ended.frame_count, ended.start_time, ended.end_time) == (
        *(3, T0 + timedelta(seconds=3), T0 + timedelta(seconds=9)),
    )


def test_a_session_without_frames_ends_when_it_began():
    opened = opens()
    assert releases(opened) == 0
    assert session(opened).end_time == session(opened).start_time


def test_a_robot_that_has_gone_is_offline():
    releases(opens())
    assert robot().status == "offline"


def test_a_robot_that_was_closed_for_its_own_fault_is_in_error():
    releases(opens(), failed=True, error=("invalid_message", "message is not JSON"))
    assert (robot().status, robot().last_error_code) == ("error", "invalid_message")
    assert (robot().last_error_detail, robot().last_error_at is not None) == ("message is not JSON", True)


def test_a_robot_with_another_session_live_stays_online():
    opens(key="morning-run")
    releases(opens("worker.2", key="evening-run"), failed=True)
    assert robot().status == "online"


def test_a_holder_that_was_replaced_ends_nothing():
    old = opens("worker.1")
    opens("worker.2")
    releases(old, meta_info={"task": "old"})
    assert session(old).is_live
    assert (session(old).holder, session(old).meta_info, robot().status) == ("worker.2", None, "online")


def test_rows_of_an_old_holder_that_come_after_the_end_are_counted():
    old = opens("worker.1")
    stores(old, 0)
    releases(opens("worker.2"))
    stores(old, 1, 2)
    assert session(old).frame_count == 1
    releases(old)
    assert (session(old).frame_count, session(old).end_time) == (3, T0 + timedelta(seconds=2))


def test_a_session_that_was_deleted_meanwhile_has_no_frames():
    old = opens("worker.1")
    releases(opens("worker.2"))
    session(old).delete()
    assert releases(old, meta_info={"task": "fold"}) == 0


def test_it_releases_fifty_sessions_with_the_statements_of_one():
    leases = [opens(f"worker.{number}", robot=f"arm-{number}") for number in range(51)]
    counts = []
    for group in (leases[:1], leases[1:]):
        with CaptureQueriesContext(connection) as statements:
            release_all(*(Release(heartbeat_of(lease), False) for lease in group))
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert not TeleopSession.objects.live().exists()


def test_it_opens_fifty_sessions_with_the_statements_of_one(settings):
    settings.ROBOT_AUTH = "key"
    register(*(f"arm-{number}" for number in range(51)))
    counts = []
    for numbers in (range(1), range(1, 51)):
        handshakes = [Handshake(f"arm-{number}", KEY, "morning-run", f"worker.{number}", None) for number in numbers]
        with CaptureQueriesContext(connection) as statements:
            claimed = admission.claim(handshakes, admission.authenticate(handshakes))
            admission.next_frame_indexes([claim.lease.session_id for claim in claimed])
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert TeleopSession.objects.live().count() == 51


def test_a_release_writes_what_the_last_beat_had_not():
    opened = opens()
    releases(opened, fps=30, meta_info={"task": "fold", "success": True})
    assert (session(opened).fps, session(opened).meta_info) == (30, {"task": "fold", "success": True})


def test_the_sweep_ends_what_a_killed_worker_left():
    opened = opens()
    stores(opened, 0, 1)
    falls_silent(opened)
    assert sweeps() == 1
    assert (session(opened).frame_count, session(opened).end_time) == (2, T0 + timedelta(seconds=1))
    assert robot().status == "offline"


def test_the_sweep_leaves_who_was_heard_of():
    opened = opens()
    falls_silent(opened)
    beats(opened)
    assert sweeps() == 0
    assert (session(opened).is_live, robot().status) == (True, "online")


def test_the_sweep_leaves_ended_sessions_alone():
    opened = opens()
    releases(opened)
    falls_silent(opened)
    assert sweeps() == 0


def test_a_holder_that_is_alive_after_all_reopens_its_session():
    opened = opens()
    falls_silent(opened)
    sweeps()
    assert beats(opened).saved == {opened.holder}
    assert (session(opened).is_live, robot().status) == (True, "online")


def test_a_refused_handshake_is_kept_with_the_robot():
    opens()
    presence.note_refusals({"arm": HandshakeRefused("wrong_key", "the key is not this robot's")})
    assert (robot().last_error_code, robot().last_error_detail) == ("wrong_key", "the key is not this robot's")


def test_a_refused_handshake_of_an_unknown_robot_registers_none():
    presence.note_refusals({"stranger": HandshakeRefused("unknown_robot", "robot stranger is not registered")})
    assert not Robot.objects.exists()
