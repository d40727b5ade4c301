"""The server behind PgBouncer in transaction mode, where no setting of a session outlives the transaction."""

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.chaos.environment import postgres_database, serving
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.scenarios import all_end, lock_rows, restart
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.robot_socket import frame, robot_socket
from tests.services import Postgres, Server

LIMITS = ("lock_timeout", "statement_timeout", "default_transaction_read_only")
DEFAULTS = ("0", "0", "off")


@pytest.fixture
def database() -> Iterator[Postgres]:
    with postgres_database() as (service, _):
        yield service


@pytest.fixture
def bouncer(database: Postgres) -> Iterator[PgBouncer]:
    with pgbouncer(database) as bouncer:
        yield bouncer


@pytest.fixture
def server(bouncer: PgBouncer) -> Iterator[Server]:
    with serving(bouncer.url) as server:
        yield server


def limits_of_all_sessions(bouncer: PgBouncer) -> set[tuple[str, ...]]:
    """Return the limits of each of the pool's sessions: one open transaction holds one session."""
    with ExitStack() as stack:
        clients = [stack.enter_context(psycopg.connect(bouncer.url)) for _ in range(bouncer.pool_size)]
        return {tuple(client.execute(f"SHOW {name}").fetchone()[0] for name in LIMITS) for client in clients}


def test_it_stores_resumes_and_ends_a_session(server: Server, database: Postgres):
    here = "resumes?session=morning-run"
    with robot_socket(server, here, key=None) as robot:
        robot.send({"type": "start", "fps": 30, "meta_info": {"task": "Fold the towel"}}, frame(0), frame(1))
        robot.receive_until_ack(1)
    with robot_socket(server, here, key=None) as robot:
        assert robot.greeting["next_frame_index"] == 2
        robot.send(frame(1), frame(2), {"type": "end"})
        assert robot.receive("ended")["frame_count"] == 3
    query = "SELECT json_build_array(fps, meta_info, end_time) FROM teleop_teleopsession WHERE key = 'morning-run'"
    fps, meta_info, end_time = database.fetch_value(query)
    assert (fps, meta_info) == (30, {"task": "Fold the towel"})
    assert end_time is not None


@pytest.mark.long
def test_it_delays_only_the_robot_whose_session_is_locked(server: Server, bouncer: PgBouncer, database: Postgres):
    with Fleet(server.url, Ledger(), count=5) as fleet:
        lock_rows(fleet, database.url, seconds=6)
        assert limits_of_all_sessions(bouncer) == {DEFAULTS}
        all_end(fleet, database.url)


@pytest.mark.long
def test_it_loses_no_frame_while_pgbouncer_restarts(server: Server, bouncer: PgBouncer, database: Postgres):
    with Fleet(server.url, Ledger(), count=5) as fleet:
        restart(fleet, bouncer, times=2)
        all_end(fleet, database.url)
