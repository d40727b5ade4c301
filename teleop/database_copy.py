"""Copy one database to another: small tables in one transaction; frames by teleop/frames/row_copy.py."""

import decimal
import json
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, models, transaction
from django.db.models.functions import Cast

from teleop.frames import row_copy
from teleop.models import TeleopFrame

SOURCE, TARGET = "default", "target"
BATCH_ROWS = 10_000
EXACT = decimal.Context(prec=decimal.MAX_PREC)  # of no result of `normalize` digits are lost


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
        raise NotACopy("the target contains robots or frames that are not in this database")
    with transaction.atomic(using=TARGET), connections[TARGET].cursor() as cursor:
        quote = connections[TARGET].ops.quote_name
        cursor.execute(f"TRUNCATE {', '.join(quote(model._meta.db_table) for model in small_models())} CASCADE")
        for model in small_models():
            rows = model._base_manager.using(SOURCE).order_by("pk").iterator(BATCH_ROWS)
            while batch := list(islice(rows, BATCH_ROWS)):
                # Not bulk_create: it sets fields with auto_now_add (a token's `created`) to the time of the copy.
                stored = [field for field in model._meta.concrete_fields if not field.generated]
                model._base_manager._insert(batch, stored, using=TARGET, raw=True)


def digest(model: type[models.Model], alias: str) -> int:
    """Return a hash of all rows of a small table."""
    fields = model._meta.concrete_fields
    is_json = [isinstance(field, models.JSONField) for field in fields]
    columns = [
        Cast(field.attname, models.TextField()) if parsed else field.attname
        for field, parsed in zip(fields, is_json, strict=True)
    ]
    rows = model._base_manager.using(alias).order_by().values_list(*columns).iterator(BATCH_ROWS)
    return _digest(tuple(map(_comparable, row, is_json)) for row in rows)


def _comparable(value: Any, is_json: bool) -> Any:
    """Return JSON as values: jsonb orders keys by their length, writes 1e22 as digits, and -0.0 as 0.0."""
    if not is_json or value is None:
        return value
    return _in_order(json.loads(value, parse_int=_exact, parse_float=_exact))


def _exact(number: str) -> decimal.Decimal | int:
    return EXACT.normalize(decimal.Decimal(number)) or 0


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def _digest(rows: Iterable[tuple]) -> int:
    """Return the sum of the rows' hashes, so that their order does not count: databases sort texts differently."""
    hashes = (blake2b(repr(row).encode(errors="surrogatepass"), digest_size=16).digest() for row in rows)
    return sum(map(int.from_bytes, hashes))


def set_sequences() -> None:
    """Set the id sequences, so that new rows get ids after the last ids of the source."""
    with connections[TARGET].cursor() as cursor:
        for statement in connections[TARGET].ops.sequence_reset_sql(no_style(), small_models()):
            cursor.execute(statement)
    row_copy.set_sequence(TARGET)


def differences() -> Iterator[str]:
    """Yield the tables that differ between both databases, compared row by row."""
    for model in small_models():
        if digest(model, SOURCE) != digest(model, TARGET):
            yield model._meta.db_table
    if _digest(row_copy.rows(SOURCE)) != _digest(row_copy.rows(TARGET)):
        yield row_copy.TABLE
