"""Robots with valid keys that load a worker, and a victim on the same worker: PostgreSQL, one worker on one core.

usage: python -m tests.attacks.robots PORT KIND ROBOTS CONNECTIONS SECONDS: the attacker, as its own process.
"""

import base64
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import orjson
import psutil
import pytest

from tests.attacks.victim import victim
from tests.bench.serving import LOAD_CORE
from tests.chaos.environment import postgres_database, serving
from tests.services import ROOT, Server

SECONDS = 8
TEXT, BINARY, CONTINUATION, PING, PONG = 0x81, 0x02, 0x00, 0x89, 0x8A


def wire_bytes(first: int, payload: bytes = b"") -> bytes:
    """Return a WebSocket frame, masked with zeros, so that its payload is sent unchanged."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 2**16:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8)
    return head + bytes(4) + payload


def json_bytes(value: dict) -> bytes:
    return wire_bytes(TEXT, orjson.dumps(value))


FRAME = {"frame_index": 0, "timestamp": 1703318400, "observation": {"x.pos": 1.5}}
LISTS = b'{"x":[' + b"[]," * 349_000 + b"1]}"
FLOODS = {
    "empty frames": json_bytes({"frames": [{}] * 600}),
    "old frames": json_bytes({"frames": [FRAME] * 600}),
    "pings": wire_bytes(PING) * 2000,
    "pongs": wire_bytes(PONG, b"x") * 2000,
    "fragments": wire_bytes(BINARY) + wire_bytes(CONTINUATION, b"x") * 2000,
    "one byte": (wire_bytes(TEXT, b"1") * 99 + json_bytes({"type": "start"})) * 20,
    "60 KB that are refused": json_bytes({"frame_index": 0, "observation": {"x": [1.5] * 14_000}}),
    "lists": wire_bytes(TEXT, LISTS),
    "starts": json_bytes({"type": "start", "meta_info": {"x": "x" * 60_000}}),
    "small starts": json_bytes({"type": "start"}) * 1000,
    "after the end": json_bytes({"type": "end"}) + wire_bytes(TEXT, b"1") * 10_000,
}


def handshake(port: int, path: str, subprotocol: bool = True) -> socket.socket | None:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=("127.0.0.2", 0))
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    lines += ["Sec-WebSocket-Protocol: teleop.v1"] if subprotocol else []
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    if b" 101 " in connection.recv(65536):
        return connection
    connection.close()
    return None


def flood(port: int, kind: str, path: str, until: float, sent: list[int]) -> None:
    """Send as fast as the server reads, read its answers, and connect again when it closes."""
    while time.monotonic() < until:
        with suppress(OSError):
            connection = handshake(port, path, subprotocol="mute" not in kind)
            if connection is None:
                time.sleep(0.05)
                continue
            if kind.startswith("connect"):
                connection.close()
                sent.append(1)
                continue
            payload = FLOODS[kind.removesuffix(", mute")]
            connection.setblocking(False)
            view = memoryview(payload)
            with connection:
                while time.monotonic() < until:
                    readable, writable, _ = select.select([connection], [connection], [], 0.2)
                    if readable and (not (received := connection.recv(2**18)) or received[-4:-2] == b"\x88\x02"):
                        break  # closed, for any reason
                    if writable:
                        count = connection.send(view)
                        sent.append(count)
                        view = view[count:] or memoryview(payload)


def main(port: int, kind: str, robots: int, connections: int, seconds: int) -> None:
    until, sent = time.monotonic() + seconds, []
    threads = []
    for robot in range(robots):
        for number in range(connections):
            session = "" if kind == "connect" else f"?session=session-{0 if kind == 'connect to one' else number}"
            path = f"/ws/log/attacker_{os.getpid()}_{robot}{session}"
            threads.append(threading.Thread(target=flood, args=(port, kind, path, until, sent)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{sum(sent):,} sent")  # noqa: T201


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    limits = {"HANDSHAKES_PER_ROBOT": "60", "NEW_SESSIONS_PER_ROBOT": "30"}  # by default the tests' servers have none
    with postgres_database() as (_, url), serving(url, **limits) as server:
        yield server


@pytest.mark.parametrize("robots, connections", [(1, 1), (1, 20), (8, 1)])
@pytest.mark.parametrize("kind", [*FLOODS, "empty frames, mute", "pings, mute", "connect", "connect to one"])
def test_a_flood_delays_no_ack_of_another_robot(server: Server, kind: str, robots: int, connections: int):
    if kind == "connect to one":
        connections = max(2, connections)
    with victim(server) as suffered:
        arguments = [server.port, kind, robots, connections, SECONDS]
        command = [sys.executable, "-m", "tests.attacks.robots", *map(str, arguments)]
        with subprocess.Popen(command, cwd=ROOT) as attacker:
            if len(os.sched_getaffinity(0)) > 1:
                psutil.Process(attacker.pid).cpu_affinity([LOAD_CORE])
            assert attacker.wait(SECONDS + 30) == 0
    assert suffered[0].is_fine()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
