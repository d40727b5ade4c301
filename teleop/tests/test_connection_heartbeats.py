"""Heartbeats that a connection sends to presence every few seconds."""

import logging

import pytest

from teleop.tests.fakes import Robot, frame


@pytest.fixture
def robot():
    return Robot()


def test_a_heartbeat_reports_changes_since_the_last_one(robot):
    robot.sends_message(type="start", fps=30, meta_info={"task": "fold"})
    robot.sends(0, 0)
    robot.connection.committed(robot.taken, 0)
    first = robot.connection.heartbeat()
    robot.connection.heartbeat_saved(first)
    second = robot.connection.heartbeat()
    assert (first.frame_count, first.first_timestamp, first.fps, first.meta_info, first.is_failing) == (
        *(1, robot.taken[0].timestamp, 30, {"task": "fold"}, True),
    )
    assert second == first._replace(first_timestamp=None, fps=None, meta_info={}, error=None, refusals=0)


def test_the_next_heartbeat_reports_changes_made_during_one(robot):
    robot.sends_message(type="start", meta_info={"task": "fold"})
    written = robot.connection.heartbeat()
    robot.sends(0, 0)
    robot.connection.committed(robot.taken, 0)
    robot.sends_message(type="end", meta_info={"success": True})
    robot.connection.heartbeat_saved(written)
    left = robot.connection.heartbeat()
    assert left.meta_info == {"task": "fold", "success": True}
    assert (left.first_timestamp, left.is_failing) == (robot.taken[0].timestamp, True)


def test_the_next_heartbeat_reports_a_start_received_during_one(robot):
    written = robot.connection.heartbeat()
    robot.sends_message(type="start", fps=30)
    robot.connection.heartbeat_saved(written)
    assert robot.connection.heartbeat().fps == 30


def test_a_session_that_has_frames_keeps_its_start_time():
    robot = Robot(frame_count=40)
    robot.sends(40)
    robot.connection.committed(robot.taken, 0)
    heartbeat = robot.connection.heartbeat()
    assert (heartbeat.first_timestamp, heartbeat.frame_count) == (None, 41)


def test_a_heartbeat_reports_steps_of_the_clock_once(robot, caplog):
    robot.sends(40, 41)
    robot.sends_message(**frame(42) | {"timestamp": frame(42)["timestamp"] - 7200})
    robot.connection.committed(robot.taken, 0)
    first = robot.connection.heartbeat()
    assert [(step["frame_index"], round(step["step_s"])) for step in first.clock_steps] == [(42, -7200)]
    robot.connection.heartbeat_saved(first)
    assert "robot arm: its clock stepped 1 times, the last time by -7200.000 s before frame 42" in caplog.text
    assert robot.connection.heartbeat().clock_steps == ()


def test_it_logs_one_line_per_heartbeat(robot, caplog):
    for _ in range(50):
        robot.connection.receive(b"noise")
    with caplog.at_level(logging.WARNING):
        robot.connection.heartbeat_saved(robot.connection.heartbeat())
        robot.connection.heartbeat_saved(robot.connection.heartbeat())
    (record,) = caplog.records
    assert "arm: refused 50 messages" in record.getMessage()
