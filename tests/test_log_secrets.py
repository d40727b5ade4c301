"""No line of the server's output contains a key, however it was sent and however it was wrong."""

import json
import secrets
import urllib.request
from collections.abc import Iterator
from urllib.error import HTTPError

import pytest
from websockets.exceptions import InvalidStatus

from robots.models import Robot, hash_key
from tests.patched_server import PatchedServer
from tests.robot_socket import robot_socket
from tests.services import Server, wait_until

pytestmark = pytest.mark.once

RIGHT, WRONG = secrets.token_urlsafe(32), secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def server(_server: Server) -> Iterator[Server]:
    """Yield a server that logs JSON lines, and has a page that fails with all its details in the error."""
    url = _server.settings["DATABASE_URL"]
    with PatchedServer("serve_test_views", _server.folder, DATABASE_URL=url, LOG_FORMAT="json") as server:
        yield server


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    Robot.objects.create(pk="arm", key_hash=hash_key(RIGHT))


def fetch(server: Server, path: str, **headers: str):
    named = {name.replace("_", "-"): headers[name] for name in headers}
    try:
        return urllib.request.urlopen(urllib.request.Request(server.url + path, headers=named), timeout=10)
    except HTTPError as error:
        return error


def ways(key: str) -> list[tuple[str, dict[str, str]]]:
    return [("", {"Authorization": f"Bearer {key}"}), ("", {"X-API-Key": key}), (f"?api_key={key}", {})]


def test_no_key_is_in_the_log(server: Server):
    for query, headers in ways(RIGHT):
        with robot_socket(server, f"arm{query}", additional_headers=headers) as robot:
            assert robot.greeting
        for path in ("/robots", "/nothing", "/fail", "/ws/log/arm"):
            fetch(server, path + query, **headers)
    for query, headers in ways(WRONG):
        with pytest.raises(InvalidStatus), robot_socket(server, f"arm{query}", additional_headers=headers):
            pass
        for path in ("/robots", "/fail"):
            fetch(server, path + query, **headers)
    wait_until(lambda: server.output().count("ValueError: ") >= 6, what="the exceptions")
    assert "to '/ws/log/arm': the key is not valid" in server.output()
    assert RIGHT not in server.output()
    assert WRONG not in server.output()


def test_a_response_and_its_log_lines_share_a_request_id(server: Server):
    answer = fetch(server, "/fail", X_Request_ID="0123456789abcdef")
    assert (answer.status, answer.headers["X-Request-ID"]) == (500, "0123456789abcdef")
    made = fetch(server, "/nothing").headers["X-Request-ID"]
    for request_id, path in (("0123456789abcdef", "/fail"), (made, "/nothing")):
        lines = map(json.loads, server.output().splitlines()[1:])
        assert [path in line["message"] for line in lines if line.get("request_id") == request_id] == [True]


def test_a_streamed_response_has_a_request_id(server: Server):
    with fetch(server, "/stream") as answer:
        assert len(answer.headers["X-Request-ID"]) == 32
