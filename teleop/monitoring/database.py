"""Requirements on the database: `serve`, `doctor` and /health check them with one query."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from django.apps import apps
from django.db import Error as DatabaseFailure
from django.db.backends.base.base import BaseDatabaseWrapper

# In requests alone: robots' frames (teleop/ingest/store.py) and commands wait as long as it takes.
REQUEST_TIMEOUT = "-c statement_timeout=30s"
# Without these privileges no frame is stored.
STORING = {
    "robots_robot": ("SELECT", "INSERT", "UPDATE"),
    "teleop_teleopsession": ("SELECT", "INSERT", "UPDATE"),
    "teleop_teleopframe": ("SELECT", "INSERT"),
}
ONLY_READ = {"django_content_type", "auth_permission", "django_migrations"}  # `migrate` alone writes them

# psycopg keeps no SQLSTATE of a connection that failed. A message of another language counts as a wrong setting: the
# process ends, and a process manager starts it again.
OUTAGE = re.compile(
    r"Connection refused|timeout expired|timed out|resolve host|translate host name|unreachable|No route to host"
    r"|on socket .* failed: No such file|closed the connection|Connection reset|EOF detected"
    r"|session is read-only|hot standby mode|the database system is|not currently accepting connections"
    r"|too many clients|too many connections|connection slots|no more connections"
    r"|server_login_retry|cannot connect to server|query_wait_timeout|pgbouncer is shutting down"
    r"|database is locked|disk is full"
)
STARTUP_PARAMETER = re.compile(r"unsupported startup parameter(?: in options)?: *(\w+)")

QUERY = """
    SELECT current_setting('server_encoding'), current_setting('transaction_read_only') = 'on', current_schema(),
        current_user,
        (
            SELECT string_agg(privilege || ' on ' || name, ', ')
            FROM unnest(%s::text[], %s::text[]) AS needed (name, privilege)
            WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
        )
"""


class Problem(NamedTuple):
    """A reason why the database cannot be used, with its cure. `is_temporary`: it may pass by itself.

    /health shows the `what` of `problem()` to everyone, so it contains no address, role or path.
    """

    id: str
    what: str
    cure: str
    is_temporary: bool = False

    def __str__(self) -> str:
        return f"{self.what}; {self.cure}"


def limit_requests(options: dict) -> None:
    """Add the time limit of requests to a connection's options; a limit in DATABASE_URL comes later, and wins."""
    options["options"] = f"{REQUEST_TIMEOUT} {options.get('options', '')}".strip()


def all_needs() -> dict[str, tuple[str, ...]]:
    """Return the privileges that the whole product needs, by table."""
    tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
    needs = {table: ("SELECT",) if table in ONLY_READ else ("SELECT", "INSERT") for table in tables}
    return needs | {"django_migrations": ("SELECT",)} | STORING


def problem(connection: BaseDatabaseWrapper, needs: Mapping[str, tuple[str, ...]]) -> Problem | None:
    """Return the first problem of a database that answers, or None. Tables that are missing are no problem here."""
    if connection.vendor != "postgresql":
        return _file_problem(str(connection.settings_dict["NAME"]))
    pairs = [(table, privilege) for table, privileges in needs.items() for privilege in privileges]
    with connection.cursor() as cursor:
        cursor.execute(QUERY, [list(column) for column in zip(*pairs, strict=True)])
        encoding, is_read_only, schema, role, missing = cursor.fetchone()
    if encoding != "UTF8":
        return Problem(
            "teleop.E002",
            f"the encoding is {encoding}, which cannot store every text; UTF8 expected",
            "createdb --encoding=UTF8 --template=template0 makes one that can, pg_dump and pg_restore move the data",
        )
    if schema is None:
        return Problem("teleop.E004", "the role may use no schema", f"GRANT USAGE ON SCHEMA public TO {role}")
    if missing:
        grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
        return Problem("teleop.E004", f"the role has no privilege {missing}", grant)
    if is_read_only:
        cure = (
            "several hosts and target_session_attrs=read-write in DATABASE_URL find the server that can be written to"
        )
        return Problem("teleop.E005", "the database is read-only", cure, is_temporary=True)
    return None


def connection_problem(error: DatabaseFailure) -> Problem:
    """Return why no connection could be made, in one line without a password."""
    message = " ".join(str(error).split()) or type(error).__name__
    if refused := STARTUP_PARAMETER.search(message):
        return Problem(
            "teleop.E001",
            f"pgbouncer refuses the startup parameter {refused[1]}",
            "ignore_startup_parameters = options in pgbouncer.ini makes it accept that (docs/deploy.md)",
        )
    cure = "correct DATABASE_URL, or start the database"
    return Problem("teleop.E001", message, cure, is_temporary=OUTAGE.search(message) is not None)


def _file_problem(name: str) -> Problem | None:
    if name == ":memory:" or name.startswith("file:"):
        return None
    file = Path(name)
    if not file.exists():
        return Problem(
            "teleop.E005", "the file of the database is missing", f"move {file} back, or run python manage.py migrate"
        )
    closed = [path for path in (file, file.parent) if not os.access(path, os.W_OK)]
    if closed:
        return Problem(
            "teleop.E005", "the database is read-only", f"make the user of this process the owner of {closed[0]}"
        )
    return None
