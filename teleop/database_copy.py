"""Copy one database to another: small tables in one transaction; frames by teleop/frames/row_copy.py."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, models, transaction

from teleop.frames import row_copy
from teleop.models import TeleopFrame

SOURCE, TARGET = "default", "target"
BATCH_ROWS = 10_000


class NotACopy(Exception):
    """The target contains other data than (a part of) the source."""


def small_models() -> list[type[models.Model]]:
    """Return all models but frames: users, groups, tokens, robots, sessions, videos and their join tables."""
    every = apps.get_models(include_auto_created=True)
    return [model for model in every if model is not TeleopFrame and not model._meta.proxy]


def copy_small_tables() -> None:
    """Replace the rows that the target's migrations have added; do nothing if the target has the copy already.

    PostgreSQL's constraints are deferred to the commit, so the order of the tables does not matter.
    """
    if all(digest(model, SOURCE) == digest(model, TARGET) for model in small_models()):
        return
    robots = apps.get_model("robots", "Robot")
    if robots.objects.using(TARGET).exists() or row_copy.last_id(TARGET):
        raise NotACopy("the target holds robots or frames that are not this database's")
    with transaction.atomic(using=TARGET), connections[TARGET].cursor() as cursor:
        quote = connections[TARGET].ops.quote_name
        cursor.execute(f"TRUNCATE {', '.join(quote(model._meta.db_table) for model in small_models())} CASCADE")
        for model in small_models():
            rows = model._base_manager.using(SOURCE).order_by("pk").iterator(BATCH_ROWS)
            while batch := list(islice(rows, BATCH_ROWS)):
                model._base_manager.using(TARGET).bulk_create(batch)


def digest(model: type[models.Model], alias: str) -> str:
    """Return a hash of all rows, ordered by primary key."""
    columns = [field.attname for field in model._meta.concrete_fields]
    return _digest(model._base_manager.using(alias).order_by("pk").values_list(*columns).iterator(BATCH_ROWS))


def _digest(rows: Iterable[tuple]) -> str:
    hashed = blake2b(digest_size=16)
    for row in rows:
        hashed.update(repr(row).encode())
    return hashed.hexdigest()


def set_sequences() -> None:
    """Set the id sequences, so that new rows get ids after the last ids of the source."""
    with connections[TARGET].cursor() as cursor:
        for statement in connections[TARGET].ops.sequence_reset_sql(no_style(), small_models()):
            cursor.execute(statement)
    row_copy.set_sequence(TARGET)


def differences() -> Iterator[str]:
    """Yield the tables that differ between both databases, compared row by row and byte by byte."""
    for model in small_models():
        if digest(model, SOURCE) != digest(model, TARGET):
            yield model._meta.db_table
    if _digest(row_copy.rows(SOURCE)) != _digest(row_copy.rows(TARGET)):
        yield row_copy.TABLE
