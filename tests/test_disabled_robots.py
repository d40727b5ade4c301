"""A robot that staff disable: close code 4410, then a 403 with a body, until staff enable the robot again."""

import json
from urllib.request import Request, urlopen

import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
from teleop_client import Delays, RobotClient
from teleop_client import RobotDisabled as RobotDisabledError
from websockets.exceptions import InvalidStatus

from robots.close_codes import Close
from robots.models import Robot
from robots.querysets import ROBOT_DISABLED, RobotDisabled
from teleop.ingest import admission
from teleop.ingest.types import Handshake
from tests.preview_socket import preview_socket
from tests.robot_socket import KEY, bystander, frame, register, robot_socket, stored
from tests.services import Server, wait_until

pytestmark = pytest.mark.once
DETAIL = "robot arm is disabled; staff can enable it on its page in the admin"


@pytest.fixture(autouse=True)
def _robots(transactional_db) -> None:
    register("arm", "bystander")


def refusal(connect) -> tuple[int, dict]:
    """Return the status and the body of a refused handshake."""
    with pytest.raises(InvalidStatus) as refused, connect:
        pass
    return refused.value.response.status_code, json.loads(refused.value.response.body)


def set_disabled(server: Server, value: bool) -> None:
    """Change the robot by the REST of the server, which notifies its worker."""
    user, _ = User.objects.get_or_create(username="admin", is_superuser=True)
    token, _ = Token.objects.get_or_create(user=user)
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
    body = json.dumps({"disabled": value}).encode()
    with urlopen(Request(f"{server.url}/robots/arm", body, headers, method="PATCH"), timeout=20) as answer:
        assert json.load(answer)["disabled"] is value


def test_a_disabled_robot_is_closed_and_refused_until_it_is_enabled(server: Server):
    with bystander(server), robot_socket(server) as robot, preview_socket(server) as camera:
        robot.send(frame(0))
        robot.receive_until_ack(0)
        set_disabled(server, True)
        assert robot.receive_until_close()[0] == camera.receive_until_close() == Close.DISABLED
    expected = (403, {"detail": DETAIL, "code": ROBOT_DISABLED})
    assert refusal(robot_socket(server)) == refusal(preview_socket(server)) == expected
    assert stored() == [0]
    set_disabled(server, False)
    with robot_socket(server) as robot:
        assert robot.greeting


def test_the_client_keeps_its_frames_until_the_robot_is_enabled(server: Server):
    errors = []
    key = Robot.objects.get(pk="arm").issue_key()
    client = RobotClient(server.url, "arm", key=key, delays=Delays(disabled=0.2), on_error=errors.append)
    with client:
        client.send({"a.pos": 0.0})
        wait_until(lambda: client.stats.acked == 1)
        set_disabled(server, True)
        wait_until(lambda: errors, what="the client was told")
        client.send({"a.pos": 1.0})
        wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == ROBOT_DISABLED, what="the client asked again")
        set_disabled(server, False)
        wait_until(lambda: client.stats.acked == 2)
    assert [type(error) for error in errors] == [RobotDisabledError]
    assert stored() == [0, 1]


def test_a_heartbeat_closes_a_robot_that_was_disabled_unnoticed(server: Server):
    with bystander(server), robot_socket(server) as robot:
        Robot.objects.filter(pk="arm").update(disabled=True)
        assert robot.receive_until_close()[0] == Close.DISABLED


def test_only_the_robots_key_is_told_that_the_robot_is_disabled(client):
    Robot.objects.filter(pk="arm").update(disabled=True)
    answers = admission.authenticate([Handshake("arm", key, "", "", None) for key in (KEY, "another", None)])
    assert [(answer.code, isinstance(answer, RobotDisabled)) for answer in answers] == [
        (ROBOT_DISABLED, True),
        ("wrong_key", False),
        ("missing_key", False),
    ]
    answer = client.get("/sessions", headers={"Authorization": f"Bearer {KEY}"})
    assert (answer.status_code, answer.json()) == (403, {"detail": DETAIL, "code": ROBOT_DISABLED})


def test_open_mode_refuses_a_disabled_robot_too(settings):
    settings.ROBOT_AUTH = "open"
    Robot.objects.filter(pk="arm").update(disabled=True)
    known, disabled, new = admission.authenticate(
        [Handshake(robot_id, None, "", "", "10.0.0.7") for robot_id in ("bystander", "arm", "new")]
    )
    assert (known, new) == ("", "") and isinstance(disabled, RobotDisabled)
