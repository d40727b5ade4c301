"""Each bad message gets the answer that docs/protocol.md names for it, and no other frame is lost."""

import json
import random
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from robots.models import Robot
from teleop.protocol import MAX_DATA_BYTES, Code
from tests.robot_socket import bystander, frame, register, robot_socket, stored
from tests.services import Server, wait_until

pytestmark = pytest.mark.once

DEEP = '{"a":' * 2000 + "1" + "}" * 2000


def raw(observation: str) -> str:
    """Return a frame with an observation that no serialiser would write."""
    return f'{{"frame_index":5,"timestamp":1703318400,"observation":{observation}}}'


def without(name: str) -> dict:
    return {field: value for field, value in frame(5).items() if field != name}


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "bystander")


# Beside the frame's observation, or with a list that is not of numbers.
FLAT = {"observation.state": [1.0], "action.state": ["text"], "action.image": [[[0, 0, 0]]]}
BAD = [
    *[(text, Code.INVALID_MESSAGE, None) for text in ("", "{", "hello", "[]", "1", "null", '"x"')],
    *[(binary, Code.INVALID_MESSAGE, None) for binary in (b"", b"\0", b"\xff\xfe", random.Random(1).randbytes(5000))],
    (raw('{"a":"?"}').encode().replace(b"?", b"\xff"), Code.INVALID_MESSAGE, None),
    *[(raw(value), Code.INVALID_MESSAGE, None) for value in (DEEP, '{"a":1e999}', '{"a":"\\ud800"}')],
    (raw('{"a":NaN}'), Code.INVALID_FRAME, 5),
    *[({"type": kind}, Code.INVALID_MESSAGE, None) for kind in ("stop", None, [])],
    *[({"frames": frames}, Code.INVALID_MESSAGE, None) for frames in ([], {}, None, [frame(5)] * 601)],
    *[(without(name), Code.INVALID_FRAME, 5) for name in ("timestamp", "observation")],
    (without("frame_index"), Code.INVALID_FRAME, None),
    *[
        (frame(5, frame_index=index), Code.INVALID_FRAME, None)
        for index in ("5", 5.0, 5.5, True, None, -1, 2**31, 2**70, [])
    ],
    *[
        (frame(5, timestamp=timestamp), Code.INVALID_FRAME, 5)
        for timestamp in (1e18, -1e18, "now", True, None, 0, 946684799.999, 4102444800)
    ],
    (json.dumps(frame(5)).replace("1703318400.0833333", "NaN"), Code.INVALID_FRAME, 5),
    *[(frame(5, observation=value), Code.INVALID_FRAME, 5) for value in ([1.0], "text", 1, None)],
    *[(frame(5, action=value), Code.INVALID_FRAME, 5) for value in ([1.0, None], [[1.0]], "text", 1, None)],
    *[(frame(5, **{name: value}), Code.INVALID_FRAME, 5) for name, value in FLAT.items()],
    *[(frame(5, observation=value), Code.INVALID_FRAME, 5) for value in ({"a": "\0"}, {"\0": 1}, {"a": [{"b": "\0"}]})],
    (raw('{"a":' * 300 + "1" + "}" * 300), Code.INVALID_FRAME, 5),
    (frame(5, observation={"a": "x" * (MAX_DATA_BYTES + 1000)}), Code.FRAME_TOO_LARGE, 5),
    (frame(0), Code.OUT_OF_ORDER, 0),
    *[({"type": "start", "fps": fps}, Code.INVALID_START, None) for fps in (0, "fast", 1e9, -1, 59.94, None)],
    *[({"type": "start", "meta_info": meta}, Code.INVALID_START, None) for meta in ([], {"a": "\0"}, {"\0": 1})],
    ({"type": "start", "fps": 30}, Code.INVALID_START, None),  # after a frame
    *[({"type": "end", "meta_info": meta}, Code.INVALID_END, None) for meta in ([], {"a": "\0"}, {"a": "x" * 2**16})],
]


def test_it_answers_each_bad_message_with_its_error_code(server: Server):
    with bystander(server), robot_socket(server) as robot:
        robot.send(frame(0))
        robot.receive_until_ack(0)
        for number, (message, code, index) in enumerate(BAD):
            robot.send(message)
            error = robot.receive("error")
            expected = {"code": code, "message": 2 * number + 2, "frame_index": index}
            assert {name: error[name] for name in expected} == expected, (message, error)
            robot.send(frame(100 + number))
            assert robot.receive_until_ack(100 + number) == []
    assert stored() == [0, *range(100, 100 + len(BAD))]


def test_it_stores_the_valid_frames_of_a_batch_with_bad_ones(server: Server):
    with bystander(server), robot_socket(server) as robot:
        batch = [frame(0), frame(1, timestamp=1e18), frame(2), "no frame", frame(2), frame(3)]
        robot.send({"frames": batch})
        errors = robot.receive_until_ack(3)
    assert [(error["code"], error["message"], error["frame_index"]) for error in errors] == [
        (Code.INVALID_FRAME, 1, 1),
        (Code.INVALID_FRAME, 1, None),
        (Code.OUT_OF_ORDER, 1, 2),
    ]
    assert errors[0]["detail"].startswith("frames[1]: timestamp is 1e+18; ")
    assert stored() == [0, 2, 3]


def test_it_accepts_a_30_digit_integer(server: Server):
    with robot_socket(server) as robot:
        robot.send(raw('{"a":123456789012345678901234567890}'))
        assert robot.receive_until_ack(5) == []
    assert stored() == [5]


def test_it_accepts_gaps_between_frame_indexes(server: Server):
    with robot_socket(server) as robot:
        robot.send(frame(0), frame(7), frame(2**31 - 1))
        assert [message["code"] for message in robot.receive_until_ack(2**31 - 1) if message["type"] == "error"] == []
    assert stored() == [0, 7, 2**31 - 1]


def test_100_unusable_messages_in_a_row_close_the_connection(server: Server):
    register("noisy")  # no connection of an earlier test may set this robot's status
    with bystander(server), robot_socket(server, "noisy") as robot:
        robot.send(frame(0), *["noise"] * 100, frame(1))
        code, received = robot.receive_until_close()
    assert code == 4400
    assert [message.get("code") for message in received].count(Code.INVALID_MESSAGE) == 100
    wait_until(lambda: Robot.objects.get(pk="noisy").status == "error")
    assert Robot.objects.get(pk="noisy").last_error_code == Code.INVALID_MESSAGE
    assert stored("noisy") == [0]


def test_invalid_utf8_in_text_closes_the_connection(server: Server):
    with bystander(server), robot_socket(server) as robot:
        robot.send(frame(0))
        robot.receive_until_ack(0)
        robot.websocket.send(b"\xff\xfe", text=True)
        assert robot.receive_until_close() == (1007, [])
    wait_until(lambda: Robot.objects.get(pk="arm").status == "error")
    assert Robot.objects.get(pk="arm").last_error_code == "invalid_utf8"
    assert stored() == [0]


@pytest.mark.parametrize("fragments", [1, 8])
def test_a_message_of_2_mib_closes_the_connection(server: Server, fragments):
    with bystander(server), robot_socket(server) as robot:
        robot.send(frame(0))
        robot.receive_until_ack(0)
        with suppress(ConnectionClosed):  # before all was sent
            robot.websocket.send(["x" * (2**21 // fragments)] * fragments)
        assert robot.receive_until_close() == (1009, [])
    wait_until(lambda: Robot.objects.get(pk="arm").status == "error")
    assert Robot.objects.get(pk="arm").last_error_code == "message_too_big"


def test_a_message_of_1_mib_is_read(server: Server):
    with robot_socket(server) as robot:
        robot.send(json.dumps(frame(0)).ljust(2**20))
        assert robot.receive_until_ack(0) == []


@pytest.mark.parametrize("second", [{"fps": 30}, {"fps": 60, "meta_info": {"task": "other"}}, {}])
def test_a_second_start_with_other_values_is_refused(server: Server, second):
    with robot_socket(server) as robot:
        robot.send({"type": "start", "fps": 50}, {"type": "start", **second}, frame(0))
        (error,) = robot.receive_until_ack(0)
    assert (error["code"], error["message"]) == (Code.INVALID_START, 2)
