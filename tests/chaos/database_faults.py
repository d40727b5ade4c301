"""Faults of a running PostgreSQL: each lasts as long as its `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.chaos.environment import ROLE
from tests.services import Postgres

DATABASE, ANOTHER = "postgres", "template1"  # where the server's tables are, and from where they are administered

SESSION_FOR_UPDATE = "SELECT 1 FROM teleop_teleopsession WHERE robot_id = %s FOR UPDATE"
SESSION_FOR_NO_KEY_UPDATE = "SELECT 1 FROM teleop_teleopsession WHERE robot_id = %s FOR NO KEY UPDATE"
SESSION_DELETED = "DELETE FROM teleop_teleopsession WHERE robot_id = %s"  # never committed
ROBOT_FOR_UPDATE = "SELECT 1 FROM robots_robot WHERE id = %s FOR UPDATE"

REJECT = """
    CREATE OR REPLACE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'closed for today' USING ERRCODE = '{sqlstate}'; END $$;
    CREATE TRIGGER reject BEFORE INSERT ON teleop_teleopframe FOR EACH ROW EXECUTE FUNCTION reject()
"""


@contextmanager
def read_only(service: Postgres) -> Iterator[None]:
    """Make new sessions read-only, and end the others, as in a failover, or on a host with a nearly full disk.

    Sessions that began meanwhile stay read-only afterwards; the server must notice this.
    """
    service.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on", ANOTHER)
    terminate_sessions(service)
    try:
        yield
    finally:
        service.execute(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only", ANOTHER)


def terminate_sessions(service: Postgres) -> None:
    service.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'", ANOTHER)


@contextmanager
def locked(database_url: str, statement: str, robot_id: str) -> Iterator[None]:
    """Lock the statement's rows in another client's transaction."""
    with psycopg.connect(database_url) as other:
        other.execute(statement, [robot_id])
        try:
            yield
        finally:
            other.rollback()


@contextmanager
def inserts_revoked(service: Postgres) -> Iterator[None]:
    """Revoke the privilege to store frames from the server's role."""
    service.execute(f"REVOKE INSERT ON teleop_teleopframe FROM {ROLE}")
    try:
        yield
    finally:
        service.execute(f"GRANT INSERT ON teleop_teleopframe TO {ROLE}")


@contextmanager
def every_row_rejected(service: Postgres, sqlstate: str = "P0001") -> Iterator[None]:
    """Reject every frame by a trigger, as after an operator's mistake."""
    service.execute(REJECT.format(sqlstate=sqlstate))
    try:
        yield
    finally:
        service.execute("DROP TRIGGER reject ON teleop_teleopframe")
