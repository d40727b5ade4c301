"""A row that another client has locked delays only its own robot (PostgreSQL)."""

from contextlib import closing, contextmanager

import pytest
from django.db import connections

from robots.models import Robot
from teleop.ingest import admission, presence
from teleop.ingest.types import Handshake, Release
from teleop.models import TeleopSession
from teleop.tests.session_leases import (
    T0,
    claims,
    falls_silent,
    heartbeat_of,
    opens,
    release_all,
    releases,
    stores,
    sweeps,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


@pytest.fixture(autouse=True)
def _anyone_may_connect(settings):
    settings.ROBOT_AUTH = "open"


@pytest.fixture
def arm():
    return opens("worker.1", robot="arm")


@pytest.fixture
def leg():
    return opens("worker.2", robot="leg")


@contextmanager
def locked(statement, parameter):
    """Run this statement as another client that does not commit."""
    with closing(connections["default"].copy()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(statement, [parameter])
        yield
        cursor.execute("ROLLBACK")


def session_locked(lease, how="SELECT 1 FROM teleop_teleopsession WHERE id = %s FOR NO KEY UPDATE"):
    return locked(how, lease.session_id)


def robot_locked(robot_id):
    return locked("UPDATE robots_robot SET name = 'x' WHERE id = %s", robot_id)


def session(lease):
    return TeleopSession.objects.get(pk=lease.session_id)


def test_a_heartbeat_skips_a_locked_session(arm, leg):
    beats = [heartbeat_of(arm, frame_count=7), heartbeat_of(leg, frame_count=8, meta_info={"task": "fold"})]
    with session_locked(arm):
        found = presence.heartbeat(beats)
    assert (found.saved, found.lost) == ({leg.holder}, set())
    assert (session(arm).frame_count, session(leg).frame_count) == (0, 8)
    assert presence.heartbeat(beats).saved == {arm.holder, leg.holder}


def test_a_heartbeat_skips_a_locked_robot(arm, leg):
    Robot.objects.update(last_heartbeat=T0)
    with robot_locked("arm"):
        found = presence.heartbeat([heartbeat_of(arm, frame_count=7), heartbeat_of(leg, frame_count=8)])
    assert found.saved == {arm.holder, leg.holder}
    assert Robot.objects.get(pk="arm").last_heartbeat == T0
    assert Robot.objects.get(pk="leg").last_heartbeat > T0


def test_a_heartbeat_finds_a_lost_session_beside_a_locked_one(arm, leg):
    opens("worker.3", robot="leg")
    with session_locked(arm):
        found = presence.heartbeat([heartbeat_of(arm), heartbeat_of(leg)])
    assert (found.saved, found.lost) == (set(), {leg.holder})


@pytest.mark.parametrize("how", ["SELECT 1 FROM {} WHERE id = %s FOR UPDATE", "DELETE FROM {} WHERE id = %s"])
def test_a_locked_session_delays_only_its_own_handshake(arm, how):
    handshakes = [Handshake(robot, None, "morning-run", f"worker.9{robot}", None) for robot in ("arm", "leg")]
    with session_locked(arm, how.format("teleop_teleopsession")):
        blocked, opened = admission.claim(handshakes, ["", ""])
    assert blocked is None
    assert session(opened.lease).holder == "worker.9leg"
    assert session(arm).holder == "worker.1"


def test_a_handshake_does_not_wait_for_a_locked_robot(arm):
    with robot_locked("arm"):
        assert claims("worker.2").previous == "worker.1"
        assert claims("worker.3", key="another-session").is_new


def test_a_release_skips_a_locked_session(arm, leg):
    stores(leg, 0, 1)
    with session_locked(arm):
        counts = release_all(Release(heartbeat_of(arm), False), Release(heartbeat_of(leg), False))
    assert counts == [None, 2]
    assert (session(arm).is_live, session(leg).is_live) == (True, False)
    assert releases(arm) == 0


def test_the_sweep_skips_a_locked_session(arm, leg):
    falls_silent(arm, leg)
    with session_locked(arm):
        assert sweeps() == 1
    assert (session(arm).is_live, session(leg).is_live) == (True, False)
    assert sweeps() == 1


def test_it_gives_back_a_session_once_it_is_unlocked(arm):
    claim = claims("worker.2")
    with session_locked(arm):
        assert admission.release([claim]) == [None]
    assert admission.release([claim]) == [True]
    assert session(arm).holder == "worker.1"
