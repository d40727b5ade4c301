"""One misbehaving robot costs the others no ack, and the log few lines."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from ipaddress import ip_network

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from teleop.asgi.refusals import RefusalMiddleware
from teleop.ingest.handshakes import HANDSHAKES_AT_ONCE
from teleop.models import TeleopFrame, TeleopSession
from tests.robot_socket import KEY, bystander, frame, register, robot_socket, stored
from tests.services import Server, wait_until

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "leg", "hand", "foot", "bystander")


def log_lines(server: Server, since: int) -> list[str]:
    """Return the lines that the server has logged about the robot."""
    return [line for line in server.output()[since:].splitlines() if "arm" in line]


def test_it_acknowledges_all_frames_of_a_flooding_client(server: Server):
    def flood(robot):
        robot.send(*[frame(index) for index in range(6000)])

    with bystander(server), robot_socket(server) as robot:
        flooding = threading.Thread(target=flood, args=[robot])
        flooding.start()
        assert {message["type"] for message in robot.receive_until_ack(5999)} <= {"ack"}
        flooding.join()
    assert TeleopFrame.objects.filter(robot="arm").count() == 6000


def test_it_closes_only_the_client_over_the_pending_limit_with_1013(strict: Server):
    with bystander(strict), robot_socket(strict, "foot?session=morning-run") as robot:
        with suppress(ConnectionClosed):
            for index in range(100):
                robot.send(frame(index, observation={"a": "x" * 60_000}))
        code, _ = robot.receive_until_close()
    assert code == 1013
    with robot_socket(strict, "foot?session=morning-run") as robot:
        assert robot.greeting["next_frame_index"] == len(stored("foot"))
    assert stored("foot") == list(range(len(stored("foot"))))  # the stored frames are a prefix of the sent ones


def test_a_connection_lost_with_pending_frames_delays_no_other_robot(server: Server):
    with bystander(server):
        for _ in range(5):
            with robot_socket(server, "arm?session=morning-run") as robot:
                first = robot.greeting["next_frame_index"]
                robot.send({"frames": [frame(index) for index in range(first, first + 500)]})
                robot.websocket.socket.close()
    wait_until(lambda: stored() and stored() == list(range(len(stored()))))


def test_it_logs_hundreds_of_bad_frames_in_one_line_per_heartbeat(server: Server):
    before = len(server.output())
    with bystander(server), robot_socket(server) as robot:
        robot.send({"frames": ["no frame"] * 200}, *[frame(0, timestamp="now")] * 200, frame(1))
        robot.receive_until_ack(1)
        wait_until(lambda: log_lines(server, before), what="a line in the log")
    assert len(log_lines(server, before)) <= 3
    assert "refused 400 messages" in "".join(log_lines(server, before))


def metric(server: Server, sample: str) -> float:
    page = urllib.request.urlopen(f"{server.url}/metrics", timeout=10).read().decode()
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(sample))


@pytest.mark.parametrize(
    "reason, flood",
    [
        ("refused", Frame(Opcode.TEXT, json.dumps({"frames": [{}] * 600}).encode()).serialize(mask=True) * 30),
        ("control", Frame(Opcode.PING, b"").serialize(mask=True) * 3000),
        (
            "fragments",
            Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
            + Frame(Opcode.CONT, b"x", fin=False).serialize(mask=True) * 3000,
        ),
    ],
)
def test_it_pauses_reading_from_an_abusive_client(server: Server, reason: str, flood: bytes):
    sample = f'teleop_reads_paused_total{{reason="{reason}"}}'
    before = metric(server, sample)
    with bystander(server), robot_socket(server) as robot:
        robot.websocket.socket.sendall(flood)
        wait_until(lambda: metric(server, sample) > before, what="a pause")


@pytest.fixture(scope="module")
def strict(_server: Server) -> Iterator[Server]:
    """Yield a server on which 1 MiB may be pending.

    A robot may connect 20 times, then once a minute, and begin 3 sessions a minute.
    """
    limits = {"HANDSHAKES_PER_ROBOT": "1", "NEW_SESSIONS_PER_ROBOT": "3"}
    limits |= {"INGEST_MAX_PENDING_BYTES": str(2**20), "INGEST_FLUSH_INTERVAL_MS": "200"}
    with Server(_server.folder, DATABASE_URL=_server.settings["DATABASE_URL"], **limits) as server:
        yield server


def refusal(server: Server, path: str, **options) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught, robot_socket(server, path, **options):
        pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["detail"] if response.body else ""


def test_it_refuses_new_sessions_over_the_limit_with_429(strict: Server):
    with ExitStack() as connected:
        for number in range(3):
            connected.enter_context(robot_socket(strict, f"arm?session=morning-{number}"))
        for path in ("arm", "arm?session=morning-3"):
            status, detail = refusal(strict, path)
            assert status == 429
            assert "more than 3 sessions per minute (NEW_SESSIONS_PER_ROBOT)" in detail
        with robot_socket(strict, "arm?session=morning-1") as robot:
            robot.send(frame(0))
            assert robot.receive_until_ack(0) == []
    assert TeleopSession.objects.filter(robot="arm").count() == 3
    assert metric(strict, 'teleop_handshakes_refused_total{code="new_sessions"}') == 2


def test_it_refuses_a_robot_that_connects_too_often(strict: Server):
    with bystander(strict), ExitStack() as connected:
        for _ in range(HANDSHAKES_AT_ONCE):
            robot = connected.enter_context(robot_socket(strict, "leg?session=morning-run"))
        status, detail = refusal(strict, "leg?session=morning-run")
        assert (status, detail) == (429, "the robot connects more than 1 times per minute (HANDSHAKES_PER_ROBOT)")
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []
    assert metric(strict, 'teleop_handshakes_refused_total{code="robot_handshakes"}') == 1


def test_it_does_not_count_handshakes_with_a_wrong_key(strict: Server):
    for _ in range(HANDSHAKES_AT_ONCE + 1):
        assert refusal(strict, "hand", key="a guess")[0] == 403
    with robot_socket(strict, "hand") as robot:
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []


def test_it_refuses_an_unencrypted_websocket_if_https_is_on(start_server):
    server = start_server(HTTPS="1", TRUSTED_PROXIES="127.0.0.1")
    header = {"Authorization": f"Bearer {KEY}"}
    for forwarded in ({}, {"X-Forwarded-Proto": "http"}):
        status, detail = refusal(server, "arm", additional_headers=header | forwarded)
        assert (status, detail) == (403, "the connection is not encrypted; wss:// expected (HTTPS=1)")
        with pytest.raises(InvalidStatus) as caught, connect(f"{server.ws_url}/ws/fleet", additional_headers=forwarded):
            pass
        assert b"wss:// expected" in caught.value.response.body
    with robot_socket(server, additional_headers=header | {"X-Forwarded-Proto": "https"}) as robot:
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []


@pytest.mark.parametrize(
    "peer, forwarded, is_let_in",
    [
        ("127.0.0.1", "https", False),  # not a trusted proxy: the header is ignored
        ("192.0.2.1", "https", True),
        ("192.0.2.1", "http", False),
        ("192.0.2.1", "", False),
    ],
)
def test_it_accepts_x_forwarded_proto_from_trusted_proxies_only(settings, peer, forwarded, is_let_in):
    settings.HTTPS, settings.TRUSTED_PROXIES = True, [ip_network("192.0.2.1")]
    reached = []

    async def application(scope, receive, send):
        reached.append(scope)

    async def ignore(message):
        pass

    headers = [(b"x-forwarded-proto", forwarded.encode())]
    scope = {"type": "websocket", "path": "/ws/log/arm", "client": [peer, 1], "headers": headers}
    asyncio.run(RefusalMiddleware(application)(scope, None, ignore))
    assert bool(reached) == is_let_in
