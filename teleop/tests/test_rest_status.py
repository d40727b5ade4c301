"""/robots/{id}/status: the robot's connection, its clock offset and its recordings."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot():
    return Robot.objects.create(pk="robot_A")


def streams(robot, ahead_s=0.0, frames=10, fps=60):
    session = TeleopSession.objects.create(robot=robot, key="live-session", frame_count=7)
    newest = datetime.now(UTC) + timedelta(seconds=ahead_s)
    TeleopFrame.objects.bulk_create(
        TeleopFrame(
            session=session,
            robot=robot,
            frame_index=index,
            timestamp=newest - timedelta(seconds=(frames - 1 - index) / fps),
            data={},
        )
        for index in range(frames)
    )
    return session


def status(client):
    return client.get("/robots/robot_A/status").json()


def test_it_shows_a_robot_that_never_connected(viewer, robot):
    assert status(viewer) == {
        "status": "offline",
        "last_heartbeat": None,
        "clock_skew_s": None,
        "last_error": None,
        "live_session": None,
        "last_sessions": [],
    }


def test_it_shows_rate_and_lag_of_a_live_session(viewer, robot):
    session = streams(robot, ahead_s=-2)
    live = status(viewer)["live_session"]
    assert (live["id"], live["key"], live["frame_count"]) == (session.pk, "live-session", 7)
    assert live["rate_hz"] == pytest.approx(60, rel=0.01)
    assert live["lag_s"] == pytest.approx(2, abs=1)


@pytest.mark.parametrize("ahead_s", [-60, 60])
def test_it_shows_the_clock_skew(viewer, robot, ahead_s):
    streams(robot, ahead_s)
    shown = status(viewer)
    assert shown["clock_skew_s"] == pytest.approx(ahead_s, abs=1)
    assert shown["live_session"]["lag_s"] == pytest.approx(max(0, -ahead_s), abs=1)


@pytest.mark.parametrize("frames, rate", [(0, None), (1, None)])
def test_it_shows_no_rate_for_too_few_frames(viewer, robot, frames, rate):
    streams(robot, frames=frames)
    assert status(viewer)["live_session"]["rate_hz"] is rate


def test_it_computes_the_rate_from_the_newest_frames(viewer, robot):
    session = streams(robot, frames=310)
    TeleopFrame.objects.filter(session=session, frame_index=0).update(timestamp=Now() - timedelta(days=1))
    assert status(viewer)["live_session"]["rate_hz"] == pytest.approx(60, rel=0.01)


def test_it_lists_the_robots_last_ten_sessions_newest_first(viewer, robot):
    begin = datetime(2026, 1, 5, tzinfo=UTC)
    for day in range(12):
        start = begin + timedelta(days=day)
        TeleopSession.objects.create(robot=robot, key=f"session-{day}", start_time=start, end_time=start)
    TeleopSession.objects.create(robot=Robot.objects.create(pk="leg"), key="session-x", start_time=begin)
    assert [each["key"] for each in status(viewer)["last_sessions"]] == [f"session-{day}" for day in range(11, 1, -1)]


def test_it_shows_the_last_error(viewer, robot):
    Robot.objects.record_errors({"robot_A": ("wrong_key", "the key is not valid for this robot")})
    assert status(viewer)["last_error"]["code"] == "wrong_key"


def test_it_runs_four_queries_and_three_for_authentication(viewer, robot, django_assert_num_queries):
    streams(robot)
    with django_assert_num_queries(7):
        status(viewer)
