"""The backend for PostgreSQL: the check of pooled connections, and times."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from psycopg import OperationalError
from psycopg.pq import Format
from psycopg_pool import ConnectionPool

from config.postgresql.base import TIMESTAMPTZ, TimestamptzLoader

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]


@pytest.fixture
def pooled():
    """Return another Django connection to the database, with a pool of one connection."""
    own = connection.copy("pooled")
    own.settings_dict["OPTIONS"] = own.settings_dict["OPTIONS"] | {"pool": {"min_size": 1, "max_size": 1}}
    yield own
    own.close()
    own.close_pool()


def used_process(pooled) -> int:
    """Take the pool's connection and return it; return the id of its server process."""
    with pooled.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    pooled.close()
    return pid


def test_it_checks_an_idle_connection_without_a_round_trip(pooled, monkeypatch):
    pid = used_process(pooled)
    monkeypatch.setattr(ConnectionPool, "check_connection", lambda _connection: pytest.fail("a round trip"))
    assert used_process(pooled) == pid


def test_it_replaces_a_connection_that_the_server_has_ended(pooled):
    pid = used_process(pooled)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])  # waits for the end, at most 5 s
    assert used_process(pooled) != pid


def test_its_check_fails_for_a_closed_connection(pooled):
    with pooled.cursor():
        pooled.connection.close()
        with pytest.raises(OperationalError):
            pooled.pool._check(pooled.connection)


@pytest.mark.parametrize(
    "text", ["2026-01-05 08:00:00+00", "2026-01-05 08:00:00.5+02", "0001-01-01 00:00:00.000001+00"]
)
def test_it_reads_times_in_utc_by_the_fast_loader(text: str):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [text])
        (moment,) = cursor.fetchone()
        assert cursor.adapters.get_loader(TIMESTAMPTZ, Format.TEXT) is TimestamptzLoader
    assert moment == datetime.fromisoformat(text) and moment.tzinfo is UTC
