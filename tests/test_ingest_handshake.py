"""Who is let in, and who gets a 403 and a line where staff can read it."""

import pytest
from websockets.exceptions import InvalidStatus

from robots.models import Robot, hash_key
from teleop.models import TeleopSession
from tests.services import Server, wait_until
from tests.wire import KEY, bystander, frame, register, wire


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "bystander")


def refused(server: Server, *args, **options) -> int:
    """The HTTP status."""
    with pytest.raises(InvalidStatus) as caught, wire(server, *args, **options):
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
def test_a_key_comes_in_three_ways(server: Server, headers, query):
    with wire(server, f"arm{query}", additional_headers=headers) as robot:
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
def test_a_robot_without_its_key_is_refused_and_staff_can_read_why(server: Server, query, code):
    with bystander(server):
        assert refused(server, f"arm{query}", key=None) == 403
    wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == code)


def test_another_robots_key_is_refused(server: Server):
    Robot.objects.create(pk="leg", key_hash=hash_key("another"))
    assert refused(server, "leg") == 403


def test_a_robot_that_was_given_no_key_is_refused(server: Server):
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
def test_an_id_that_is_none_is_refused(server: Server, path):
    assert refused(server, path) == 403


@pytest.mark.parametrize("session", ["short", "x" * 65, "with%20space", "a/b-123456", "%00" * 8, "morning-run%0A"])
def test_a_session_key_that_is_none_is_refused(server: Server, session):
    assert refused(server, f"arm?session={session}") == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "http://evil.example:80"])
def test_a_foreign_web_page_is_refused(server: Server, origin):
    assert refused(server, origin=origin) == 403


@pytest.mark.parametrize("origin", ["http://localhost", "http://127.0.0.1:8000", "https://localhost:8443"])
def test_a_page_of_an_allowed_host_is_let_in(server: Server, origin):
    with wire(server, origin=origin) as robot:
        assert robot.greeting


def test_a_path_that_is_none_is_refused(server: Server):
    assert refused(server, "../logs/arm") == 403


def test_a_replaced_key_disconnects_who_uses_the_old_one(server: Server):
    with bystander(server), wire(server) as robot:
        robot.say(frame(0))
        robot.hear_ack(0)
        Robot.objects.filter(pk="arm").update(key_hash=hash_key("the new key"))
        assert robot.hear_close()[0] == 4401


def test_an_open_server_registers_who_comes(start_server):
    server = start_server(ROBOT_AUTH="open")
    with wire(server, "stranger", key=None) as robot:
        robot.say(frame(0))
        assert robot.hear_ack(0) == []
    assert Robot.objects.get(pk="stranger").key_hash == ""


def test_an_empty_session_key_is_refused(server: Server):
    assert refused(server, "arm?session=") == 403


def test_an_origin_that_names_no_host_is_refused_without_a_traceback(start_server):
    server = start_server()
    assert refused(server, "arm", origin="null") in (400, 403)
    assert "Traceback" not in server.output()


def test_the_log_of_refusals_is_limited(start_server):
    server = start_server()
    for _ in range(30):
        refused(server, "arm", key="wrong")
    wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == "wrong_key")
    assert 1 <= server.output().count("refused 'arm'") <= 20
