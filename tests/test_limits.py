"""Connection limits, and the effect of a flood of unknown clients on robots: on real servers."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPResponse

import pytest
from django.contrib.auth.models import User
from websockets.exceptions import InvalidStatus

from robots.models import Robot
from tests.robot_socket import bystander, frame, register, robot_socket
from tests.services import Server, wait_until
from tests.watch_connection import login, watching

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def small(_server: Server) -> Iterator[Server]:
    """Yield a server with limits of 2 connections a robot, 4 an address, 5 in all; robots are 192.0.2.x, by a proxy."""
    limits = {"CONNECTIONS_PER_ROBOT": "2", "CONNECTIONS_PER_ADDRESS": "4", "CONNECTIONS_PER_WORKER": "5"}
    limits |= {"HTTP_CONNECTIONS_PER_ADDRESS": "40", "HTTP_REQUESTS_PER_ADDRESS": "10"}
    settings = {"DATABASE_URL": _server.settings["DATABASE_URL"], "TRUSTED_PROXIES": "127.0.0.1"}
    with Server(_server.folder, **settings, **limits, WATCHERS_PER_WORKER="1") as server:
        yield server


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "leg", "hand", "bystander")


def fleet(server: Server, connected: ExitStack, *robots: str, address: str) -> list:
    header = {"Authorization": "Bearer a robot's key", "X-Forwarded-For": address}
    return [connected.enter_context(robot_socket(server, each, additional_headers=header)) for each in robots]


def refused(server: Server, robot: str, address: str) -> tuple[int, str]:
    """Return the HTTP status and the body of the refusal."""
    with pytest.raises(InvalidStatus) as caught, ExitStack() as connected:
        fleet(server, connected, robot, address=address)
    response = caught.value.response
    return response.status_code, json.loads(response.body)["detail"]


def test_it_names_each_connection_limit_and_frees_closed_connections(small: Server):
    with ExitStack() as connected:
        arms = fleet(small, connected, "arm", "arm", address="192.0.2.1")
        full = (429, "the robot already has 2 connections, the maximum (CONNECTIONS_PER_ROBOT)")
        assert refused(small, "arm", "192.0.2.2") == full
        fleet(small, connected, "leg", "leg", address="192.0.2.1")
        full = (429, "this address already has 4 connections, the maximum (CONNECTIONS_PER_ADDRESS)")
        assert refused(small, "hand", "192.0.2.1") == full
        fleet(small, connected, "hand", address="192.0.2.2")
        full = (503, "this worker already has 5 connections, the maximum (CONNECTIONS_PER_WORKER)")
        assert refused(small, "hand", "192.0.2.3") == full
        arms[0].send(frame(0))
        assert arms[0].receive_until_ack(0) == []
        wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == "robot_full")
    page = urllib.request.urlopen(f"{small.url}/metrics", timeout=10).read().decode()
    for code in ("robot_full", "address_full", "worker_full"):
        assert f'teleop_handshakes_refused_total{{code="{code}"}} 1.0' in page
    wait_until(lambda: has_room(small, "arm", "arm", "leg", "leg"))


def has_room(server: Server, *robots: str) -> bool:
    with ExitStack() as connected, suppress(InvalidStatus):
        return bool(fleet(server, connected, *robots, address="192.0.2.1"))
    return False


def test_it_refuses_watchers_over_the_limit_with_503(small: Server):
    headers = login(User.objects.create_superuser("admin"))
    with watching(small, "fleet", headers) as page, robot_socket(small) as robot:
        with pytest.raises(InvalidStatus) as caught, watching(small, "live/arm", headers):
            pass
        assert caught.value.response.status_code == 503
        assert b"WATCHERS_PER_WORKER" in caught.value.response.body
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []
        assert page.next()["type"] == "fleet"


def fetch(server: Server, address: str, lines: str = "", connections: ExitStack | None = None) -> HTTPConnection:
    """Send the head of a request, of `GET /health/live` unless `lines` says otherwise."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.connect()
    head = lines or "GET /health/live HTTP/1.1"
    connection.send(f"{head}\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n\r\n".encode())
    if connections:
        connections.callback(connection.close)
    return connection


def answer(connection: HTTPConnection) -> tuple[int, dict]:
    with HTTPResponse(connection.sock) as response:
        response.begin()
        return response.status, json.load(response)


def counted(server: Server, code: str) -> float:
    page = urllib.request.urlopen(f"{server.url}/metrics", timeout=10).read().decode()
    found = [line.split()[1] for line in page.splitlines() if f'teleop_http_refused_total{{code="{code}"}}' in line]
    return float(found[0]) if found else 0


STALLED = "POST /robots HTTP/1.1\r\nContent-Length: 1000"


def test_it_limits_concurrent_requests_of_an_address_with_429(small: Server):
    with bystander(small), ExitStack() as stack:
        for _ in range(40):
            fetch(small, "192.0.2.10", STALLED, stack)
        status, body = answer(fetch(small, "192.0.2.10", STALLED, stack))
        assert (status, body["detail"]) == (
            429,
            "this address already has 40 connections with a request, the maximum (HTTP_CONNECTIONS_PER_ADDRESS)",
        )
        assert answer(fetch(small, "192.0.2.11", connections=stack))[0] == 200
        fleet(small, stack, "arm", address="192.0.2.10")
    wait_until(lambda: answer(fetch(small, "192.0.2.10"))[0] == 200, what="room for another one")
    assert counted(small, "http_connections")


def test_it_queues_requests_of_an_address_and_refuses_more_with_429(small: Server):
    with bystander(small), ExitStack() as stack:
        asking = [fetch(small, "192.0.2.12", connections=stack) for _ in range(36)]
        answers = [answer(connection) for connection in asking]
        fleet(small, stack, "arm", address="192.0.2.12")
    statuses = [status for status, _ in answers]
    assert statuses.count(200) >= 25  # 5 at once, and 20 in the two seconds that a request may wait
    assert statuses.count(429) > 0
    detail = "too many requests from this address; at most 10 per second expected (HTTP_REQUESTS_PER_ADDRESS)"
    assert {body["detail"] for status, body in answers if status == 429} == {detail}
    assert counted(small, "http_requests") >= statuses.count(429)


def test_it_answers_all_pipelined_requests(small: Server):
    request = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.13\r\n\r\n"
    with bystander(small), socket.create_connection(("127.0.0.1", small.port), timeout=20) as pipelining:
        pipelining.sendall(request.encode() * 12)
        received = b""
        while received.count(b'{"status":"ok"}') < 12:
            received += pipelining.recv(2**16) or pytest.fail(f"closed after {received!r}")
    assert received.count(b"HTTP/1.1 200") == 12


@pytest.mark.parametrize("path", ["/health/live", "/robots", "/videos"])
def test_it_refuses_a_chunked_body_with_411(small: Server, path: str):
    """Two connections sent one-byte chunks, and no client got an answer any more."""
    head = f"POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked"
    with bystander(small), ExitStack() as stack:
        connection = fetch(small, "192.0.2.14", head, stack)
        connection.sock.sendall(b"1\r\na\r\n" * 100_000)
        assert answer(connection) == (
            411,
            {"detail": "Content-Length is missing; it is required, as chunked bodies are not accepted"},
        )
    assert counted(small, "chunked_body")


def test_a_handshake_with_a_body_is_refused(small: Server):
    lines = "GET /ws/log/arm HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5"
    assert answer(fetch(small, "192.0.2.15", lines))[0] == 400


@pytest.mark.parametrize(
    "head, status, part",
    [
        (f"GET /{'a' * 20_000} HTTP/1.1", 414, "the request line"),
        (f"GET /{'a' * 200_000} HTTP/1.1", 414, "the request line"),
        (f"GET / HTTP/1.1\r\nCookie: {'a' * 20_000}", 431, "a header"),
    ],
    ids=["request-line", "long-request-line", "header"],
)
def test_it_answers_a_request_with_a_line_over_16_kib(small: Server, head: str, status: int, part: str):
    with ExitStack() as stack:
        assert answer(fetch(small, "192.0.2.16", head, stack)) == (
            status,
            {"detail": f"{part} is longer than 16384 bytes"},
        )


@pytest.fixture(scope="module")
def direct(_server: Server) -> Iterator[Server]:
    """Yield a server without a proxy that accepts 100 connections of an address."""
    limits = {"CONNECTIONS_PER_ADDRESS": "100", "HTTP_CONNECTIONS_PER_ADDRESS": "100"}
    with Server(_server.folder, DATABASE_URL=_server.settings["DATABASE_URL"], **limits) as server:
        yield server


def test_it_closes_connections_of_an_address_that_sends_no_requests(direct: Server):
    def is_closed_at_once() -> bool:
        with socket.socket() as connection, suppress(ConnectionResetError, BrokenPipeError):
            connection.bind(("127.0.0.2", 0))
            connection.connect(("127.0.0.1", direct.port))
            connection.sendall(b"no request\r\n\r\n")
            return connection.recv(1000) == b""
        return True

    with bystander(direct):
        wait_until(is_closed_at_once, what="a connection that is closed when it is accepted")
    assert counted(direct, "bad_head") and counted(direct, "new_connections")


def test_idle_connections_of_an_address_do_not_block_its_robots(direct: Server):
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", direct.port))) for _ in range(105)]
        with bystander(direct):
            for connection in idle[:5]:
                connection.settimeout(10)
                assert connection.recv(1) == b""  # closed to make room for newer ones
        assert counted(direct, "idle_connections") >= 5
