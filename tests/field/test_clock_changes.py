"""The server's clock is set while it serves: pings and timeouts go on as before."""

import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest
from websockets.frames import Frame, Opcode

from tests.chaos.environment import serving, sqlite_file
from tests.raw_client import masked, raw_client
from tests.robot_socket import frame
from tests.services import Server

TWO_HOURS_S = 7200


@pytest.fixture(scope="module")
def _server() -> Iterator[Server]:
    with sqlite_file() as url, serving(url, how="step_clock_on_request") as server:
        yield server


@pytest.fixture
def server(_server: Server) -> Server:
    """Return a server that pings after 1 s and waits 5 s for the pong; a request may take 1 s."""
    step_clock(_server, 0)
    return _server


def step_clock(server: Server, seconds: int) -> None:
    urllib.request.urlopen(f"{server.url}/step-clock/{seconds}", timeout=10).close()


@pytest.mark.parametrize("seconds", [-TWO_HOURS_S, pytest.param(TWO_HOURS_S, marks=pytest.mark.long)])
def test_it_pings_and_closes_a_half_open_connection(server: Server, seconds: int):
    with raw_client(server, "half_open") as client:
        client.socket.sendall(client.handshake)
        assert next(client.messages())["type"] == "session"
        step_clock(server, seconds)
        begun = time.monotonic()
        pings = [frame for frame in client.frames() if frame.opcode is Opcode.PING]
        assert len(pings) == 1
        assert 4 < time.monotonic() - begun < 10


def test_a_clock_step_does_not_shorten_the_pong_timeout(server: Server):
    """When the clock was set ahead, the server closed all connections that still owed a pong."""
    with raw_client(server, "answers") as client:
        client.socket.sendall(client.handshake)
        ping = next(frame for frame in client.frames() if frame.opcode is Opcode.PING)
        step_clock(server, TWO_HOURS_S)
        wait_for_a_timeout(server)
        client.socket.sendall(Frame(Opcode.PONG, ping.data).serialize(mask=True) + masked(frame(0)))
        assert {"type": "ack", "frame_index": 0} in client.messages()


def wait_for_a_timeout(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
        assert idle.recv(1) == b""


def test_it_closes_a_request_that_is_never_complete(server: Server):
    with raw_client(server, "trickles") as client:
        step_clock(server, -TWO_HOURS_S)
        client.socket.sendall(client.handshake[:-4])
        assert list(client.frames()) == []
