"""A robot that comes back with data of a deleted session: `expect` in the handshake, and films by the session's key."""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from websockets.exceptions import InvalidStatus

from teleop.models import TeleopSession
from tests.raw_client import raw_client
from tests.robot_socket import KEY, frame, register, robot_socket
from tests.services import Server
from videos.tests.video_files import film

pytestmark = pytest.mark.usefixtures("_robots")

SESSION_KEY = "morning-run-0001"
HERE = f"arm?session={SESSION_KEY}"
BOUNDARY = "2f1c"


@pytest.fixture
def _robots(transactional_db: None) -> None:
    register("arm")


def record(server: Server) -> int:
    """Record a session of one frame; return its id."""
    with robot_socket(server, HERE) as robot:
        robot.send(frame(0), {"type": "end"})
        assert robot.receive_until_close()[0] == 1000
    return robot.greeting["session_id"]


def refusal(server: Server, path: str) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as refused, robot_socket(server, path):
        pass
    return refused.value.response.status_code, refused.value.response.body


def upload(server: Server) -> tuple[int, dict]:
    """Upload a film of the session by its key; return the status and the answer."""
    fields = {
        "session_key": SESSION_KEY,
        "camera_key": "front",
        "start_timestamp": "1703318400",
        "end_timestamp": "1703318401",
    }
    parts = [
        *(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()),
        b'Content-Disposition: form-data; name="file"; filename="1.mp4"\r\n\r\n' + film(),
    ]
    mark = f"--{BOUNDARY}".encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    try:
        with urlopen(Request(f"{server.url}/videos", body, headers), timeout=20) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def test_it_refuses_a_robot_that_expects_a_deleted_session(server: Server):
    session_id = record(server)
    TeleopSession.objects.all().delete()
    status, body = refusal(server, f"{HERE}&expect={session_id}")
    assert (status, json.loads(body)) == (410, {"detail": f"session {SESSION_KEY} was deleted"})
    assert not TeleopSession.objects.exists()


def test_it_refuses_a_robot_that_expects_another_id(server: Server):
    session_id = record(server)
    status, body = refusal(server, f"{HERE}&takeover=no&expect={session_id + 1}")
    detail = f"session {SESSION_KEY} has the id {session_id}; {session_id + 1} expected"
    assert (status, json.loads(body)) == (410, {"detail": detail})
    assert not TeleopSession.objects.get().is_live


def test_a_robot_gets_the_session_that_it_expects(server: Server):
    session_id = record(server)
    for path in (f"{HERE}&expect={session_id}", f"{HERE}&takeover=no&expect={session_id}"):
        with robot_socket(server, path) as robot:
            assert (robot.greeting["session_id"], robot.greeting["next_frame_index"]) == (session_id, 1)
            robot.send({"type": "end"})
            assert robot.receive_until_close()[0] == 1000


def test_a_robot_that_expects_nothing_begins_the_deleted_session_again(server: Server):
    session_id = record(server)
    TeleopSession.objects.all().delete()
    with robot_socket(server, HERE) as robot:
        assert (robot.greeting["session_id"] > session_id, robot.greeting["next_frame_index"]) == (True, 0)


def test_a_robot_that_expects_any_session_brings_no_deleted_one_back(server: Server):
    session_id = record(server)
    with robot_socket(server, f"{HERE}&expect=any") as robot:
        assert (robot.greeting["session_id"], robot.greeting["last_timestamp"]) == (session_id, 1703318400)
        robot.send({"type": "end"})
        assert robot.receive_until_close()[0] == 1000
    TeleopSession.objects.all().delete()
    assert refusal(server, f"{HERE}&expect=any")[0] == 410
    with robot_socket(server, "arm?session=evening-run-0001&expect=any") as robot:
        assert (robot.greeting["next_frame_index"], robot.greeting["last_timestamp"]) == (0, None)


@pytest.mark.once
@pytest.mark.parametrize("expected", ["", "one", "1.0", "-1", "+1", "1" * 19, "1%00", "%D9%A1"])
def test_it_refuses_an_invalid_expected_id(server: Server, expected: str):
    with raw_client(server, f"{HERE}&expect={expected}") as robot:
        robot.socket.sendall(robot.handshake.replace(b"\r\n\r\n", b"\r\nX-API-Key: " + KEY.encode() + b"\r\n\r\n"))
        assert robot.socket.recv(65536).startswith(b"HTTP/1.1 403 ")
    assert not TeleopSession.objects.exists()


def test_a_film_is_accepted_between_the_first_frame_and_the_deletion(server: Server):
    assert (upload(server)[0], upload(server)[1]["code"]) == (409, "session_unknown")
    session_id = record(server)
    assert [upload(server)[0], upload(server)[0]] == [201, 200]
    assert upload(server)[1]["session"] == session_id
    TeleopSession.objects.all().delete()
    assert (upload(server)[0], upload(server)[1]["code"]) == (410, "session_deleted")
