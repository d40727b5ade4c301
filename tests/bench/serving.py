"""Servers to measure, each on core 0 and within 1 GB, and databases for them.

The memory limit is a cgroup if root may make one; else only the affinity limits the server.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
from psycopg import sql

from tests.services import ROOT, Postgres, wait_until

HERE = Path(__file__).parent
MEMORY_BYTES = 2**30
LAST_CHARACTERS = 10_000
CGROUP = Path("/sys/fs/cgroup/memory")
SERVER_CORE, LOAD_CORE = 0, 1

REGISTER = """
from robots.models import Robot
from robots.querysets import hash_key
names = [f"{kind}_{number}" for kind, count in %r.items() for number in range(count)]
Robot.objects.bulk_create(Robot(pk=name, key_hash=hash_key("key of " + name)) for name in names)
"""
REGISTERED = {"robot": 300, "newcomer": 1000, "stranger": 1000, "long": 1}
LONG_SESSION, LONG_FRAMES = "a-long-session", 5_000_000
ADD_LONG_SESSION = """
from django.utils import timezone
from robots.models import Robot
from teleop.models import TeleopSession
robot, _ = Robot.objects.get_or_create(pk="long_0")
TeleopSession.objects.create(robot=robot, key=%r, frame_count=%d, end_time=timezone.now(), quality={})
"""
ADD_LONG_FRAMES = """
WITH RECURSIVE counter (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM counter WHERE i + 1 < ?)
INSERT INTO teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data)
SELECT session.id, i, strftime('%Y-%m-%d %H:%M:%f', 1767225600 + i / 60.0, 'unixepoch'), session.robot_id,
    '{"observation":{"joint_positions":[0.1,-0.2,0.3,-0.4,' || i || ']},"action":{"joint_positions":[0.1,-0.2,0.3]}}'
FROM counter, teleop_teleopsession AS session
"""


def key_of(robot_id: str) -> str:
    return f"key of {robot_id}"


class Case(NamedTuple):
    """A server to measure; `kind` is serve (the project's), baseline or accept_and_greet."""

    database: str
    robots: int = 100
    per_message: int = 1
    workers: int = 1
    kind: str = "serve"
    settings: dict[str, str] = {}


class Site(NamedTuple):
    """A running server, and its database."""

    port: int
    url: str
    auth: str
    processes: list[psutil.Process]
    limits: str

    def query(self, statement: str) -> list[tuple]:
        if self.url.startswith("sqlite"):
            database = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=20)
        else:
            database = psycopg.connect(self.url)
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()


class Databases:
    """Databases for benchmarks: one original for each tree, vendor and content, of which a run gets a copy."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self._postgres = postgres
        self._folder = folder
        self._made: dict[tuple, str] = {}

    @contextmanager
    def copy(self, tree: Path, vendor: str, is_registered: bool, is_long: bool) -> Iterator[str]:
        """Yield the URL of a migrated database; with the robots and their keys, and with the long session."""
        content = (tree, vendor, is_registered, is_long)
        if content not in self._made:
            self._made[content] = self._make(*content)
        original, name = self._made[content], f"bench_copy_{time.monotonic_ns()}"
        if vendor == "sqlite":
            file = self._folder / f"{name}.sqlite3"
            shutil.copyfile(original, file)
            try:
                yield f"sqlite:///{file}"
            finally:
                for part in self._folder.glob(f"{file.name}*"):  # the WAL too
                    part.unlink()
        else:
            names = map(sql.Identifier, (name, original))
            self._postgres.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
            try:
                yield self._postgres.database_url(name)
            finally:
                self._postgres.drop_database(name)

    def _make(self, tree: Path, vendor: str, is_registered: bool, is_long: bool) -> str:
        name = f"bench_{len(self._made)}"
        file = self._folder / f"{name}.sqlite3"
        url = f"sqlite:///{file}" if vendor == "sqlite" else self._postgres.create_database(name)
        env = os.environ | {"DATABASE_URL": url, "SECRET_KEY": "bench", "REDIS_URL": ""}
        migrate(env, tree)
        if is_registered:
            shell(REGISTER % REGISTERED, env, tree)
        if is_long:
            shell(ADD_LONG_SESSION % (LONG_SESSION, LONG_FRAMES), env, tree)
            with sqlite3.connect(file) as database:
                database.execute("PRAGMA synchronous = OFF")
                database.execute(ADD_LONG_FRAMES, [LONG_FRAMES])
        if vendor == "sqlite":
            with sqlite3.connect(file) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return str(file)
        return name


def migrate(env: dict[str, str], tree: Path = ROOT) -> None:
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], env=env, cwd=tree, check=True)


def shell(code: str, env: dict[str, str], tree: Path = ROOT) -> str:
    """Run `code` in Django's shell, and return its output."""
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code]
    return subprocess.run(command, env=env, cwd=tree, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def limited_memory(name: str) -> Iterator[Path | None]:
    """Yield the file into which a pid is written to limit that process to 1 GB, or None without a cgroup."""
    group = CGROUP / name
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(MEMORY_BYTES))
    except OSError:
        yield None
    else:
        yield group / "cgroup.procs"
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@contextmanager
def shown_if_it_fails():
    """Yield a file for the server's log, which has a line for each connection."""
    with tempfile.TemporaryFile("w+") as log:
        try:
            yield log
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-LAST_CHARACTERS:])
            raise


@contextmanager
def serving(case: Case, port: int, env: dict[str, str], tree: Path = ROOT):
    """Yield the server's process and its limits; the database of `env` is migrated already."""
    if case.kind == "serve":
        command = [sys.executable, "manage.py", "serve", "--port", str(port), "--workers", str(case.workers)]
    else:
        command = [sys.executable, HERE / f"{case.kind}.py", str(port)]
    with ExitStack() as stack:
        log = stack.enter_context(shown_if_it_fails())
        group = stack.enter_context(limited_memory(f"bench-{port}"))
        process = stack.enter_context(subprocess.Popen(command, env=env, cwd=tree, stdout=log, stderr=log))
        stack.callback(process.terminate)
        psutil.Process(process.pid).cpu_affinity([SERVER_CORE])
        if group:
            group.write_text(str(process.pid))
        wait_until(lambda: listening(family(process), port) == case.workers, 30, "the server listens")
        time.sleep(1.5)  # start-up is not measured
        yield process, "affinity, and a cgroup of 1 GB" if group else "affinity only"


def listening(processes: list[psutil.Process], port: int) -> int:
    connections = [connection for process in processes for connection in process.net_connections("tcp")]
    return sum(end.status == psutil.CONN_LISTEN and end.laddr.port == port for end in connections)


def family(process: subprocess.Popen) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)
