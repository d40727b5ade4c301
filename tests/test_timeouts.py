"""Closed connections of clients that send or read slowly, or are silent (here after 1 s); robots lose no ack."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection

import psutil
import pytest

from teleop.ingest.handshakes import OPEN_TIMEOUT_S
from teleop.server.daphne import Server as Daphne
from tests.chaos.environment import serving, sqlite_file
from tests.robot_socket import frame, robot_socket
from tests.services import Server, wait_until

HEAD = b"POST /robots HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with sqlite_file() as url, serving(url, how="shorten_timeouts") as server:
        yield server


def closes(server: Server, begin: bytes, trickle: bytes, every_s: float = 0.05) -> bool:
    """Return whether the server closes the connection within 5 s while `trickle` is sent every `every_s` seconds."""
    deadline = time.monotonic() + 5
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(begin)
        slow.settimeout(every_s)
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                try:
                    if not slow.recv(1000):
                        return True
                except ConnectionResetError:
                    return True
            with suppress(BrokenPipeError, ConnectionResetError):
                slow.sendall(trickle)
    return False


@pytest.mark.parametrize(
    "begin, trickle",
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"GET /ws/log/arm HTTP/1.1\r\n", b"X-A: b\r\n", id="head"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"", id="no further request"),
        pytest.param(HEAD + b"Content-Length: 1000000\r\n\r\n", b"x", id="body"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunked body"),
    ],
)
def test_it_closes_a_request_that_arrives_too_slowly(server: Server, begin: bytes, trickle: bytes):
    assert closes(server, begin, trickle)


def test_it_accepts_a_long_upload_at_a_steady_rate(server: Server):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.putrequest("POST", "/stream")
    connection.putheader("Content-Length", "100000")
    connection.endheaders()
    for _ in range(20):
        connection.send(b"x" * 5000)
        time.sleep(0.1)  # 2 s in all; the server closes after 1 s of silence
    assert connection.getresponse().status == 403  # the body was read to its end: a form without CSRF token


def test_it_closes_a_response_that_the_client_does_not_read(server: Server):
    process = psutil.Process(server.pid)
    with socket.create_connection(("127.0.0.1", server.port)) as stalled:
        stalled.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        here = stalled.getsockname()

        def ours() -> list:
            return [each for each in process.net_connections("tcp") if each.raddr == here]

        wait_until(ours, what="the connection")
        wait_until(lambda: not ours(), 10, "its end")


def test_it_acknowledges_frames_beside_1000_idle_connections(server: Server):
    with ExitStack() as idle, robot_socket(server, key=None) as robot:
        strangers = [idle.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(1000)]
        for index in range(10):
            robot.send(frame(index))
            robot.receive_until_ack(index)
        for stranger in strangers:
            stranger.settimeout(10)
            assert stranger.recv(1) == b""


def test_the_handshake_timeout_exceeds_the_open_timeout():
    """Past the handshake timeout the server closes the socket; past the connect timeout it sends a final 403."""
    server = Daphne(None, socket.socket())
    assert OPEN_TIMEOUT_S < server.websocket_handshake_timeout < server.websocket_connect_timeout
