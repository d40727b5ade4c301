"""A fresh database for each run, the count of its rows at the end, and its resource use meanwhile."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from loadtest.run.processes import Postgres, Unusable

FRAMES = "SELECT count(*) FROM teleop_teleopframe"


class Database:
    """A database with its name in the report, and the DATABASE_URL for the server."""

    def __init__(self, name: str, url: str, file: Path | None = None, process: Postgres | None = None) -> None:
        self.name, self.url, self.process = name, url, process
        self._file = file

    def frames(self) -> int:
        if self._file:
            with closing(sqlite3.connect(self._file)) as connection:
                [(count,)] = connection.execute(FRAMES).fetchall()
                return count
        with psycopg.connect(self.url) as connection:
            [(count,)] = connection.execute(FRAMES).fetchall()
            return count

    def connections(self) -> int | None:
        """Count the server's connections; None for SQLite, which has none."""
        if self._file:
            return None
        with psycopg.connect(self.url) as connection:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            [(count,)] = connection.execute(query).fetchall()
            return count

    def version(self) -> str:
        if self._file:
            return f"SQLite {sqlite3.sqlite_version}"
        with psycopg.connect(self.url) as connection:
            return f"PostgreSQL {connection.info.server_version // 10000}.{connection.info.server_version % 10000}"


@contextmanager
def fresh_sqlite(folder: Path) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        file = Path(fresh) / "loadtest.sqlite3"
        yield Database("sqlite", f"sqlite:///{file}", file=file)


@contextmanager
def fresh_postgres(cluster_url: str, process: Postgres | None) -> Iterator[Database]:
    name = f"teleop_loadtest_{os.getpid()}"
    url = urlunsplit(urlsplit(cluster_url)._replace(path=f"/{name}"))
    try:
        execute(cluster_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise Unusable(f"no PostgreSQL: {str(error).strip().splitlines()[0]}") from None
    try:
        yield Database("postgres", url, process=process)
    finally:
        execute(cluster_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def execute(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(statement)
