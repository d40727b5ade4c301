from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from robots import worker_messages
from robots.models import Robot, hash_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def closed(monkeypatch):
    """Return the list of requests to close connections, as (code, {...})."""
    closed = []
    monkeypatch.setattr(worker_messages, "close_connections", lambda code, **of: closed.append((code, of)))
    return closed


def issue(robot_id):
    out, err = StringIO(), StringIO()
    call_command("robot_key", robot_id, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_it_registers_a_new_robot_and_prints_its_key(closed):
    out, err = issue("robot_A")
    assert Robot.objects.get(pk="robot_A").has_key(out.strip())
    assert "robot_A is registered" in err
    assert "Authorization: Bearer <key>" in err


def test_it_prints_256_bits_and_nothing_else_to_standard_output(closed):
    out, _ = issue("robot_A")
    assert len(out) == 44 and out.endswith("\n")  # 43 base64 digits
    assert out != issue("robot_B")[0]


def test_it_keeps_only_the_hash(closed):
    key = issue("robot_A")[0].strip()
    assert key not in str(Robot.objects.values().get(pk="robot_A"))


def test_it_voids_the_old_key_of_an_existing_robot(closed):
    Robot.objects.create(pk="robot_A", name="left arm")
    old, new = issue("robot_A")[0].strip(), issue("robot_A")[0].strip()
    robot = Robot.objects.get(pk="robot_A")
    assert (robot.name, robot.has_key(old), robot.has_key(new)) == ("left arm", False, True)


def test_it_reports_a_voided_key_only_if_one_existed(closed):
    assert "old key" not in issue("robot_A")[1]
    assert "The old key of robot_A is no longer valid." in issue("robot_A")[1]


def test_it_closes_connections_with_the_old_key_after_commit(closed, django_capture_on_commit_callbacks):
    old = issue("robot_A")[0].strip()
    with django_capture_on_commit_callbacks(execute=True):
        issue("robot_A")
        assert closed == []
    assert closed == [(4401, {"robot_id": "robot_A", "key_hash": hash_key(old)})]


def test_it_closes_no_connections_for_a_first_key(closed, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        issue("robot_A")
    assert closed == []


@pytest.mark.parametrize("robot_id", ["", "a/b", "..", "robot A", "_a", "ä", "a" * 65, "robot_A\n"])
def test_it_refuses_a_bad_id_and_names_the_pattern(robot_id, closed):
    with pytest.raises(CommandError, match=r"\[A-Za-z0-9\]\[A-Za-z0-9_\.-\]\{0,63\} expected"):
        issue(robot_id)
    assert not Robot.objects.exists()
