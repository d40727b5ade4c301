"""Accepted handshakes, and refused ones: a 403 and an error that staff can read."""

from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus

from robots.models import Robot, hash_key
from teleop.models import TeleopSession
from tests.robot_socket import KEY, bystander, frame, register, robot_socket
from tests.services import Server, wait_until

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "bystander")


def refused(server: Server, *args, **options) -> int:
    """Return the HTTP status of the refusal."""
    with pytest.raises(InvalidStatus) as caught, robot_socket(server, *args, **options):
        pass
    assert TeleopSession.objects.exclude(robot="bystander").count() == 0
    return caught.value.response.status_code


@pytest.mark.parametrize(
    "headers, query",
    [
        ({"Authorization": f"Bearer {KEY}"}, ""),
        ({"authorization": f"bearer {KEY}"}, ""),
        ({"X-API-Key": KEY}, ""),
        ({}, "?api_key=a%20robot%27s%20key"),
        ({}, "?session=morning-run&api_key=a%20robot%27s%20key"),
    ],
)
def test_it_accepts_a_key_in_three_ways(server: Server, headers, query):
    with robot_socket(server, f"arm{query}", additional_headers=headers) as robot:
        assert robot.greeting["next_frame_index"] == 0


@pytest.mark.parametrize(
    "query, code",
    [
        ("", "missing_key"),
        ("?api_key=", "missing_key"),
        ("?api_key=wrong", "wrong_key"),
        ("?api_key=%00%ff", "wrong_key"),
        (f"?api_key={hash_key(KEY)}", "wrong_key"),
    ],
)
def test_it_refuses_a_missing_or_wrong_key_and_stores_the_reason(server: Server, query, code):
    with bystander(server):
        assert refused(server, f"arm{query}", key=None) == 403
    wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == code)


def test_another_robots_key_is_refused(server: Server):
    Robot.objects.create(pk="leg", key_hash=hash_key("another"))
    assert refused(server, "leg") == 403


def test_it_refuses_a_robot_that_has_no_key(server: Server):
    Robot.objects.create(pk="leg")
    assert refused(server, "leg", key="") == 403


@pytest.mark.parametrize(
    "path",
    [
        "unknown",
        "",
        "a/b",
        "..",
        "../arm",
        "%2e%2e",
        "a%2Fb",
        "a%20b",
        "x" * 65,
        "arm%0A",
        "%00",
        "%ff",
        "-arm",
        "arm/",
    ],
)
def test_it_refuses_an_invalid_robot_id(server: Server, path):
    assert refused(server, path) == 403


@pytest.mark.parametrize("session", ["short", "x" * 65, "with%20space", "a/b-123456", "%00" * 8, "morning-run%0A"])
def test_it_refuses_an_invalid_session_key(server: Server, session):
    assert refused(server, f"arm?session={session}") == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "http://evil.example:80"])
def test_it_refuses_a_foreign_origin(server: Server, origin):
    assert refused(server, f"arm?api_key={quote(KEY)}", key=None, origin=origin) == 403


@pytest.mark.parametrize("origin", ["http://localhost", "http://127.0.0.1:8000", "https://localhost:8443"])
def test_it_accepts_the_origin_of_an_allowed_host(server: Server, origin):
    with robot_socket(server, f"arm?api_key={quote(KEY)}", key=None, origin=origin) as robot:
        assert robot.greeting


def test_it_refuses_an_unknown_path(server: Server):
    assert refused(server, "../logs/arm") == 403


def test_it_closes_with_4401_after_the_key_was_replaced(server: Server):
    with bystander(server), robot_socket(server) as robot:
        robot.send(frame(0))
        robot.receive_until_ack(0)
        Robot.objects.filter(pk="arm").update(key_hash=hash_key("the new key"))
        assert robot.receive_until_close()[0] == 4401


def test_it_registers_an_unknown_robot_in_open_mode(start_server):
    server = start_server(ROBOT_AUTH="open")
    with robot_socket(server, "stranger", key=None) as robot:
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []
    assert Robot.objects.get(pk="stranger").key_hash == ""


def test_an_empty_session_key_is_refused(server: Server):
    assert refused(server, "arm?session=") == 403


def test_it_refuses_an_origin_without_host_and_logs_no_traceback(server: Server):
    before = len(server.output())
    assert refused(server, "arm", key=None, origin="null") == 403
    assert "Traceback" not in server.output()[before:]


def test_the_log_of_refusals_is_limited(start_server):
    server = start_server()
    for _ in range(30):
        refused(server, "arm", key="wrong")
    wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == "wrong_key")
    assert 1 <= server.output().count("to '/ws/log/arm': the key is not valid") <= 20
