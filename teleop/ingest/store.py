"""Rows into the database: the SQL that is written by hand, each vendor's branch with its reason.

All of it runs in the worker's one database thread. Costs: docs/performance.md.
"""

import select
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

import orjson
import psycopg
from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection, connections, transaction
from psycopg import pq
from psycopg.errors import error_from_result

from teleop.ingest.connection import Beat, Refused, Row
from teleop.models import TeleopFrame
from teleop.protocol import Code

POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, in unix microseconds

COPY_FRAMES = b"COPY teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data) FROM STDIN (FORMAT BINARY)"
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
INSERT_FRAMES = (
    "INSERT INTO teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data) VALUES (%s, %s, %s, %s, %s)"
)

# A holder that is alive after all takes its session back from the sweep that ended it.
BEAT = (
    "UPDATE teleop_teleopsession SET frame_count = %s, start_time = COALESCE(%s, start_time), end_time = NULL, "
    "quality = NULL, updated_at = {now} WHERE id = %s AND holder = %s"
)
# SQLite's CURRENT_TIMESTAMP knows no fractions.
NOW = {"sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"}


def own_connection() -> None:
    """Gives this thread a connection outside the pool, whose back-off would delay every group after an outage, and
    without the requests' time limit: what waits for a lock is stored when the lock is gone.
    """
    own = connections["default"].copy()
    options = own.settings_dict["OPTIONS"]
    if options.pop("pool", None):
        options["options"] = f"{options.get('options', '')} -c statement_timeout=0"
    connections["default"] = own


def forget_broken_connection() -> bool:
    """Closes this thread's connection if the database does not answer on it; the next query opens a new one."""
    healthy = connection.connection is not None and connection.is_usable()
    if not healthy:
        connection.close()
    return healthy


def write(rows: Sequence[Row]) -> list[Refused]:
    """Stores a group in one transaction; returns the rows that can never be stored.

    Any other database error is nobody's fault and passes through: nothing was stored, and the group may be tried again.
    """
    try:
        _fast_path()(rows)
    except (IntegrityError, DataError):
        return write_carefully(rows)
    return []


def _fast_path() -> Callable[[Sequence[Row]], None]:
    if settings.INGEST_WRITER == "bulk_create":
        return _bulk_create
    return {"postgresql": _copy, "sqlite": _execute_many}.get(connection.vendor, _bulk_create)


def _copy(rows: Sequence[Row]) -> None:
    """7 us a frame where bulk_create costs 70-95; binary, so that PostgreSQL parses no timestamps."""
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
    connection.ensure_connection()
    with connection.wrap_database_errors:  # Django translates the errors of its own cursors only
        _run_copy(connection.connection.pgconn, b"".join(parts))


def _run_copy(libpq: pq.abc.PGconn, rows: bytes) -> None:
    """One COPY, a transaction of its own, by libpq's calls: psycopg's Cursor.copy costs 0.35 ms more a group, which is
    forty groups a second however few robots a worker has.
    """
    begun = libpq.exec_(COPY_FRAMES)
    if begun.status != pq.ExecStatus.COPY_IN:
        raise error_from_result(begun)
    if libpq.put_copy_data(rows) != 1 or libpq.put_copy_end() != 1:
        raise psycopg.OperationalError(f"libpq took no {len(rows)} bytes: {libpq.get_error_message()}")
    ended = _wait_for_result(libpq)
    while libpq.get_result():  # to the end of the statement
        pass
    if ended.status != pq.ExecStatus.COMMAND_OK:
        raise error_from_result(ended)


def _wait_for_result(libpq: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """PQgetResult alone would wait with the GIL held, and stop the whole process while the database commits."""
    while (unsent := libpq.flush()) or libpq.is_busy():
        waiting = select.poll()
        waiting.register(libpq.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        waiting.poll()
        libpq.consume_input()
    return libpq.get_result()


def _execute_many(rows: Sequence[Row]) -> None:
    """25 us a frame where bulk_create costs 80-120: one statement is prepared, and no model is built."""
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


def _bulk_create(rows: Sequence[Row], ignore_conflicts: bool = False) -> None:
    """The portable path."""
    frames = [
        TeleopFrame(
            session_id=row.session_id,
            robot_id=row.robot_id,
            frame_index=row.frame_index,
            timestamp=row.timestamp,
            data=orjson.loads(row.data),
        )
        for row in rows
    ]
    TeleopFrame.objects.bulk_create(frames, ignore_conflicts=ignore_conflicts)


def take_apart(rows: Sequence[Row]) -> tuple[list[Refused], list[Row]]:
    """Session by session, then row by row, for a group that fails again and again on a healthy connection.

    Returns what was refused, and what is left: where a row cannot be stored for nobody's fault (a lock, a full disk),
    it and the later rows of its session wait, so that what is stored stays a prefix of what was sent.
    """
    sessions: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        sessions[row.session_id].append(row)
    refused: list[Refused] = []
    left: list[Row] = []
    for waiting in sessions.values():
        try:
            refused += write(waiting)
        except DatabaseError:
            left += _write_one_by_one(waiting, refused)
    return refused, left


def _write_one_by_one(rows: Sequence[Row], refused: list[Refused]) -> Sequence[Row]:
    """The rows from the first that could not be stored on."""
    for position, row in enumerate(rows):
        try:
            refused += _write_alone(row)
        except DatabaseError:
            return rows[position:]
    return []


def write_carefully(rows: Sequence[Row]) -> list[Refused]:
    """For a group with a row that is stored already, or that the database refuses: at first together, else one by one.

    Conflicts are ignored and the rows read back, so a row that went missing for any other reason than its own
    (session, frame_index) is noticed.
    """
    try:
        return _write_ignoring_conflicts(rows)
    except (IntegrityError, DataError):
        return [refused for row in rows for refused in _write_alone(row)]


def _write_alone(row: Row) -> list[Refused]:
    try:
        return _write_ignoring_conflicts([row])
    except DatabaseError as error:
        if not _is_rows_fault(error):
            raise
        return [
            Refused(row, Code.REJECTED_BY_DATABASE, f"the database refused the frame: {str(error).splitlines()[0]}")
        ]


def _write_ignoring_conflicts(rows: Sequence[Row]) -> list[Refused]:
    with transaction.atomic():
        _bulk_create(rows, ignore_conflicts=True)
        stored = _stored_timestamps(rows)
        if missing := [row for row in rows if (row.session_id, row.frame_index) not in stored]:
            # ON CONFLICT DO NOTHING passes over any unique key, a sequence that lags behind its table too.
            raise IntegrityError(f"frame {missing[0].frame_index} of session {missing[0].session_id} was not stored")
    return [
        Refused(row, Code.INDEX_REUSED, f"frame_index {row.frame_index} is stored already, with timestamp {held}")
        for row in rows
        if (held := stored[row.session_id, row.frame_index]) != row.timestamp
    ]


def _stored_timestamps(rows: Sequence[Row]) -> dict[tuple[int, int], datetime]:
    indexes: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows:
        indexes[row.session_id].append(row.frame_index)
    return {
        (session_id, frame_index): timestamp
        for session_id, wanted in indexes.items()
        for frame_index, timestamp in TeleopFrame.objects.filter(
            session_id=session_id, frame_index__in=wanted
        ).values_list("frame_index", "timestamp")
    }


def beat(beats: Sequence[Beat]) -> None:
    """Frame counts and heartbeats of sessions, each if its holder still has it.

    One prepared statement for all: built by the ORM as one CASE of 300 sessions it held up every ack for 0.15 s.
    """
    statement = BEAT.format(now=NOW.get(connection.vendor, "CURRENT_TIMESTAMP"))
    started = connection.ops.adapt_datetimefield_value
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(
            statement,
            [(each.frame_count, started(each.first_timestamp), each.session_id, each.holder) for each in beats],
        )


def _is_rows_fault(error: DatabaseError) -> bool:
    """Data and integrity errors, and PostgreSQL's class 54 (a limit is exceeded), of a row on its own."""
    sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, (IntegrityError, DataError)) or sqlstate.startswith("54")
