"""The Robot model: its key, its last error, and whether it still sends heartbeats."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db.models.functions import Now

from robots.models import Robot, hash_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot():
    return Robot.objects.create(pk="arm")


def test_it_authenticates_a_robot_by_its_key(robot):
    assert Robot.objects.authenticate([("arm", robot.issue_key())]) == [robot]


def test_it_keeps_the_hash_of_a_key_and_not_the_key(robot):
    key = robot.issue_key()
    assert (len(key), robot.key_hash) == (43, hash_key(key))
    assert key not in str(Robot.objects.values())


def test_a_replaced_key_is_void(robot):
    old, new = robot.issue_key(), robot.issue_key()
    assert (robot.has_key(old), robot.has_key(new)) == (False, True)


@pytest.mark.parametrize("key", ["", "wrong", "ключ", "a\0b", "x" * 10_000])
def test_it_rejects_any_other_key(robot, key):
    robot.issue_key()
    assert not robot.has_key(key)


@pytest.mark.parametrize("key", ["", hash_key("")])
def test_it_rejects_every_key_if_none_was_issued(robot, key):
    assert not robot.has_key(key)


def test_it_rejects_the_hash_as_a_key(robot):
    robot.issue_key()
    assert not robot.has_key(robot.key_hash)


def test_it_refuses_a_robot_with_the_matching_error_code(robot):
    key = robot.issue_key()
    other = Robot.objects.create(pk="leg").issue_key()
    claims = [("arm", None), ("arm", ""), ("arm", other), ("unknown", key)]
    codes = [refusal.code for refusal in Robot.objects.authenticate(claims)]
    assert codes == ["missing_key", "missing_key", "wrong_key", "unknown_robot"]


def test_it_authenticates_all_robots_with_one_query(robot, django_assert_num_queries):
    claims = [("arm", robot.issue_key()), ("leg", Robot.objects.create(pk="leg").issue_key())]
    with django_assert_num_queries(1):
        assert [robot.pk for robot in Robot.objects.authenticate(claims)] == ["arm", "leg"]


@pytest.mark.parametrize("robot_id", ["a", "robot_A", "0", "so101.left-arm_2", "x" * 64])
def test_it_accepts_a_valid_id(robot_id):
    Robot(pk=robot_id).full_clean()


@pytest.mark.parametrize("robot_id", ["", "a/b", "..", ".hidden", "a b", "_x", "-x", "x" * 65, "a\n", "é", "a%20b"])
def test_it_refuses_an_invalid_id(robot_id):
    with pytest.raises(ValidationError):
        Robot(pk=robot_id).full_clean()


def test_it_keeps_the_last_error_only(robot):
    Robot.objects.record_errors({"arm": ("invalid_frame", "first")})
    Robot.objects.record_errors({"arm": ("out_of_order", "x" * 5000)})
    robot.refresh_from_db()
    assert (robot.last_error_code, robot.last_error_detail) == ("out_of_order", "x" * 1000)
    assert robot.last_error_at is not None


def test_it_is_unresponsive_30_s_after_its_last_heartbeat(robot):
    Robot.objects.mark_seen({"arm": "online"})
    assert not Robot.objects.unresponsive().exists()
    Robot.objects.update(last_heartbeat=Now() - timedelta(seconds=31))
    assert Robot.objects.unresponsive().get() == robot


def test_an_offline_robot_is_not_unresponsive(robot):
    Robot.objects.update(last_heartbeat=Now() - timedelta(days=1))
    assert not Robot.objects.unresponsive().exists()
