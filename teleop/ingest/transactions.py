"""Transactions of the ingest threads: bounded waits for locks, and commits that a synchronous standby has confirmed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from django.db import DataError, IntegrityError, OperationalError, connection, connections, transaction

RECONNECT_AFTER_FAILURES = 3
READ_ONLY = "25006"
IDLE_TIMEOUT_MS = 5_000  # longer than a worker pauses between two statements, and shorter than a handshake waits
# One session or robot may be at fault; the server itself is in order: constraint, locks, limits, privileges, raise.
ISOLATABLE_CLASSES = ("22", "23", "40", "42", "44", "54", "55", "P0")


class NotReplicated(OperationalError):
    """PostgreSQL committed here and stopped waiting for the synchronous standby."""


class _ThreadState(threading.local):
    watched_connection: object = None
    wait_was_cancelled = False


_thread = _ThreadState()


def use_dedicated_connection() -> None:
    """Give this thread a connection outside the pool: the pool's back-off would delay every group after an outage."""
    own = connections["default"].copy()
    own.settings_dict["OPTIONS"].pop("pool", None)
    connections["default"] = own


def recover(error: Exception, failures_in_a_row: int) -> None:
    """Close this thread's connection if it cannot be trusted any more; the next statement opens a new one.

    A connection to a server that was read-only for a moment (a failover) answers SELECT 1, and may stay read-only for
    ever. A connection with an unforeseen problem does the same: after every third failure the connection is new.
    """
    is_suspect = sqlstate(error) == READ_ONLY or failures_in_a_row % RECONNECT_AFTER_FAILURES == 0
    if is_suspect or connection.connection is None or not connection.is_usable():
        connection.close()


def sqlstate(error: BaseException) -> str:
    """Return the five characters of PostgreSQL's error code; empty for other databases and for lost connections."""
    return getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None) or ""


def is_isolatable(error: Exception) -> bool:
    """Return whether the same statement for one robot alone may succeed: the connection works, one row is at fault.

    A driver that cannot encode a value for this database raises a ValueError or a TypeError.
    """
    at_fault = (IntegrityError, DataError, ValueError, TypeError)
    return isinstance(error, at_fault) or sqlstate(error).startswith(ISOLATABLE_CLASSES)


def is_connection_lost() -> bool:
    """Return whether this thread's connection is closed or broken, without asking the server."""
    raw = connection.connection
    return raw is None or (connection.vendor == "postgresql" and raw.closed)


@contextmanager
def bounded_transaction(lock_timeout_ms: int, statement_timeout_ms: int = 0, writes: bool = True) -> Iterator[None]:
    """Open a transaction that waits at most `lock_timeout_ms` for any lock; 0 is no limit for a statement.

    PostgreSQL ends the transaction of a process that was stopped inside it: its locks would keep robots waiting.

    On SQLite, BEGIN takes the lock of the one writer, so without `writes` no transaction is opened there.

    The limits are set inside the transaction: a pooler in transaction mode gives each one to another server process,
    where limits of the session would be missing, or would stay for other clients. Raises NotReplicated.
    """
    watch_commits()
    is_postgresql = connection.vendor == "postgresql"
    with transaction.atomic() if writes or is_postgresql else nullcontext():
        if is_postgresql:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true),"
                    " set_config('idle_in_transaction_session_timeout', %s, true)",
                    [str(lock_timeout_ms), str(statement_timeout_ms), str(IDLE_TIMEOUT_MS)],
                )
        yield
    check_replicated()


def wait_for_standby() -> None:
    """Make the commit of the running transaction wait for the synchronous standby, even if it changes no row.

    A transaction that only reads, or finds all rows of its INSERT stored, ends at once. The rows that it saw may be
    on this server alone: PostgreSQL shows them after a crash that interrupted their own wait. A commit that writes
    to the log waits until the standby has everything before it.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_logical_emit_message(true, 'teleop', '')")


def watch_commits() -> None:
    """Open this thread's connection, and notice when PostgreSQL stops waiting for a standby on it."""
    connection.ensure_connection()
    _thread.wait_was_cancelled = False
    if connection.vendor == "postgresql" and connection.connection is not _thread.watched_connection:
        connection.connection.add_notice_handler(_on_notice)
        _thread.watched_connection = connection.connection


def check_replicated() -> None:
    """Raise NotReplicated if the commit since `watch_commits` was not confirmed by the standby."""
    if _thread.wait_was_cancelled:
        raise NotReplicated(
            "the wait for the synchronous standby was cancelled; the commit may exist only on this server"
        )


def _on_notice(diagnostic) -> None:
    # Recognized by the function's name, because the message is translated and has no SQLSTATE of its own.
    if diagnostic.source_function == "SyncRepWaitForLSN":
        _thread.wait_was_cancelled = True
