"""From one database to another: small tables in one transaction, frames in batches that can be gone on with."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import chain, islice

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, models, transaction

from teleop.models import TeleopFrame

SOURCE, TARGET = "default", "target"
BATCH_ROWS = 10_000
COLUMNS = ("id", "session_id", "frame_index", "timestamp", "robot_id", "data")


class NotACopy(Exception):
    """The target holds something else than (a part of) the source."""


def small_models() -> list[type[models.Model]]:
    """All but frames: users, groups, tokens, robots, sessions, videos and what joins them."""
    every = apps.get_models(include_auto_created=True)
    return [model for model in every if model is not TeleopFrame and not model._meta.proxy]


def copy_small_tables() -> None:
    """In place of what the target's migrations have put there; nothing, where the target has them already.

    PostgreSQL's constraints are deferred to the commit, so the order of the tables does not matter.
    """
    if all(digest(model, SOURCE) == digest(model, TARGET) for model in small_models()):
        return
    robots = apps.get_model("robots", "Robot")
    if robots.objects.using(TARGET).exists() or TeleopFrame.objects.using(TARGET).exists():
        raise NotACopy("the target holds robots or frames that are not this database's")
    with transaction.atomic(using=TARGET), connections[TARGET].cursor() as cursor:
        quote = connections[TARGET].ops.quote_name
        cursor.execute(f"TRUNCATE {', '.join(quote(model._meta.db_table) for model in small_models())} CASCADE")
        for model in small_models():
            rows = model._base_manager.using(SOURCE).order_by("pk").iterator(BATCH_ROWS)
            while batch := list(islice(rows, BATCH_ROWS)):
                model._base_manager.using(TARGET).bulk_create(batch)


def digest(model: type[models.Model], alias: str) -> str:
    """Of all rows, by primary key."""
    columns = [field.attname for field in model._meta.concrete_fields]
    return _digest(model._base_manager.using(alias).order_by("pk").values_list(*columns).iterator(BATCH_ROWS))


def _digest(rows: Iterable[tuple]) -> str:
    hashed = blake2b(digest_size=16)
    for row in rows:
        hashed.update(repr(row).encode())
    return hashed.hexdigest()


def copy_frames(progress: Callable[[int], None]) -> None:
    """Those that the target has not yet, by id, a transaction a batch; `progress` is told how many each had."""
    statement = f"COPY teleop_teleopframe ({', '.join(COLUMNS)}) FROM STDIN"
    with connections[TARGET].cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM teleop_teleopframe")
        for rows in frames(SOURCE, after=cursor.fetchone()[0]):
            with transaction.atomic(using=TARGET), cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
            progress(len(rows))


def frames(alias: str, after: int = 0) -> Iterator[list[tuple]]:
    """Batches of COLUMNS by id, as the database has them: `timestamp` is naive UTC, `data` text in its keys' order."""
    moment, data = ("timestamp AT TIME ZONE 'UTC'", "data::text") if alias == TARGET else ("timestamp", "data")
    columns = ", ".join({"timestamp": moment, "data": data}.get(name, name) for name in COLUMNS)
    with connections[alias].cursor() as cursor:
        while True:
            query = f"SELECT {columns} FROM teleop_teleopframe WHERE id > %s ORDER BY id LIMIT %s"  # nosec B608 # constants
            cursor.execute(query, [after, BATCH_ROWS])
            if not (rows := cursor.fetchall()):
                return
            yield rows
            after = rows[-1][0]


def set_sequences() -> None:
    """So that new rows go on counting where the source has ended."""
    with connections[TARGET].cursor() as cursor:
        for statement in connections[TARGET].ops.sequence_reset_sql(no_style(), [*small_models(), TeleopFrame]):
            cursor.execute(statement)


def differences() -> Iterator[str]:
    """The tables that are not the same in both, row by row and byte by byte."""
    for model in small_models():
        if digest(model, SOURCE) != digest(model, TARGET):
            yield model._meta.db_table
    if _digest(chain.from_iterable(frames(SOURCE))) != _digest(chain.from_iterable(frames(TARGET))):
        yield TeleopFrame._meta.db_table
