"""PostgreSQL, Redis and the server: real processes on free ports, with temporary folders, always removed afterwards.

    python -m tests.services COMMAND ...    runs COMMAND with DATABASE_URL and REDIS_URL of a new pair

A test that stops, kills or freezes a service starts its own (`with postgres() as database:`): the pair is shared.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg
from psycopg import sql

from loadtest.run import processes
from loadtest.run.processes import ROOT, free_port, is_running, program
from tests.forked_server import ForkedProcess

__all__ = ["ROOT", "free_port", "is_running", "postgres_program", "program"]

T = TypeVar("T")
S = TypeVar("S", bound="Service")
postgres_program = program


def wait_until(condition: Callable[[], T], timeout: float = 30, what: str = "") -> T:
    """Return the first true value of `condition()`, called every 20 ms; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        time.sleep(0.02)
    return value


class Service(processes.Service):
    """A service that a test can also freeze, stop and start again."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes()]

    def stop(self, *args, **options) -> int:
        self.thaw()
        return super().stop(*args, **options)

    def terminate(self) -> None:
        """Send the stop signal and do not wait."""
        self.process.terminate()

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def thaw(self) -> None:
        self.send_signal(signal.SIGCONT)


class Postgres(Service, processes.Postgres):
    """A PostgreSQL whose databases a test can change."""

    def execute(self, statement: str | sql.Composed, database: str = "postgres") -> None:
        with psycopg.connect(self.database_url(database), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)

    def fetch_value(self, query: str, database: str = "postgres") -> Any:
        """Return the first column of the first row."""
        with psycopg.connect(self.database_url(database), connect_timeout=5) as connection:
            return connection.execute(query).fetchone()[0]

    def database_url(self, name: str) -> str:
        return self.url.removesuffix("postgres") + name

    def create_database(self, name: str) -> str:
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.database_url(name)

    def drop_database(self, name: str) -> None:
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class Redis(Service, processes.Redis):
    """A Redis that writes nothing to disk."""


class Server(Service, processes.Server):
    """`manage.py serve`; `settings` are environment variables that override those of the tests."""

    is_forked = False  # conftest.py sets it

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        # Tests of a server use one robot id for many robots: no rate limit on its connections. A process for background
        # work would take 1 s of CPU after each session, and would write jobs beside tests that count them.
        defaults = {"HANDSHAKES_PER_ROBOT": "0", "NEW_SESSIONS_PER_ROBOT": "0", "BACKGROUND_WORK": "separate"}
        super().__init__(folder, *options, **{"DEBUG": "0", "ROBOT_AUTH": "key"} | defaults | settings)
        self.ws_url = f"ws://127.0.0.1:{self.port}"

    def launch(self) -> subprocess.Popen[bytes] | ForkedProcess:
        if not self.is_forked:
            return super().launch()
        return ForkedProcess([str(part) for part in self.command()[1:]], ROOT, self.environment(), self.log)

    def answers(self) -> bool:
        """Return whether the server and all that it needs work: the log may be that of an earlier start."""
        return is_ok(f"{self.url}/health")


def is_ok(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:  # nothing listens yet, or an error's status
        return False


@contextmanager
def postgres() -> Iterator[Postgres]:
    with running(Postgres) as service:
        yield service


@contextmanager
def redis() -> Iterator[Redis]:
    with running(Redis) as service:
        yield service


def memory_folder() -> str | None:
    """Return a folder in memory for the databases that tests share, or None, which is the disk, without 4 GiB for it.

    No test crashes these databases, and waiting for the disk took a fifth of the CPU of tests of the database.
    """
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30 else None


@contextmanager
def running(kind: Callable[[Path], S], parent: str | None = None) -> Iterator[S]:
    """Start a service in a new folder in `parent`; stop it and remove the folder afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="teleop-", dir=parent, ignore_cleanup_errors=True) as folder,
        kind(Path(folder)) as service,
    ):
        yield service


def main(command: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script in the background would ignore it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with running(Postgres, memory_folder()) as database, redis() as channels:
        urls = {"DATABASE_URL": database.url, "REDIS_URL": channels.url}
        with subprocess.Popen(command, env=os.environ | urls) as child:
            try:
                return child.wait()
            except KeyboardInterrupt:
                return child.wait()  # the child received the Ctrl-C too and prints its summary
            finally:
                child.terminate()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
