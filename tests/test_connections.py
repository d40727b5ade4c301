"""TCP connections that end with a reset, or come in large numbers."""

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest
from websockets.frames import Opcode

from tests.chaos.environment import serving, sqlite_file
from tests.raw_client import RawClient, masked, raw_client
from tests.robot_socket import frame, robot_socket
from tests.services import Server, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with sqlite_file() as url, serving(url, how="ping_often") as server:
        yield server


def ports(server: Server) -> set[int]:
    """Return the clients' ports of the sockets that the server has open."""
    connections = psutil.Process(server.pid).net_connections("tcp")
    return {connection.raddr.port for connection in connections if connection.raddr}


@contextlib.contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Freeze the server: all events of the block reach it at once when it continues."""
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


def greeted(client: RawClient) -> RawClient:
    client.socket.sendall(client.handshake)
    assert next(client.messages())["type"] == "session"
    return client


@pytest.mark.parametrize(
    "count", [pytest.param(1, marks=pytest.mark.long), 300], ids=["a frame", "as many as the window takes"]
)
def test_a_reset_after_frames_closes_only_its_own_connection(server: Server, count: int):
    """The first write to such a socket raised "UVPoll closed"; if it was a ping, it ended all pings."""
    before = len(server.output())
    with raw_client(server, "stays") as other:
        greeted(other)
        with raw_client(server, f"is_killed_{count}") as client:
            port = greeted(client).socket.getsockname()[1]
            with frozen(server):
                client.socket.sendall(masked(*(frame(index, note="x" * 300) for index in range(count))))
                client.reset()
        wait_until(
            lambda: "connection closed with" in server.output()[before:], 5, "the end of the session's connection"
        )
        assert (f"after {count} messages" in server.output()[before:]) or count > 1
        assert port not in ports(server)
        assert "Traceback" not in server.output()[before:]
        assert any(received.opcode is Opcode.PING for received in other.frames())


def test_it_serves_a_client_behind_many_idle_connections():
    """Connections that have sent nothing yet take no place in the queue of new connections."""
    with sqlite_file() as url, serving(url) as server, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        begun = time.monotonic()
        with robot_socket(server, key=None) as robot:
            robot.send(frame(0))
            assert robot.receive_until_ack(0) == []
        assert time.monotonic() - begun < 2


def test_it_closes_sockets_of_clients_reset_during_the_handshake(server: Server):
    with ExitStack() as stack, frozen(server):
        clients = [stack.enter_context(raw_client(server, f"left_{number}")) for number in range(50)]
        before = {client.socket.getsockname()[1] for client in clients}
        for client in clients:
            client.socket.sendall(client.handshake)
            client.reset()
    wait_until(lambda: not before & ports(server), 5, "their sockets closed")
    with robot_socket(server, "again", key=None) as robot:
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []
