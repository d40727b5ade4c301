"""From the socket to the row: sessions begun, resumed, taken over and ended."""

import socket
import time
from datetime import UTC, datetime

import pytest

from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from tests.robot_socket import KEY as ROBOT_KEY
from tests.robot_socket import T0, bystander, frame, register, robot_socket, stored
from tests.services import Server, wait_until

KEY = "morning-run-0001"
HERE = f"arm?session={KEY}"


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "bystander")


def the_session() -> TeleopSession:
    return TeleopSession.objects.get(robot="arm")


def test_a_frame_is_stored_before_it_is_acknowledged(server: Server):
    with robot_socket(server) as robot:
        robot.send(frame(0, observation={"z.pos": 1.5, "a.pos": 0.1}, action={"z.pos": 2}, note="ü"))
        robot.receive_until_ack(0)
        row = TeleopFrame.objects.get()
    assert row.timestamp == datetime.fromtimestamp(T0, UTC)
    assert list(row.data) == ["observation", "action", "note"]
    assert list(row.data["observation"]) == ["z.pos", "a.pos"]


@pytest.mark.parametrize("encode", [str, str.encode])
def test_it_takes_text_and_binary_messages(server: Server, encode):
    with robot_socket(server) as robot:
        robot.send(encode('{"frame_index":0,"timestamp":1703318400,"action":{}}'))
        assert robot.receive_until_ack(0) == []


def test_the_greeting_names_the_session(server: Server):
    with robot_socket(server, HERE) as robot:
        expected = {"type": "session", "session_id": the_session().pk, "session": KEY, "next_frame_index": 0}
        assert abs(robot.greeting.pop("time") - time.time()) < 5
        assert robot.greeting == expected | {
            "last_timestamp": None,
            "max_unacked": 6000,
            "accepts": ["event", "preview"],
        }


def test_it_opens_a_session_per_connection_without_a_session_key(server: Server):
    with robot_socket(server) as first, robot_socket(server) as second:
        assert first.greeting["session"] != second.greeting["session"]
    assert TeleopSession.objects.filter(robot="arm").count() == 2


def test_it_resumes_a_session_after_its_last_stored_frame(server: Server):
    with robot_socket(server, HERE) as robot:
        robot.send(frame(0), frame(4))
        robot.receive_until_ack(4)
        robot.websocket.socket.close()  # simulates a network failure
    with robot_socket(server, HERE) as robot:
        assert robot.greeting["next_frame_index"] == 5
        robot.send({"frames": [frame(4), frame(5)]})
        assert robot.receive_until_ack(5) == []
    assert (TeleopSession.objects.filter(robot="arm").count(), stored()) == (1, [0, 4, 5])


def test_it_refuses_an_index_reused_with_another_timestamp(server: Server):
    with robot_socket(server, HERE) as robot:
        robot.send(frame(0))
        robot.receive_until_ack(0)
    with bystander(server), robot_socket(server, HERE) as robot:
        robot.send(frame(0, timestamp=T0 + 5), frame(1))
        (error,) = [message for message in robot.receive_until_ack(1) if message["type"] == "error"]
    assert (error["code"], error["message"], error["frame_index"]) == ("index_reused", None, 0)
    assert [row.timestamp.second for row in TeleopFrame.objects.filter(robot="arm", frame_index=0)] == [0]


def test_resuming_takes_the_session_over(server: Server):
    with bystander(server), robot_socket(server, HERE) as old:
        old.send(frame(0))
        old.receive_until_ack(0)
        with robot_socket(server, HERE) as new:
            assert old.receive_until_close() == (4409, [])
            new.send(frame(1))
            assert new.receive_until_ack(1) == []
            assert the_session().is_live
    wait_until(lambda: not the_session().is_live)
    assert (the_session().frame_count, stored()) == (2, [0, 1])


def test_an_end_is_answered_after_the_last_commit(server: Server):
    with robot_socket(server, HERE) as robot:
        robot.send({"type": "start", "fps": 30, "meta_info": {"task": "fold", "draft": 1}})
        robot.send(*[frame(index) for index in range(61)])
        robot.send({"type": "end", "meta_info": {"success": True, "draft": None}}, frame(61), "noise")
        code, received = robot.receive_until_close()
    session = the_session()
    assert code == 1000
    assert received[-1] == {"type": "ended", "session_id": session.pk, "frame_count": 61}
    assert {message["type"] for message in received[:-1]} == {"ack"} and received[-2]["frame_index"] == 60
    assert (session.frame_count, session.fps, session.meta_info) == (61, 30, {"task": "fold", "success": True})
    assert session.start_time == datetime.fromtimestamp(T0, UTC)
    assert session.end_time == datetime.fromtimestamp(T0 + 1, UTC)
    assert stored() == list(range(61))


def test_an_end_is_answered_again_after_a_reconnect(server: Server):
    with robot_socket(server, HERE) as robot:
        robot.send(frame(0), {"type": "end"})
        robot.websocket.socket.close()
    with robot_socket(server, HERE) as robot:
        robot.send(frame(0), {"type": "end"})
        ended = robot.receive("ended")
        assert robot.receive_until_close()[0] == 1000
    assert (ended["frame_count"], stored()) == (1, [0])


def test_a_session_ends_at_its_last_frame_after_a_disconnect(server: Server):
    with robot_socket(server, HERE) as robot:
        robot.send(frame(0), frame(60))
        robot.receive_until_ack(60)
    wait_until(lambda: not the_session().is_live)
    session = the_session()
    assert (session.frame_count, (session.end_time - session.start_time).total_seconds()) == (2, 1)
    wait_until(lambda: Robot.objects.get(pk="arm").status == "offline")


def test_it_refuses_merged_meta_info_over_its_limit(server: Server):
    """Each connection may send 64 KiB; the merged meta_info of several connections exceeds the limit."""
    for name in ("a", "b"):
        with robot_socket(server, HERE) as robot:
            robot.send({"type": "start", "meta_info": {name: "x" * 30_000}}, {"type": "end"})
            robot.receive("ended")
    with robot_socket(server, HERE) as robot:
        robot.send({"type": "start", "meta_info": {"c": "x" * 30_000}})
        error = robot.receive("error")
    assert (error["code"], error["message"]) == ("invalid_start", None)
    assert "at most 65536 expected" in error["detail"]
    assert sorted(the_session().meta_info) == ["a", "b"]


def test_it_updates_the_frame_count_of_a_live_session(server: Server):
    with robot_socket(server, HERE) as robot:
        robot.send(*[frame(index) for index in range(20)])
        robot.receive_until_ack(19)
        wait_until(lambda: the_session().frame_count == 20)
        assert the_session().start_time == datetime.fromtimestamp(T0, UTC)
        assert the_session().is_live


def test_it_sends_a_mute_client_nothing_and_stores_its_frames(server: Server):
    with robot_socket(server, HERE, mute=True) as robot:
        assert robot.websocket.subprotocol is None
        robot.send(frame(0), "noise", frame(0), frame(1), {"type": "end"})
        assert robot.receive_until_close() == (1000, [])
    assert (stored(), the_session().frame_count) == ([0, 1], 2)


def test_it_stores_frames_of_a_client_without_a_subprotocol(server: Server):
    with robot_socket(server, mute=True) as robot:
        robot.send(frame(0))
        wait_until(lambda: stored() == [0])


def test_an_aborted_handshake_takes_no_session(server: Server):
    """A process that was frozen receives both at once: the handshake and the client's disconnect."""
    lines = [
        f"GET /ws/log/{HERE} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {ROBOT_KEY}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==",
        "\r\n",
    ]
    with robot_socket(server, HERE) as robot:
        server.freeze()
        try:
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", server.port)) as given_up:
                    given_up.sendall("\r\n".join(lines).encode())
        finally:
            server.thaw()
        with robot_socket(server, "bystander"):  # its handshake is queued behind the aborted ones
            robot.send(frame(0))
            assert robot.receive_until_ack(0) == []
