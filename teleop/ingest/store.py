"""Write groups of frames into the table: the fast path, with hand-written SQL and the reason for each statement.

All of it runs in the frame thread. Costs: docs/performance.md. A group that fails goes to teleop/ingest/isolation.py.
"""

import select
import struct
from collections.abc import Callable, Sequence

import orjson
import psycopg
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from psycopg import pq
from psycopg.errors import error_from_result

from teleop.ingest import isolation
from teleop.ingest.transactions import bounded_transaction, check_replicated, is_connection_lost, watch_commits
from teleop.ingest.types import Outcome, Row
from teleop.models import TeleopFrame

POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, in unix microseconds

# A row that another client has locked must not delay the frames of all others for long.
LOCK_TIMEOUT_MS = 50
COPY_ROWS = b"COPY teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data) FROM STDIN (FORMAT BINARY)"
# Statements in one message are one transaction, so the limits cost no round trip, and end with the transaction.
COPY_GROUP = b"SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = 0; %b" % (LOCK_TIMEOUT_MS, COPY_ROWS)
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
INSERT_FRAMES = (
    "INSERT INTO teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data) VALUES (%s, %s, %s, %s, %s)"
)


def write(rows: Sequence[Row]) -> Outcome:
    """Store a group in one transaction, except rows that are stored already, refused, or have to wait.

    Raises a database error that concerns the whole group: no row was stored, and the group may be tried again.
    """
    try:
        _fast_path()(rows)
    except DatabaseError as error:
        # SQLite has no row locks: an error that is no row's fault concerns everything (locked, full, read-only).
        is_general = connection.vendor != "postgresql" and isinstance(error, OperationalError)
        if is_general or is_connection_lost():
            raise
        return isolation.write(rows, inserts())
    return Outcome()


def inserts() -> list[Callable[[Sequence[Row]], None]]:
    """Return the ways to insert rows that are not stored yet, inside a transaction; the portable one comes last."""
    if connection.vendor == "postgresql" and settings.INGEST_WRITER == "auto":
        return [_copy_inside, _insert_ignoring_conflicts]
    return [_insert_ignoring_conflicts]


def _copy_inside(rows: Sequence[Row]) -> None:
    with connection.wrap_database_errors:
        _run_copy(connection.connection.pgconn, COPY_ROWS, _packed(rows))


def _insert_ignoring_conflicts(rows: Sequence[Row]) -> None:
    """Insert rows, but skip a (session, frame_index) that another transaction stores at this moment."""
    TeleopFrame.objects.bulk_create(map(_model, rows), ignore_conflicts=True)


def _fast_path() -> Callable[[Sequence[Row]], None]:
    if settings.INGEST_WRITER == "bulk_create":
        return _bulk_create
    return {"postgresql": _copy, "sqlite": _execute_many}.get(connection.vendor, _bulk_create)


def _copy(rows: Sequence[Row]) -> None:
    """Store rows with COPY: 7 us a frame, where bulk_create costs 70-95."""
    watch_commits()
    with connection.wrap_database_errors:  # Django translates the errors of its own cursors only
        _run_copy(connection.connection.pgconn, COPY_GROUP, _packed(rows))
    check_replicated()


def _packed(rows: Sequence[Row]) -> bytes:
    """Encode rows in COPY's binary format, so that PostgreSQL parses no timestamps."""
    fixed, length = struct.Struct("!hiiiiiq").pack, struct.Struct("!i").pack
    parts = [COPY_HEADER]
    for session_id, robot_id, frame_index, timestamp_us, data in rows:
        robot = robot_id.encode()
        parts += (
            fixed(5, 4, session_id, 4, frame_index, 8, timestamp_us - POSTGRES_EPOCH_US),
            length(len(robot)),
            robot,
            length(len(data)),
            data,
        )
    parts.append(COPY_TRAILER)
    return b"".join(parts)


def _run_copy(libpq: pq.abc.PGconn, command: bytes, rows: bytes) -> None:
    """Copy by libpq's calls: psycopg's Cursor.copy costs 0.35 ms more a group.

    A worker writes forty groups a second, however few robots it has.
    """
    begun = libpq.exec_(command)
    if begun.status != pq.ExecStatus.COPY_IN:
        raise error_from_result(begun)
    if libpq.put_copy_data(rows) != 1 or libpq.put_copy_end() != 1:
        raise psycopg.OperationalError(f"libpq did not accept {len(rows)} bytes: {libpq.get_error_message()}")
    ended = _wait_for_result(libpq)
    while libpq.get_result():  # to the end of the statement
        pass
    if ended.status != pq.ExecStatus.COMMAND_OK:
        raise error_from_result(ended)


def _wait_for_result(libpq: pq.abc.PGconn) -> pq.abc.PGresult:
    """Wait by poll: PQgetResult alone would hold the GIL, and stop the whole process while the database commits."""
    while (unsent := libpq.flush()) or libpq.is_busy():
        waiting = select.poll()
        waiting.register(libpq.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        waiting.poll()
        libpq.consume_input()
    return libpq.get_result()  # type: ignore[return-value] # None only if no statement was running


def _execute_many(rows: Sequence[Row]) -> None:
    """Store rows by one prepared statement, without models: 25 us a frame, where bulk_create costs 80-120."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(
            INSERT_FRAMES,
            [
                (
                    row.session_id,
                    row.frame_index,
                    str(row.timestamp.replace(tzinfo=None)),
                    row.robot_id,
                    row.data.decode(),
                )
                for row in rows
            ],
        )


def _bulk_create(rows: Sequence[Row]) -> None:
    """Store rows by bulk_create, the portable path."""
    with bounded_transaction(LOCK_TIMEOUT_MS):
        TeleopFrame.objects.bulk_create(map(_model, rows))


def _model(row: Row) -> TeleopFrame:
    return TeleopFrame(
        session_id=row.session_id,
        robot_id=row.robot_id,
        frame_index=row.frame_index,
        timestamp=row.timestamp,
        data=orjson.loads(row.data),
    )
