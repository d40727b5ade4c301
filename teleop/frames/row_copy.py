"""Copy frames from one database to another as whole rows, in batches; can be resumed (`manage.py move_to`)."""

from collections.abc import Callable, Iterator
from itertools import chain

from django.core.management.color import no_style
from django.db import connections, transaction

from teleop.models import TeleopFrame

TABLE = "teleop_teleopframe"
BATCH_ROWS = 10_000
COLUMNS = ("id", "session_id", "frame_index", "timestamp", "robot_id", "data")


def count(alias: str) -> int:
    return _number("SELECT count(*) FROM teleop_teleopframe", alias)


def last_id(alias: str) -> int:
    """Return the highest id, after which copying resumes; 0 without frames."""
    return _number("SELECT coalesce(max(id), 0) FROM teleop_teleopframe", alias)


def copy(source: str, target: str, progress: Callable[[int], None]) -> None:
    """Copy the missing rows by id, one transaction per batch; call `progress` with the number of rows of each batch."""
    statement = f"COPY {TABLE} ({', '.join(COLUMNS)}) FROM STDIN"
    with connections[target].cursor() as cursor:
        for batch in _batches(source, after=last_id(target)):
            with transaction.atomic(using=target), cursor.copy(statement) as copying:
                for row in batch:
                    copying.write_row(row)
            progress(len(batch))


def rows(alias: str) -> Iterator[tuple]:
    """Yield all rows by id, as stored: `timestamp` is naive UTC, `data` is text in its key order."""
    return chain.from_iterable(_batches(alias))


def set_sequence(alias: str) -> None:
    """Set the id sequence, so that new frames get ids after the last one."""
    with connections[alias].cursor() as cursor:
        for statement in connections[alias].ops.sequence_reset_sql(no_style(), [TeleopFrame]):
            cursor.execute(statement)


def _batches(alias: str, after: int = 0) -> Iterator[list[tuple]]:
    is_postgresql = connections[alias].vendor == "postgresql"
    moment, data = ("timestamp AT TIME ZONE 'UTC'", "data::text") if is_postgresql else ("timestamp", "data")
    columns = ", ".join({"timestamp": moment, "data": data}.get(name, name) for name in COLUMNS)
    with connections[alias].cursor() as cursor:
        while True:
            query = f"SELECT {columns} FROM teleop_teleopframe WHERE id > %s ORDER BY id LIMIT %s"  # nosec B608 # constants
            cursor.execute(query, [after, BATCH_ROWS])
            if not (batch := cursor.fetchall()):
                return
            yield batch
            after = batch[-1][0]


def _number(query: str, alias: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]
