"""A second worker takes a session over: no frame that the old worker holds is lost or stored late."""

import itertools
from collections.abc import Iterator

import psutil
import pytest

from tests.chaos.environment import postgres_database, serving
from tests.chaos.scenarios import workers
from tests.robot_socket import frame, robot_socket
from tests.services import Postgres, Redis, Server, wait_until
from tests.worker_connections import connected_to, wire_at

pytestmark = pytest.mark.once

SESSION = "fold-the-towel-17"
SLEEPING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')"
SLOW = {"INGEST_FLUSH_INTERVAL_MS": "600"}  # 900 ms with two workers: frames wait in the worker meanwhile


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[Postgres, str]]:
    with postgres_database() as database:
        yield database


@pytest.fixture(scope="module")
def server(database: tuple[Postgres, str], channels: Redis) -> Iterator[Server]:
    with serving(database[1], "--workers", "2", redis_url=channels.url, **SLOW) as server:
        yield server


def two_workers(server: Server) -> tuple[int, int]:
    first, second = (worker.pid for worker in workers(server))
    return first, second


def test_it_greets_after_the_other_worker_has_stored_its_pending_frames(server: Server):
    """Try again if the old worker does not answer for 0.5 s, as on a busy machine: it then loses the session."""
    robots = (f"stores-{number}" for number in itertools.count())
    wait_until(lambda: greets_after_storing(server, next(robots)), what="a takeover from a worker that answers")


def greets_after_storing(server: Server, robot_id: str) -> bool:
    """Take over a session with 60 pending frames; return whether the greeting counts them as stored."""
    first, second = two_workers(server)
    with wire_at(server, first, f"{robot_id}?session={SESSION}") as old:
        old.send(*[frame(index) for index in range(60)])
        has_received_all = old.websocket.ping().wait(5)  # the pong follows all messages sent before the ping
        with wire_at(server, second, f"{robot_id}?session={SESSION}") as new:
            if not has_received_all or new.greeting["next_frame_index"] != 60:
                return False
            assert old.receive_until_close()[0] == 4409
            new.send(frame(60, timestamp=frame(60)["timestamp"] + 1000))
            assert new.receive_until_ack(60) == []
            return True


def test_it_greets_soon_if_the_other_worker_is_stopped(server: Server):
    first, second = two_workers(server)
    with wire_at(server, first, f"stopped?session={SESSION}") as old:
        old.send(frame(0))
        old.receive_until_ack(0)
        with connected_to(server, second) as end:
            psutil.Process(first).suspend()
            try:
                with robot_socket(server, f"stopped?session={SESSION}", None, sock=end) as new:
                    assert new.greeting["next_frame_index"] == 1
                    new.send(frame(1))
                    assert new.receive_until_ack(1) == []
            finally:
                psutil.Process(first).resume()
        assert old.receive_until_close()[0] == 4409


@pytest.mark.long
def test_it_greets_although_the_other_worker_was_stopped_in_a_transaction(
    server: Server, database: tuple[Postgres, str]
):
    """A trigger delays the first heartbeat, so that the worker is stopped while it has locked its sessions."""
    first, second = two_workers(server)
    with wire_at(server, first, f"locks?session={SESSION}") as old:
        old.send(frame(0))
        old.receive_until_ack(0)
        database[0].execute(
            f"""CREATE SEQUENCE updates;
            CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.id = {old.greeting["session_id"]} AND nextval('updates') = 1 THEN PERFORM pg_sleep(1); END IF;
                RETURN NEW; END $$;
            CREATE TRIGGER delays BEFORE UPDATE ON teleop_teleopsession FOR EACH ROW EXECUTE FUNCTION delay()"""
        )
        try:
            with connected_to(server, second) as end:
                wait_until(lambda: database[0].fetch_value(SLEEPING), what="a heartbeat")
                psutil.Process(first).suspend()
                try:
                    with robot_socket(server, f"locks?session={SESSION}", None, sock=end, open_timeout=20) as new:
                        assert new.greeting["next_frame_index"] == 1
                finally:
                    psutil.Process(first).resume()
            assert old.receive_until_close()[0] == 4409
        finally:
            database[0].execute("DROP FUNCTION delay CASCADE; DROP SEQUENCE updates")


@pytest.mark.long
def test_it_drops_frames_that_the_other_worker_cannot_store(server: Server, database: tuple[Postgres, str]):
    """A trigger answers "locked" for the session's frames, so that the old worker has parked them."""
    first, second = two_workers(server)
    with wire_at(server, first, f"parked?session={SESSION}") as old:
        old.send(frame(0))
        old.receive_until_ack(0)
        session_id = old.greeting["session_id"]
        database[0].execute(
            f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.session_id = {session_id} THEN RAISE EXCEPTION 'no' USING ERRCODE = '55P03'; END IF;
                RETURN NEW; END $$;
            CREATE TRIGGER fails BEFORE INSERT ON teleop_teleopframe FOR EACH ROW EXECUTE FUNCTION fail()"""
        )
        try:
            old.send(frame(1), frame(2))
            old.websocket.ping().wait(5)
            with wire_at(server, second, f"parked?session={SESSION}") as new:
                assert new.greeting["next_frame_index"] == 1
                database[0].execute("DROP FUNCTION fail CASCADE")
                new.send(frame(1, timestamp=frame(1)["timestamp"] + 1000))
                assert new.receive_until_ack(1) == []
            assert old.receive_until_close() == (4409, [])
        finally:
            database[0].execute("DROP FUNCTION IF EXISTS fail CASCADE")
