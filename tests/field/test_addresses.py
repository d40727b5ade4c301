"""Addresses of both families, forwarded addresses, foreign origins and wrong keys, on a server that listens on `::`."""

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import websocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from robots.models import Robot
from teleop.server import supervisor
from tests.raw_client import RawClient, raw_client
from tests.robot_socket import KEY, bystander, frame, register, robot_socket
from tests.services import Server, wait_until

pytestmark = pytest.mark.once

BEARER = {"Authorization": f"Bearer {KEY}"}
LIMIT = 5  # refusals a minute, before the next ones are delayed


def has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return socket.has_dualstack_ipv6()
    return False


@pytest.fixture(scope="module")
def dual(_server: Server) -> Iterator[Server]:
    """Yield a server that listens on both families. `::1` is a proxy, and a robot may have one connection."""
    if not has_ipv6():
        pytest.skip("this kernel has no IPv6, or has it disabled; no package could install it")
    limits = {"REFUSALS_PER_ADDRESS": str(LIMIT), "CONNECTIONS_PER_ROBOT": "1"}
    settings = {"DATABASE_URL": _server.settings["DATABASE_URL"], "TRUSTED_PROXIES": "[::1]"}
    server = Server(_server.folder, "--host", "::", **settings, **limits)
    yield server.start()
    server.stop()


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "bystander")


def url(server: Server, host: str, path: str = "arm") -> str:
    return f"ws://{host}:{server.port}/ws/log/{path}"


def seen_from(server: Server, host: str, **headers: str) -> str:
    """Connect a robot and return the address that the server keeps of it."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with connect(url(server, host), subprotocols=["teleop.v1"], additional_headers=BEARER | names) as robot:
        assert '"type":"session"' in robot.recv(timeout=10)
        return Robot.objects.get(pk="arm").ip_address


def test_it_keeps_the_address_of_a_client_of_either_family(dual: Server):
    assert seen_from(dual, "127.0.0.1") == "127.0.0.1"
    assert seen_from(dual, "127.0.0.1", X_Forwarded_For="192.0.2.8") == "127.0.0.1"  # no trusted proxy
    assert seen_from(dual, "[::1]") == "::1"
    assert seen_from(dual, "[::1]", X_Forwarded_For="[2001:db8::7]:443") == "2001:db8::7"
    assert seen_from(dual, "[::1]", X_Forwarded_For="192.0.2.8:5678") == "192.0.2.8"
    assert seen_from(dual, "[::1]", X_Forwarded_For="192.0.2.8, unknown") == "::1"
    assert seen_from(dual, "[::1]", Forwarded='for="[2001:db8::8]:4711";proto=https') == "2001:db8::8"


@pytest.mark.parametrize(
    "name, address",
    [
        (("fe80::1", 8000, 0, 2), "http://[fe80::1%2]:8000"),  # with the scope id, without which no worker can bind it
        (("::", 8000, 0, 0), "http://[::]:8000"),
        (("0.0.0.0", 8000), "http://0.0.0.0:8000"),
    ],
)
def test_it_names_the_address_that_it_serves_on(name: tuple, address: str):
    assert supervisor.url(SimpleNamespace(getsockname=lambda: name)) == address


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_this_machine_may_read_metrics_over_either_family(dual: Server, host: str):
    assert urllib.request.urlopen(f"http://{host}:{dual.port}/metrics", timeout=10).status == 200


def refusals(server: Server, code: str) -> float:
    page = urllib.request.urlopen(f"{server.url}/metrics", timeout=10).read().decode()
    found = [line.split()[1] for line in page.splitlines() if f'handshakes_refused_total{{code="{code}"}}' in line]
    return float(found[0]) if found else 0


ORIGINS = ["file://", "null", "http://evil.example", "http://[", "nonsense", "http://192.168.1.5:8000"]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("header", [BEARER, {"X-API-Key": KEY}], ids=["bearer", "api-key"])
def test_it_accepts_any_origin_with_a_key_in_a_header(dual: Server, origin: str, header: dict[str, str]):
    with robot_socket(dual, origin=origin, additional_headers=header) as robot:
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []


def test_it_accepts_the_origin_that_websocket_client_sends(dual: Server):
    """The library sends the address that it connects to, here one that is not in ALLOWED_HOSTS."""
    robot = websocket.create_connection(url(dual, "127.0.0.2"), header=BEARER, subprotocols=["teleop.v1"], timeout=10)
    assert '"type":"session"' in robot.recv()
    robot.close()


@pytest.mark.parametrize("origin", ORIGINS)
def test_it_reports_a_foreign_origin_without_a_key_in_a_header(dual: Server, origin: str):
    before = refusals(dual, "foreign_origin")
    headers = {"X-Forwarded-For": f"192.0.2.{ORIGINS.index(origin)}"}
    with pytest.raises(InvalidStatus) as caught:
        connect(f"{url(dual, '[::1]')}?api_key={quote(KEY)}", origin=origin, additional_headers=headers)
    assert caught.value.response.status_code == 403
    assert b"a host of ALLOWED_HOSTS expected, or the robot's key in the header" in caught.value.response.body
    wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == "foreign_origin")
    assert refusals(dual, "foreign_origin") == before + 1
    assert f"to '/ws/log/arm': Origin is {origin!r}" in dual.output()


@pytest.mark.parametrize("host, address", [("127.0.0.1", "127.0.0.1"), ("::1", "::/64")])
def test_it_reports_a_malformed_handshake_with_the_counted_address(dual: Server, host: str, address: str):
    before = refusals(dual, "malformed")
    with socket.create_connection((host, dual.port), timeout=10) as client:
        lines = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        client.sendall(f"GET /ws/log/arm HTTP/1.1\r\n{lines}Sec-WebSocket-Key: short\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == "malformed")
    assert refusals(dual, "malformed") == before + 1
    assert f"refused a WebSocket from {address} to '/ws/log/arm': bad Sec-WebSocket-Key" in dual.output()


@contextmanager
def guessing(server: Server, robot_id: str, count: int) -> Iterator[list[RawClient]]:
    """Send handshakes without a key from an address of their own; yield their clients, which await the answers."""
    with ExitStack() as stack:
        connections = [raw_client(server, robot_id, source="127.0.0.3") for _ in range(count)]
        clients = [stack.enter_context(connection) for connection in connections]
        for client in clients:
            client.socket.sendall(client.handshake)
        yield clients


def is_answered(client: RawClient) -> bool:
    client.socket.setblocking(False)
    try:
        return client.socket.recv(1000, socket.MSG_PEEK).startswith(b"HTTP/1.1 403 ")
    except BlockingIOError:
        return False


def test_it_accepts_valid_keys_while_wrong_ones_of_the_address_are_delayed(dual: Server):
    """Robots with a wrong key locked out all robots behind their address, for the rest of each minute."""
    with bystander(dual), guessing(dual, "arm", LIMIT + 15) as clients:
        wait_until(lambda: sum(map(is_answered, clients)) == LIMIT, what="the answers that are not delayed")
        wait_until(lambda: refusals(dual, "missing_key") == LIMIT + 15, what="the refusals, also of the delayed ones")
        with robot_socket(dual, source_address=("127.0.0.3", 0)) as robot:  # its one place is free
            robot.send(frame(0))
            assert robot.receive_until_ack(0) == []
            assert sum(map(is_answered, clients)) < len(clients)
        wait_until(lambda: all(map(is_answered, clients)), what="the answers that are delayed")
