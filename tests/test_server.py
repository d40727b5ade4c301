"""Differences between `serve` and stock Daphne, on a real server."""

import http.client
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from teleop.server.daphne import Server as Daphne
from teleop.server.daphne import WebSocketProtocol
from tests.chaos.environment import serving, sqlite_file
from tests.patched_server import CHUNK, CHUNKS
from tests.robot_socket import frame, robot_socket
from tests.services import Server, wait_until


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sqlite_file() as url:
        yield url


@pytest.fixture(scope="module")
def server(url: str) -> Iterator[Server]:
    with serving(url, how="serve_test_views") as server:
        yield server


@pytest.mark.parametrize("path", ["", "ws", "ws/", "ws/logs/arm", "health", "ws/live/nothing"])
def test_an_unknown_websocket_path_is_refused(server: Server, path: str):
    with pytest.raises(InvalidStatus) as caught:
        connect(f"{server.ws_url}/{path}")
    assert caught.value.response.status_code == 403


def rss(server: Server) -> int:
    return psutil.Process(server.pid).memory_info().rss


def request(server: Server, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    return connection.getresponse()


def test_it_does_not_buffer_a_stream_for_a_slow_reader(server: Server):
    before, size = rss(server), 0
    with closing(request(server, "/stream")) as response:
        for _ in range(20):
            size += len(response.read(len(CHUNK)))
            time.sleep(0.05)  # as long as a slow reader takes
            assert rss(server) - before < 20 * 2**20
        while block := response.read(2**20):
            size += len(block)
    assert size == len(CHUNK) * CHUNKS
    assert rss(server) - before < 20 * 2**20


def test_it_closes_all_descriptors_after_a_reader_disconnects(server: Server):
    process = psutil.Process(server.pid)
    before = process.num_fds()
    for _ in range(5):
        with closing(request(server, "/stream")) as response:
            response.read(1)
    wait_until(lambda: process.num_fds() <= before, what="descriptors as before")


def test_an_exception_in_a_stream_closes_the_connection(server: Server):
    for _ in range(2):  # in stock Daphne the first exception stops the check of its applications
        begun = time.monotonic()
        cut_off = pytest.raises((http.client.IncompleteRead, ConnectionResetError))
        with closing(request(server, "/break-off")) as response, cut_off:
            response.read()
        assert time.monotonic() - begun < 5
    with robot_socket(server, key=None) as robot:
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []


def test_it_serves_static_files(server: Server):
    assert urllib.request.urlopen(f"{server.url}/static/admin/css/base.css", timeout=10).status == 200


def test_it_disconnects_a_robot_that_does_not_read(server: Server):
    """The server answers each batch with 600 refusals: 0.5 GB in all if it kept them."""
    bad = {"frames": [{"frame_index": index} for index in range(600)]}
    before = rss(server)
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
        with robot_socket(server, key=None, sock=plain, max_queue=1) as robot, pytest.raises(ConnectionClosed):
            robot.send(*[bad] * 5_000)
    assert rss(server) - before < 20 * 2**20


@pytest.mark.long
def test_it_disconnects_a_client_that_answers_no_ping(url: str):
    """The server pings after 1 s and disconnects 1 s later; a client that sends only pongs stays connected."""
    with (
        serving(url, how="ping_often") as server,
        robot_socket(server, key=None) as other,
        robot_socket(server, key=None) as dead,
    ):
        begun = time.monotonic()
        dead.websocket.protocol.send_frame = lambda frame: None
        assert dead.receive_until_close()[0] == 1006
        assert time.monotonic() - begun < 8
        other.send(frame(0))
        assert other.receive_until_ack(0) == []


def test_it_closes_no_connection_because_of_its_age():
    """Stock Daphne closes with 1000 after a day, which a robot takes for the end of its session."""
    protocol = WebSocketProtocol()
    protocol.server = Daphne(None, socket.socket())
    protocol.socket_opened, protocol.last_ping = -(10**6), time.monotonic()
    protocol.state = protocol.STATE_OPEN
    protocol.serverClose = lambda code=None: pytest.fail("closed by its age")
    protocol.check_timeouts()
