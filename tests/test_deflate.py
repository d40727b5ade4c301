"""Robots that compress their messages (permessage-deflate): on real servers, and through nginx."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Opcode

from teleop.tests import test_deflate as messages
from tests.nginx import Nginx
from tests.robot_socket import RobotSocket, bystander, frame, register, robot_socket, stored
from tests.services import Server, wait_until

pytestmark = pytest.mark.once
MAX_GROWTH_BYTES = 20 * 2**20


@pytest.fixture(scope="module")
def inflating(_server: Server) -> Iterator[Server]:
    with Server(_server.folder, DATABASE_URL=_server.settings["DATABASE_URL"], WEBSOCKET_DEFLATE="1") as server:
        yield server


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "bystander")


def offer(**parameters) -> dict:
    """Return options of a connection that offers the extension; websockets offers no other one then."""
    return {"extensions": [ClientPerMessageDeflateFactory(**parameters)]}


def agreed(robot: RobotSocket) -> str | None:
    return robot.websocket.response.headers.get("Sec-WebSocket-Extensions")


def send_300(robot: RobotSocket) -> None:
    robot.send(*map(frame, range(100)), {"frames": [frame(index) for index in range(100, 300)]})


@pytest.mark.parametrize("no_context", [False, True], ids=["context", "no context"])
@pytest.mark.parametrize("bits", [9, 15])
def test_it_stores_compressed_frames(inflating: Server, bits: int, no_context: bool):
    parameters = {"client_max_window_bits": bits, "client_no_context_takeover": no_context}
    with robot_socket(inflating, **offer(**parameters)) as robot:
        assert f"client_max_window_bits={bits}" in agreed(robot)
        assert ("client_no_context_takeover" in agreed(robot)) == no_context
        send_300(robot)
        assert {message["type"] for message in robot.receive_until_ack(299)} <= {"ack"}
    assert stored() == list(range(300))


def test_the_client_may_keep_its_context_unless_it_offers_not_to(inflating: Server):
    with robot_socket(inflating, **offer()) as robot:
        assert agreed(robot) == "permessage-deflate"


def test_it_stores_compressed_frames_of_a_mute_client(inflating: Server):
    with robot_socket(inflating, mute=True, **offer()) as robot:
        send_300(robot)
        wait_until(lambda: len(stored()) == 300)


def test_a_robot_that_offers_compression_stays_plain_if_the_setting_is_off(server: Server):
    with robot_socket(server, **offer()) as robot:
        assert (agreed(robot), robot.websocket.protocol.extensions) == (None, [])
        send_300(robot)
        robot.receive_until_ack(299)
    assert stored() == list(range(300))


def test_nginx_passes_the_extension_on(inflating: Server, tmp_path: Path):
    with Nginx(tmp_path, inflating, tmp_path) as nginx:
        address = SimpleNamespace(ws_url=nginx.url.replace("http", "ws"))
        with robot_socket(address, **offer()) as robot:
            assert agreed(robot) == "permessage-deflate"
            send_300(robot)
            robot.receive_until_ack(299)
    assert stored() == list(range(300))


def most_bytes(server: Server) -> int:
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) * 1024


def test_a_bomb_of_a_gigabyte_costs_little_memory_and_no_ack_of_another_robot(inflating: Server):
    with bystander(inflating):
        before = most_bytes(inflating)
        with robot_socket(inflating, **offer()) as robot:
            robot.send(frame(0))
            robot.receive_until_ack(0)
            robot.websocket.socket.sendall(messages.frame(messages.MIB * 950, Opcode.BINARY, bits=messages.RSV1))
            assert robot.receive_until_close() == (1009, [])
        assert most_bytes(inflating) - before < MAX_GROWTH_BYTES
    assert stored() == [0]


def test_it_closes_with_1007_on_damaged_data_and_keeps_earlier_frames(inflating: Server):
    with robot_socket(inflating, **offer()) as robot:
        robot.send(frame(0), frame(1))
        robot.websocket.socket.sendall(messages.frame(b"\xff" * 20, bits=messages.RSV1))
        code, received = robot.receive_until_close()
    assert (code, [message for message in received if message["type"] != "ack"]) == (1007, [])
    wait_until(lambda: stored() == [0, 1])
