"""The server receives messages as the robot sent them, however the network splits their bytes."""

import json
from collections.abc import Iterator

import pytest
from websockets.frames import Frame, Opcode

from tests.chaos.environment import serving, sqlite_file
from tests.robot_socket import RobotSocket, frame, robot_socket
from tests.services import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with sqlite_file() as url, serving(url) as server:
        yield server


@pytest.fixture
def robot(server: Server) -> Iterator[RobotSocket]:
    with robot_socket(server) as robot:
        yield robot


def encoded(message: dict | bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return Frame(opcode, payload, fin).serialize(mask=True)


def in_fragments(message: dict, *between: bytes) -> bytes:
    payload = json.dumps(message).encode()
    first = encoded(payload[:10], fin=False)
    return b"".join(
        [first, *between, encoded(payload[10:90], Opcode.CONT, fin=False), encoded(payload[90:], Opcode.CONT)]
    )


def put(robot: RobotSocket, *pieces: bytes) -> None:
    """Write the pieces to the socket unchanged, each in its own TCP segment."""
    for piece in pieces:
        robot.websocket.socket.sendall(piece)


PING = encoded(b"are you there", Opcode.PING)


def test_it_reads_many_messages_in_one_segment(robot: RobotSocket):
    put(robot, b"".join(encoded(frame(index)) for index in range(100)))
    assert {message["type"] for message in robot.receive_until_ack(99)} <= {"ack"}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 13, 14, 50])
def test_it_reads_a_message_split_over_many_segments(robot: RobotSocket, size: int):
    for index in range(3):
        whole = encoded(frame(index))
        put(robot, *[whole[start : start + size] for start in range(0, len(whole), size)])
        assert robot.receive_until_ack(index) == []


@pytest.mark.parametrize("size", [0, 125 - 85, 126 - 85, 200, 65_400, 66_000, 200_000, 2**20 - 200])
def test_it_reads_messages_of_every_length(robot: RobotSocket, size: int):
    """Lengths have 7, 16 or 64 bits; a message over the limit of a frame is meta_info or is refused."""
    put(robot, encoded(frame(0, observation={"note": "x" * size})), encoded(frame(1)))
    refused = [message["code"] for message in robot.receive_until_ack(1) if message["type"] == "error"]
    assert refused == (["frame_too_large"] if size > 65_450 else [])


def test_it_reads_a_fragmented_message(robot: RobotSocket):
    put(robot, in_fragments(frame(0)) + in_fragments(frame(1), PING), encoded(frame(2)))
    assert {message["type"] for message in robot.receive_until_ack(2)} <= {"ack"}


def test_it_reads_messages_between_pings(robot: RobotSocket):
    put(robot, PING + encoded(frame(0)) + PING + PING + encoded(frame(1)), PING[:5], PING[5:] + encoded(frame(2)))
    assert {message["type"] for message in robot.receive_until_ack(2)} <= {"ack"}


def test_it_reads_half_a_message_after_a_whole_one(robot: RobotSocket):
    two = encoded(frame(1))
    put(robot, encoded(frame(0)) + two[:20], two[20:] + encoded(json.dumps(frame(2)).encode(), Opcode.BINARY))
    assert {message["type"] for message in robot.receive_until_ack(2)} <= {"ack"}


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([encoded(b'{"note":"\xff"}')], id="whole"),
        pytest.param([encoded(frame(0)) + encoded(b"\xc3")], id="after a good one"),
        pytest.param([encoded(b'{"note":', fin=False), encoded(b"\xff", Opcode.CONT)], id="in fragments"),
    ],
)
def test_it_closes_with_1007_on_invalid_utf8(robot: RobotSocket, messages: list[bytes]):
    put(robot, *messages)
    assert robot.receive_until_close()[0] == 1007


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(encoded(bytes(2**20 + 1)), id="whole"),
        pytest.param(encoded(bytes(2**19), fin=False) + encoded(bytes(2**19 + 1), Opcode.CONT), id="in fragments"),
    ],
)
def test_it_closes_with_1009_on_a_message_over_1_mib(robot: RobotSocket, message: bytes):
    put(robot, message)
    assert robot.receive_until_close()[0] == 1009


def test_it_ignores_messages_after_a_close(robot: RobotSocket):
    put(robot, encoded(frame(0)) + encoded(b"\x03\xe8", Opcode.CLOSE) + encoded(frame(1)))
    code, received = robot.receive_until_close()
    assert (code, [each["frame_index"] for each in received]) in [(1000, []), (1000, [0])]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"\x81\x05hello", id="not masked"),
        pytest.param(b"\xc1\x80abcd", id="a reserved bit"),
        pytest.param(b"\x83\x80abcd", id="an unknown opcode"),
        pytest.param(b"\x80\x80abcd", id="a continuation of nothing"),
    ],
)
def test_it_closes_with_1002_on_an_invalid_websocket_frame(robot: RobotSocket, broken: bytes):
    put(robot, encoded(frame(0)) + broken)
    assert robot.receive_until_close()[0] == 1002
