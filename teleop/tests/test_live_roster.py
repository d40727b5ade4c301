"""The data of watched robots that is read from the database."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from robots.models import Robot
from teleop.live import roster
from teleop.models import TeleopSession
from teleop.servo import DEFAULT_LIMITS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def printed(entry: roster.RobotSummary) -> tuple[dict, dict, dict]:
    members = (b"%b,%b" % (entry.tile, entry.heartbeat), entry.page, entry.idle)
    return tuple(json.loads(b"{%b}" % each) for each in members)


@pytest.fixture
def arm(db):
    robot = Robot.objects.create(
        pk="arm", name="<script>alert(1)</script>", robot_type="so101", status="error", last_heartbeat=NOON
    )
    Robot.objects.filter(pk="arm").update(
        last_error_code="index_reused", last_error_detail="5 again", last_error_at=NOON
    )
    TeleopSession.objects.create(robot=robot, key="1", end_time=NOON, meta_info={"task": "over"})
    TeleopSession.objects.create(robot=robot, key="2", frame_count=7, meta_info={"task": "older"})
    TeleopSession.objects.create(robot=robot, key="3", frame_count=40, fps=30, meta_info={"task": "Fold the towel"})
    return robot


def test_a_tile_shows_the_robot_its_task_and_its_last_error(arm):
    tile, page, idle = printed(roster.read(None)["arm"])
    session_id = arm.sessions.get(key="3").pk
    assert tile == {
        "id": "arm",
        "name": "<script>alert(1)</script>",
        "robot_type": "so101",
        "status": "error",
        "task": "Fold the towel",
        "fps": 30,
        "last_heartbeat": "2026-01-01T12:00:00Z",
        "last_error": {"code": "index_reused", "detail": "5 again", "at": "2026-01-01T12:00:00Z"},
    }
    limits = {name: page.pop(name) for name in ("limits", "limits_ignored")}
    assert page == {"robot_id": "arm", "status": "error", "task": "Fold the towel", "fps": 30}
    assert limits == {"limits": {kind: [*limit] for kind, limit in DEFAULT_LIMITS.items()}, "limits_ignored": []}
    assert idle == {"session_id": session_id, "rate_hz": None, "ack_lag_ms": None, "frame_count": 40}
    assert roster.read(["arm"])["arm"].session_id == session_id


def test_a_robot_that_never_connected_has_no_values(db):
    Robot.objects.create(pk="leg")
    tile, _, idle = printed(roster.read(None)["leg"])
    assert {name for name, value in tile.items() if value is not None} == {"id", "status"}
    assert set(idle.values()) == {None}


@pytest.mark.parametrize("meta_info", [None, {}, {"task": None}, {"task": {"x": 1}}, {"task": 5}])
def test_a_task_that_is_not_text_is_null(db, meta_info):
    TeleopSession.objects.create(robot=Robot.objects.create(pk="leg"), key="1", meta_info=meta_info)
    assert printed(roster.read(None)["leg"])[1]["task"] is None


@pytest.mark.parametrize("robot_ids", [None, ["leg"]])
def test_a_page_has_the_limits_of_the_robot_and_of_its_live_session(db, robot_ids):
    robot = Robot.objects.create(pk="leg", meta_info={"limits": {"temperature": 60, "load": 70}})
    TeleopSession.objects.create(robot=robot, key="1", meta_info={"limits": {"pan.load": [None, 50], "load": {}}})
    page = printed(roster.read(robot_ids)["leg"])[1]
    defaults = {kind: [*limit] for kind, limit in DEFAULT_LIMITS.items()}
    assert page["limits"] == defaults | {"temperature": [-60, 60], "load": [-70, 70], "pan.load": [None, 50]}
    assert page["limits_ignored"] == ["limits.load is {}; a number, [lower, upper] or null expected"]


def test_it_truncates_a_long_task(db):
    TeleopSession.objects.create(robot=Robot.objects.create(pk="leg"), key="1", meta_info={"task": "x" * 10_000})
    assert len(printed(roster.read(None)["leg"])[1]["task"]) == roster.MAX_TASK


def test_it_reads_only_the_requested_robots(arm):
    Robot.objects.create(pk="leg")
    assert list(roster.read(["leg", "unknown"])) == ["leg"]


def test_it_limits_the_roster_to_the_most_recently_seen_robots(db, monkeypatch):
    monkeypatch.setattr(roster, "MAX_ROBOTS", 2)
    for number, robot_id in enumerate(("b", "a", "c")):
        Robot.objects.create(pk=robot_id, last_heartbeat=NOON + timedelta(seconds=number))
    Robot.objects.create(pk="never")
    assert list(roster.read(None)) == ["a", "c"]


@pytest.mark.parametrize("robot_ids", [None, ["arm", "leg"]])
def test_it_takes_two_queries_for_any_number_of_robots(arm, django_assert_num_queries, robot_ids):
    TeleopSession.objects.create(robot=Robot.objects.create(pk="leg"), key="1")
    with django_assert_num_queries(2):
        roster.read(robot_ids)
