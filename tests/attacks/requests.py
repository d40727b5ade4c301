"""Flood the server with HTTP requests and connections from a separate address, beside a victim: `make attack`.

usage for one flood alone: python -m tests.attacks.requests KIND PORT SECONDS
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attacks.victim import victim
from tests.chaos.environment import postgres_database, serving
from tests.services import ROOT, Server

ATTACKER = "127.0.0.2"  # the requests for a robot's key and for the server's health come from another address
ATTACK_S = 8
HOST = b"Host: localhost\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n" % (
    b"dGhlIHNhbXBsZSBub25jZQ=="
)
SWAGGER_UI = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
GET_LIVE = b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n"


def get(path: str, headers: bytes = b"") -> bytes:
    return b"GET %s HTTP/1.1\r\n" % path.encode() + HOST + headers + b"\r\n"


def post(path: str, headers: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\n" % path.encode() + HOST + headers + b"\r\n"


def pour(connection: socket.socket, begin: bytes, then: bytes) -> None:
    """Send the same data again and again, and read nothing."""
    connection.sendall(begin)
    while True:
        connection.sendall(then)


def fetch(connection: socket.socket, request: bytes) -> None:
    """Send a request and read the answers as fast as they arrive."""
    while True:
        connection.sendall(request)
        head, _, body = connection.recv(2**16).partition(b"\r\n\r\n")
        if b"Connection: close" in head or b" 101 " in head:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        while len(body) < length and (more := connection.recv(2**20)):
            length -= len(more)


def stay(connection: socket.socket, begin: bytes) -> None:
    """Keep a connection open, and end a second after its loss; the flood then connects again."""
    try:
        connection.sendall(begin)
        while connection.recv(2**16):
            pass
    finally:
        time.sleep(1)


LENGTH = b"Content-Length: %d\r\n"
# The number of simultaneous connections, and the action that each repeats.
FLOODS: dict[str, tuple[int, Callable[[socket.socket], None]]] = {
    "chunks of a byte": (
        2,
        lambda s: pour(s, post("/health/live", b"Transfer-Encoding: chunked\r\n"), b"1\r\na\r\n" * 10_000),
    ),
    "segments of a byte": (2, lambda s: pour(s, post("/health/live", LENGTH % 2**20), b"a")),
    "lines of a head": (20, lambda s: pour(s, b"GET / HTTP/1.1\r\n", b"A: b\r\n")),
    "pipelined requests": (2, lambda s: pour(s, b"", GET_LIVE * 1_000)),
    "health": (8, lambda s: fetch(s, get("/health"))),
    "static files": (8, lambda s: fetch(s, get(SWAGGER_UI))),
    "refused handshakes": (10, lambda s: fetch(s, get("/ws/fleet", UPGRADE))),
    "broken handshakes": (10, lambda s: fetch(s, get("/ws/fleet", b"Upgrade: websocket\r\n"))),
    "connections": (4, lambda s: None),
    "half a head": (1500, lambda s: stay(s, b"GET / HTTP/1.1\r\n")),
    "stalled uploads": (1000, lambda s: stay(s, post("/videos", LENGTH % 2**20))),
    "large bodies": (10, lambda s: pour(s, post("/health/live", LENGTH % 2**31), bytes(2**16))),
    "uploads": (10, lambda s: pour(s, post("/videos", LENGTH % 2**30), bytes(2**16))),
}


def flood(kind: str, port: int, seconds: float) -> None:
    connections, attack = FLOODS[kind]
    deadline = time.monotonic() + seconds

    def attack_again() -> None:
        while time.monotonic() < deadline:
            with suppress(OSError), socket.socket() as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                connection.bind((ATTACKER, 0))
                connection.connect(("127.0.0.1", port))
                attack(connection)

    for _ in range(connections):
        threading.Thread(target=attack_again, daemon=True).start()
    time.sleep(seconds)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_database() as (_, url):
        yield url


@pytest.fixture
def server(url: str) -> Iterator[Server]:
    with serving(url) as server:
        yield server


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_delays_no_ack_of_a_robot(server: Server, kind: str):
    command = [sys.executable, "-m", "tests.attacks.requests", kind, str(server.port), str(ATTACK_S)]
    with victim(server) as suffered:
        with subprocess.Popen(command, cwd=ROOT) as attacker:
            time.sleep(ATTACK_S / 2)
            spooled = spooled_bytes(server)
        assert attacker.returncode == 0
    assert suffered[0].is_fine()
    assert spooled <= FLOODS[kind][0] * 2**20 or kind == "uploads"  # 1 MiB a connection


def spooled_bytes(server: Server) -> int:
    """Return the size of the deleted files that the server has open: incomplete request bodies."""
    size = 0
    for file in (file for pid in server.pids for file in Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(FileNotFoundError):  # the server closed it meanwhile
            size += file.stat().st_size * str(file.readlink()).endswith("(deleted)")
    return size


if __name__ == "__main__":
    flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
