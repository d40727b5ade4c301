"""SIGTERM and SIGINT: received frames are stored and acknowledged, clients get a close, the process ends in time."""

import http.client
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.chaos.environment import postgres_database, serving, sqlite_file
from tests.robot_socket import frame, robot_socket
from tests.services import Postgres, Server, wait_until

END_S = 5


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sqlite_file() as url:
        yield url


@pytest.fixture(scope="module")
def service() -> Iterator[Postgres]:
    with postgres_database() as (service, _):
        yield service


@pytest.fixture(scope="module")
def server(service: Postgres) -> Iterator[Server]:
    """Yield a server on PostgreSQL in which at most 1 MiB may be pending."""
    with serving(service.url, INGEST_MAX_PENDING_BYTES=str(2**20)) as server:
        yield server


def end(server: Server, number: signal.Signals = signal.SIGTERM) -> None:
    begun = time.monotonic()
    assert server.stop(number) == 0
    assert time.monotonic() - begun < END_S


def acks(messages: list[dict]) -> list[int]:
    return [message["frame_index"] for message in messages if message["type"] == "ack"]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_it_stores_received_frames_and_closes_with_1012(url: str, number: signal.Signals):
    frames = [frame(index) for index in range(500)]
    with (
        serving(url, INGEST_FLUSH_INTERVAL_MS="1000") as server,
        robot_socket(server, f"tells_{number}", key=None) as robot,
        robot_socket(server, f"is_mute_{number}", key=None, mute=True) as mute,
    ):
        for each in (robot, mute):
            each.send(*frames)
            each.websocket.ping().wait(5)  # the pong follows all messages sent before the ping
        end(server, number)
        code, received = robot.receive_until_close()
        assert (code, acks(received)) == (1012, [499])
        assert mute.receive_until_close() == (1012, [])
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        stored = dict(file.execute("SELECT robot_id, count(*) FROM teleop_teleopframe GROUP BY robot_id"))
    assert (stored[f"tells_{number}"], stored[f"is_mute_{number}"]) == (500, 500)


def test_it_exits_with_an_unanswered_request_and_clients_that_do_not_answer_the_close(url: str):
    with (
        serving(url, how="serve_test_views") as server,
        robot_socket(server, key=None) as robot,
        robot_socket(server, key=None, mute=True) as mute,
        closing(in_flight(server, "/wait")),
    ):
        robot.websocket.protocol.send_frame = mute.websocket.protocol.send_frame = lambda frame: None
        end(server)


def in_flight(server: Server, path: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    return connection


def refuses(server: Server) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_it_accepts_and_closes_with_1013_while_the_database_is_down(service: Postgres, server: Server):
    service.stop()
    try:
        with robot_socket(server, "arm?session=morning-run", key=None, mute=True) as robot:
            assert robot.receive_until_close() == (1013, [])
    finally:
        service.start()
    wait_until(lambda: is_let_in(server), what="a robot let in again")


def is_let_in(server: Server) -> bool:
    with robot_socket(server, key=None, mute=True) as robot:
        try:
            robot.websocket.recv(timeout=0.2)
        except TimeoutError:
            return True
        except Exception:
            return False


def test_it_closes_with_1013_over_its_pending_limit_and_stores_the_rest(service: Postgres, server: Server):
    """1 MiB may be pending, an eighth of it from one robot; a frame counts as 256 bytes plus its data."""
    here = "sheds?session=morning-run"
    with robot_socket(server, here, key=None) as robot, robot_socket(server, "bystander", key=None) as other:
        service.freeze()
        try:
            with suppress(ConnectionClosed):
                robot.send(*[frame(index) for index in range(1000)])
            other.send(*[frame(index) for index in range(100)])
            assert robot.receive_until_close() == (1013, [])
        finally:
            service.thaw()
        assert {message["type"] for message in other.receive_until_ack(99)} <= {"ack"}
    taken = 2**17 // (256 + len('{"observation":{"shoulder_pan.pos":1.5}}'))
    with robot_socket(server, here, key=None) as robot:
        assert robot.greeting["next_frame_index"] == taken


@pytest.mark.long
def test_it_exits_while_the_database_is_frozen(service: Postgres, server: Server):
    """The server accepts no new frames, acknowledges only stored ones, and asks the robots to try again later.

    This is the last test of the server, as it ends it.
    """
    with (
        robot_socket(server, key=None) as robot,
        robot_socket(server, key=None, mute=True) as mute,
    ):
        robot.send(frame(0))
        robot.receive_until_ack(0)
        service.freeze()
        try:
            robot.send(*[frame(index) for index in range(1, 100)])
            mute.send(*[frame(index) for index in range(100)])
            with closing(in_flight(server, "/sessions/")):
                begun = time.monotonic()
                server.terminate()
                wait_until(lambda: refuses(server), 1, "no more connections")
                assert server.process.poll() is None
                assert robot.receive_until_close() == (1012, [])
                assert mute.receive_until_close() == (1012, [])
                assert server.process.wait(END_S) == 0
                assert time.monotonic() - begun < END_S
        finally:
            service.thaw()
