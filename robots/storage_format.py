"""Check the number of the storage format, so that older code detects data that only newer code can read.

A release that stores recordings in another way raises the number in its migration, and SUPPORTED with it.
"""

from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from robots.models import StorageFormat

SUPPORTED = 1


class UnsupportedFormat(Exception):
    """The database has a later storage format than this code supports."""


def check_format(database: BaseDatabaseWrapper, name: str = "the database of DATABASE_URL") -> None:
    """Raise UnsupportedFormat if the database has a later format than this code; the message calls it `name`.

    Raises django.db.Error if the database does not answer.
    """
    require_supported(stored_format(database), name)


def require_supported(number: int | None, name: str = "the database of DATABASE_URL") -> None:
    if number is not None and number > SUPPORTED:
        raise UnsupportedFormat(
            f"{name} has storage format {number} and this code supports formats up to {SUPPORTED}: run the newer code "
            "again, or restore a backup from before its migrations (docs/deploy.md)"
        )


def stored_format(database: BaseDatabaseWrapper) -> int | None:
    """Return the number that the database stores; None if it has none, as before the first `migrate`.

    The connection is a copy without a pool, closed afterwards: threads of a pool would not survive the fork of
    `serve --workers`, and a caller's transaction is not disturbed.
    """
    if _is_missing_file(database):
        return None
    own = database.copy()
    own.settings_dict["OPTIONS"].pop("pool", None)
    try:
        return read_format(own)
    finally:
        own.close()


def read_format(database: BaseDatabaseWrapper) -> int | None:
    """Return the stored number on this connection, which stays open."""
    table = StorageFormat._meta.db_table
    with database.cursor() as cursor:
        if table not in database.introspection.table_names(cursor):
            return None
        cursor.execute(f"SELECT number FROM {table}")  # nosec B608 # a constant
        row = cursor.fetchone()
    return row[0] if row else None  # `manage.py flush` empties this table too


def _is_missing_file(database: BaseDatabaseWrapper) -> bool:
    """Return whether SQLite's file is missing: SQLite would create it, for a command that needs no database too."""
    return database.vendor == "sqlite" and not Path(database.settings_dict["NAME"]).exists()
