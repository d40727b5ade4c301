"""Test that the load test's robot counts as acknowledged only frames that the server has acknowledged."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import websocket

from loadtest.generator import robot as robots
from loadtest.generator.robot import Robot, Unacked

TEXT, CLOSE = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CLOSE
RESTART = (CLOSE, (1012).to_bytes(2, "big"))


class Listener:
    def __init__(self) -> None:
        self.failures: list[str] = []
        self.answered = 0

    def acked(self, message: Unacked, response_ms: float) -> None:
        self.answered += 1

    def failed(self, what: str) -> None:
        self.failures.append(what)


class Connection:
    """A connection to a scripted server, which greets with `next_frame_index` and then sends `script`."""

    def __init__(self, *script: dict[str, Any] | tuple[int, bytes], next_frame_index: int = 0) -> None:
        self.greeting = {"type": "session", "next_frame_index": next_frame_index}
        self.script = list(script)
        self.sent: list[bytes | str] = []
        self.while_sending: Callable[[], object] = lambda: None

    def recv(self) -> str:
        return json.dumps(self.greeting)

    def recv_data(self) -> tuple[int, bytes]:
        event = self.script.pop(0)
        return event if isinstance(event, tuple) else (TEXT, json.dumps(event).encode())

    def send(self, message: bytes | str) -> None:
        self.sent.append(message)
        self.while_sending()

    def settimeout(self, timeout: float | None) -> None: ...
    def shutdown(self) -> None: ...


def ack(frame_index: int) -> dict[str, Any]:
    return {"type": "ack", "frame_index": frame_index}


def refusal(frame_index: int) -> dict[str, Any]:
    return {"type": "error", "code": "rejected_by_database", "frame_index": frame_index}


def ended(frame_count: int) -> dict[str, Any]:
    return {"type": "ended", "frame_count": frame_count}


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Robot, Listener]]:
    """Return a function that connects a robot to these connections, one after the other."""
    monkeypatch.setattr(robots, "RETRY_S", 0)

    def connect(*connections: Connection) -> tuple[Robot, Listener]:
        following = iter(connections)
        monkeypatch.setattr(websocket, "create_connection", lambda *_, **__: next(following))
        listener = Listener()
        robot = Robot("ws://server", listener)
        robot.connect()
        return robot, listener

    return connect


def test_it_counts_acknowledged_messages(connected):
    robot, listener = connected(Connection(ack(0), ack(2), ended(3)))
    robot.send(b"0", 0, 1)
    robot.send(b"1 2", 1, 2)
    robot.end(1)
    assert (robot.sent, robot.acked, robot.frame_count) == (3, 3, 3)
    assert (listener.answered, listener.failures) == (2, [])


def test_it_sends_frames_that_are_captured_while_it_sends_again(connected):
    first, second = Connection(RESTART), Connection(ack(1), ended(2))
    robot, _ = connected(first, second)
    robot.send(b"0", 0, 1)
    second.while_sending = lambda: robot.send(b"1", 1, 1) if robot.sent == 1 else None
    robot.end(1)
    assert second.sent == [b"0", b"1", '{"type":"end"}']
    assert robot.acked == robot.sent == 2


def test_it_does_not_count_the_end_of_a_session_as_an_ack(connected):
    robot, listener = connected(Connection(ack(0), ended(1)))
    robot.send(b"0", 0, 1)
    robot.send(b"1", 1, 1)
    robot.end(1)
    assert (robot.sent, robot.acked, robot.frame_count) == (2, 1, 1)
    assert listener.answered == 1


@pytest.mark.parametrize(("refused", "acks", "acked"), [(1, [2], 2), (2, [1], 2)])
def test_it_does_not_count_a_refused_frame_as_acknowledged(connected, refused, acks, acked):
    robot, listener = connected(Connection(refusal(refused), *map(ack, acks), ended(acked)))
    robot.send(b"0 1 2", 0, 3)
    robot.end(1)
    assert robot.acked == acked
    assert listener.failures == ["refused: rejected_by_database"]


def test_it_counts_a_frame_once_that_is_refused_twice(connected):
    robot, _ = connected(Connection(refusal(0), RESTART), Connection(refusal(0), ack(1), ended(1)))
    robot.send(b"0 1", 0, 2)
    robot.end(1)
    assert (robot.refused, robot.acked) == (1, 1)


def test_it_reports_acknowledged_frames_that_the_server_lost(connected):
    robot, listener = connected(Connection(ack(1), RESTART), Connection(ended(1), next_frame_index=1))
    robot.send(b"0 1", 0, 2)
    robot.end(1)
    assert listener.failures == ["connection lost (1012)", "the server lost 1 acknowledged frames"]
