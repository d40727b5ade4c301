"""Handshakes that wait for the database: clients that disconnect meanwhile, deleted robots, and SIGTERM."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from socket import SHUT_RDWR, create_connection, socket
from typing import NamedTuple

import psutil
import psycopg
import pytest
import requests
from django.db import connection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from robots.models import Robot
from teleop.models import TeleopSession
from tests.chaos.environment import postgres_database, serving
from tests.robot_socket import KEY, RobotSocket, bystander, frame, register, robot_socket
from tests.services import Server, wait_until

pytestmark = pytest.mark.postgresql

HERE = "arm?session=morning-run"
HEARTBEAT_S, END_S = 3, 5
# The locks conflict with the insert of a session, of a frame, and with the heartbeat of a robot. Frames lock their
# session's row, which a table locked in this mode allows.
SESSIONS = "LOCK TABLE teleop_teleopsession IN SHARE ROW EXCLUSIVE MODE"
FRAMES = "LOCK TABLE teleop_teleopframe IN SHARE MODE"
ROBOTS = "LOCK TABLE robots_robot IN SHARE ROW EXCLUSIVE MODE"
BLOCKED = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"

OTHER_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()"


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "leg", "bystander")


@contextmanager
def holding(server: Server, statement: str) -> Iterator[psycopg.Connection]:
    """Execute the statement as another client, which holds its locks until the block or its transaction ends."""
    with psycopg.connect(server.settings["DATABASE_URL"]) as other:
        other.execute(statement)
        try:
            yield other
        finally:
            other.rollback()


def blocked_by(other: psycopg.Connection) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(BLOCKED, [other.info.backend_pid])
        return [pid for (pid,) in cursor.fetchall()]


def runs(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid])
        return cursor.fetchone() is not None


def is_accepted(server: Server, handshake: "Handshake") -> bool:
    port = handshake.end.getsockname()[1]
    connections = psutil.Process(server.pid).net_connections("tcp")
    return any(connection.raddr and connection.raddr.port == port for connection in connections)


class Handshake(NamedTuple):
    """A handshake that another thread waits for; `websocket.result()` raises InvalidStatus if the server refuses it."""

    end: socket
    websocket: Future[ClientConnection]

    def abort(self) -> None:
        self.end.shutdown(SHUT_RDWR)
        self.websocket.exception(timeout=5)


class Handshakes:
    """Robots that connect in the background; closing `stack` disconnects them."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack
        self._threads = stack.enter_context(ThreadPoolExecutor())

    def begin(self, path: str) -> Handshake:
        end = create_connection(("127.0.0.1", self.server.port))
        future = self._threads.submit(self._connect, path, end)
        self.arrive()
        return Handshake(end, future)

    def _connect(self, path: str, end: socket) -> ClientConnection:
        options = {"subprotocols": ["teleop.v1"], "compression": None, "open_timeout": 20, "close_timeout": 1}
        headers = {"Authorization": f"Bearer {KEY}"}
        robot = connect(f"{self.server.ws_url}/ws/log/{path}", sock=end, additional_headers=headers, **options)
        return self._stack.enter_context(robot)

    def arrive(self) -> None:
        """Wait until all data sent so far has reached the consumers: the server answers requests in between."""
        for _ in range(3):
            assert requests.get(f"{self.server.url}/health/live", timeout=5).ok


@pytest.fixture
def handshakes(server: Server) -> Iterator[Handshakes]:
    with ExitStack() as stack:
        yield Handshakes(server, stack)


def outcome(handshake: Handshake) -> int:
    """Return the HTTP status of a refusal, or the close code of the server."""
    try:
        robot = handshake.websocket.result(timeout=15)
        robot.recv(timeout=END_S)
    except InvalidStatus as refusal:
        return refusal.response.status_code
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006
    raise AssertionError("the robot was greeted")


def live(robot_id: str = "arm") -> list[TeleopSession]:
    return list(TeleopSession.objects.live().filter(robot=robot_id))


def test_it_gives_a_session_to_one_of_two_simultaneous_clients(server: Server, handshakes: Handshakes):
    with holding(server, SESSIONS) as other:
        both = [handshakes.begin(HERE) for _ in range(2)]
        wait_until(lambda: blocked_by(other), what="a handshake waits")
    robots = [handshake.websocket.result(timeout=10) for handshake in both]
    wait_until(lambda: sum(robot.close_code is not None for robot in robots) == 1, what="one of them is closed")
    assert [robot.close_code for robot in robots if robot.close_code] == [4409]
    (owner,) = [RobotSocket(robot) for robot in robots if robot.close_code is None]
    assert owner.greeting["next_frame_index"] == 0
    owner.send(frame(0))
    assert owner.receive_until_ack(0) == []
    owner.send({"type": "end"})
    assert owner.receive("ended")["frame_count"] == 1
    assert TeleopSession.objects.count() == 1


def test_it_leaves_no_live_session_after_an_aborted_handshake(server: Server, handshakes: Handshakes):
    with holding(server, SESSIONS) as other:
        leaving, staying = handshakes.begin("arm"), handshakes.begin("leg")
        wait_until(lambda: blocked_by(other), what="a handshake waits")
        leaving.abort()
        handshakes.arrive()
    assert RobotSocket(staying.websocket.result(timeout=10)).greeting["next_frame_index"] == 0
    wait_until(lambda: not live("arm"), 5, "no live session")
    assert len(live("leg")) == 1


@pytest.mark.long
def test_an_aborted_handshake_leaves_the_session_to_its_owner(server: Server, handshakes: Handshakes):
    """The owner's heartbeat is due while the handshake waits, and is written right after the handshake."""
    with robot_socket(server, HERE) as owner:
        owner.send(frame(0))
        owner.receive_until_ack(0)
        saved_at = time_of_heartbeat(frame_count=1)
        wait_until(lambda: time.monotonic() > saved_at + HEARTBEAT_S - 0.2, what="the next heartbeat is due soon")
        with holding(server, SESSIONS) as other:
            next_one = handshakes.begin(HERE)
            wait_until(lambda: blocked_by(other), what="the handshake waits")
            next_one.abort()
            wait_until(lambda: time.monotonic() > saved_at + HEARTBEAT_S + 0.1, what="the heartbeat waits")
        owner.send(frame(1))
        assert owner.receive_until_ack(1) == []
        time_of_heartbeat(frame_count=2)
        owner.send(frame(2))
        assert owner.receive_until_ack(2) == []


def time_of_heartbeat(frame_count: int) -> float:
    """Wait until a heartbeat has saved this count."""
    wait_until(TeleopSession.objects.live().filter(frame_count=frame_count).exists, 10, "a heartbeat")
    return time.monotonic()


def test_it_refuses_a_robot_deleted_during_its_handshake(server: Server, handshakes: Handshakes):
    with holding(server, "DELETE FROM robots_robot WHERE id = 'arm'") as other:
        deleted = handshakes.begin("arm")
        wait_until(lambda: blocked_by(other), what="the handshake waits")
        with robot_socket(server, "leg", open_timeout=4) as admitted:
            admitted.send(frame(0))
            assert admitted.receive_until_ack(0) == []
        other.commit()
    assert outcome(deleted) in (403, 1013)  # the server may answer 1013 before the row is unlocked
    assert outcome(handshakes.begin("arm")) == 403
    assert not Robot.objects.filter(pk="arm").exists()


def backend_of(server: Server, statement: str) -> int:
    """Return the pid of the server's database session that waits for the statement's lock."""
    with holding(server, statement) as other:
        return wait_until(lambda: blocked_by(other), 10, "a session that waits")[0]


def test_it_has_one_database_session_for_frames_and_one_for_bookkeeping(server: Server):
    with bystander(server):
        assert backend_of(server, FRAMES) != backend_of(server, ROBOTS)


@pytest.mark.parametrize("lost", [FRAMES, ROBOTS])
def test_it_reconnects_after_one_of_its_database_sessions_ended(server: Server, lost: str):
    with bystander(server):
        pid = backend_of(server, lost)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: not runs(pid), what="its end")
        assert backend_of(server, lost) != pid
        with robot_socket(server) as robot:
            robot.send({"type": "start", "meta_info": {"task": "Fold the towel"}}, frame(0), {"type": "end"})
            assert robot.receive("ended")["frame_count"] == 1
    assert TeleopSession.objects.get(robot="arm").meta_info == {"task": "Fold the towel"}


@pytest.mark.parametrize("is_released", [pytest.param(True, marks=pytest.mark.long), False])
def test_sigterm_answers_a_handshake_with_1012_and_leaves_no_live_session(start_server, is_released: bool):
    server = start_server()
    with ExitStack() as stack, holding(server, SESSIONS) as other:
        handshake = Handshakes(server, stack).begin("arm")
        (pid,) = wait_until(lambda: blocked_by(other), what="the handshake waits")
        server.terminate()
        if is_released:
            other.rollback()
        assert outcome(handshake) == 1012
        assert server.process.wait(END_S) == 0
    wait_until(lambda: not runs(pid), what="the end of the server's database session")
    assert live() == []


@pytest.mark.long
def test_sigterm_answers_a_handshake_with_1012_while_the_database_is_frozen():
    with postgres_database() as (service, url), serving(url) as server, ExitStack() as stack:
        service.freeze()
        handshake = Handshakes(server, stack).begin("arm")
        wait_until(lambda: is_accepted(server, handshake), what="a connection that the server has accepted")
        server.terminate()
        try:
            assert outcome(handshake) == 1012
            assert server.process.wait(END_S) == 0
        finally:
            service.thaw()
        wait_until(lambda: service.fetch_value(OTHER_SESSIONS) == 0, what="the end of the server's database sessions")
        assert service.fetch_value("SELECT count(*) FROM teleop_teleopsession WHERE end_time IS NULL") == 0
