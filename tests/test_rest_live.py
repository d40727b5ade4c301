"""REST on a real server while a robot streams: actions of staff reach the robot's connection."""

import json
import urllib.request
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.authtoken.models import Token

from robots.models import Robot
from teleop.models import TeleopSession
from tests.robot_socket import frame, register, robot_socket
from tests.services import Server


@pytest.fixture
def api(server: Server):
    """Return a function: `api("POST", "/robots/arm/key")` as an administrator gives the status and the answer."""
    token = Token.objects.create(user=User.objects.create_superuser("admin"))

    def call(method: str, path: str) -> SimpleNamespace:
        headers = {"Authorization": f"Token {token}"}
        request = urllib.request.Request(server.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return SimpleNamespace(status=answer.status, body=json.load(answer))

    return call


@pytest.fixture
def streaming(server: Server):
    register("arm")
    with robot_socket(server) as robot:
        robot.send(*map(frame, range(3)))
        robot.receive_until_ack(2)
        yield robot


def test_ending_a_live_session_stores_it_and_closes_with_1000(api, streaming):
    session_id = streaming.greeting["session_id"]
    streaming.send(frame(3))
    assert api("POST", f"/sessions/{session_id}/end").status == 202
    code, received = streaming.receive_until_close()
    assert (code, received[-1]["type"]) == (1000, "ended")
    session = TeleopSession.objects.get(pk=session_id)
    assert not session.is_live and session.frame_count == received[-1]["frame_count"] in (3, 4)


def test_replacing_a_key_closes_with_4401(api, streaming):
    key = api("POST", "/robots/arm/key").body["key"]
    assert streaming.receive_until_close()[0] == 4401
    assert Robot.objects.get(pk="arm").has_key(key)


def test_health_reports_the_state_of_the_writer(api, streaming):
    writer = api("GET", "/health").body["writer"]
    assert (writer["status"], writer["pending_frames"]) == ("ok", 0)
    assert 0 <= writer["last_commit_s"] < 10


@pytest.mark.postgresql
def test_requests_share_a_few_connections(api, streaming, server: Server):
    """The pool has four; frames, sessions and health have one each, for any number of requests."""
    for _ in range(30):
        for path in ("/health", "/robots", "/sessions?limit=10"):
            api("GET", path)
    port = int(connection.settings_dict["PORT"])
    ends = [each.raddr for process in server.processes() for each in process.net_connections("tcp")]
    assert 0 < len([end for end in ends if end and end.port == port]) <= 4 + 3
