"""PostgreSQL, Redis and the server: real processes on free ports, with temporary folders, always removed afterwards.

    python -m tests.services COMMAND ...    runs COMMAND with DATABASE_URL and REDIS_URL of a new pair

A test that stops, kills or freezes a service starts its own (`with postgres() as database:`): the pair is shared.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
import psycopg
import redis as redis_client
from psycopg import sql

ROOT = Path(__file__).parent.parent
T = TypeVar("T")
S = TypeVar("S", bound="Service")


def wait_until(condition: Callable[[], T], timeout: float = 30, what: str = "") -> T:
    """Return the first true value of `condition()`, called every 20 ms; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """Return a port below the kernel's outgoing range, so that a service that restarts finds its port free again."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 10_000 + secrets.randbelow(20_000)))
            return probe.getsockname()[1]


class Service:
    """A process and its children, on a port of its own, its output in `log`."""

    stop_signal = signal.SIGTERM
    runs_as: str | None = None  # a system user, if the program refuses ours
    process: subprocess.Popen

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / f"{type(self).__name__.lower()}-{self.port}.log"

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def answers(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes()]

    def start(self) -> Self:
        # The kernel stops the service when the tests end, even by SIGKILL.
        command = ["setpriv", "--pdeathsig", self.stop_signal.name.removeprefix("SIG")]
        if self.runs_as:
            command += ["--reuid", self.runs_as, "--regid", self.runs_as, "--init-groups"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.command()],
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only the tests, which then stop the service
            )
        try:
            wait_until(self._is_up, 30, f"{self.log.name} up")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, how: signal.Signals | None = None, timeout: float = 15) -> int:
        """End the service, by SIGKILL after `timeout`; return the exit code (negative: the signal that ended it)."""
        if self.process.poll() is None:
            self.thaw()
            self.process.send_signal(how or self.stop_signal)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def terminate(self) -> None:
        """Send the stop signal and do not wait."""
        self.process.terminate()

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def kill(self) -> None:
        """Send SIGKILL to all its processes at once, like the kernel out of memory or a power cut."""
        self.freeze()
        killed = self._signal(signal.SIGKILL)
        self.process.wait()
        # A container's PID 1 may reap no orphans: a zombie holds no resources and counts as ended.
        wait_until(lambda: not any(map(is_running, killed)), what="death")

    def freeze(self) -> None:
        """Send SIGSTOP to all its processes, and again to those that were started during the first pass."""
        self._signal(signal.SIGSTOP)
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def _processes(self) -> list[psutil.Process]:
        if self.process.poll() is not None:
            return []
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def _signal(self, number: signal.Signals) -> list[psutil.Process]:
        processes = self._processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                process.send_signal(number)
        return processes

    def _is_up(self) -> bool:
        assert self.process.poll() is None, f"exit code {self.process.returncode} at the start:\n{self.output()}"
        return self.answers()


class Postgres(Service):
    """A cluster with PostgreSQL's defaults (fsync and synchronous_commit on, 100 connections) and one trusted user."""

    stop_signal = signal.SIGINT  # "fast"; SIGTERM is "smart" and waits for clients, SIGQUIT "immediate"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.runs_as = "postgres"
            shutil.chown(folder, "postgres")
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        made = subprocess.run(self.command_for_data(), user=self.runs_as, cwd=folder, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr

    def command_for_data(self) -> list[str | Path]:
        """Return the command that makes the folder `data`."""
        initdb = [postgres_program("initdb"), "--username=postgres", "--auth=trust"]
        return [*initdb, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", self.folder / "data"]

    def command(self) -> list[str | Path]:
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        settings = [f"--{name}={value}" for name, value in options.items()]
        return [postgres_program("postgres"), "-D", self.folder / "data", *settings]

    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

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


class Redis(Service):
    """A Redis that writes nothing to disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str | Path]:
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder]
        return [program("redis-server"), *where, "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        with redis_client.Redis(port=self.port, socket_timeout=2) as connection:
            try:
                return connection.ping()
            except redis_client.ConnectionError:
                return False


class Server(Service):
    """`manage.py serve`; `settings` are environment variables that override those of the tests."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        super().__init__(folder)
        self.options = options
        # Tests of a server use one robot id for many robots: no rate limit on its connections.
        limits = {"HANDSHAKES_PER_ROBOT": "0", "NEW_SESSIONS_PER_ROBOT": "0"}
        self.settings = {"DEBUG": "0", "ROBOT_AUTH": "key"} | limits | settings
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"

    def command(self) -> list[str | Path]:
        return [sys.executable, "manage.py", "serve", "--port", str(self.port), *self.options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONUNBUFFERED": "1", **self.settings}

    def answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200
        except OSError:  # nothing listens yet, or 503
            return False


@contextmanager
def postgres() -> Iterator[Postgres]:
    with running(Postgres) as service:
        yield service


@contextmanager
def redis() -> Iterator[Redis]:
    with running(Redis) as service:
        yield service


@contextmanager
def running(kind: Callable[[Path], S]) -> Iterator[S]:
    """Start a service in a new folder; stop it and remove the folder afterwards."""
    with tempfile.TemporaryDirectory(prefix="teleop-", ignore_cleanup_errors=True) as folder:
        service = kind(Path(folder)).start()
        try:
            yield service
        finally:
            service.stop()


def is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def program(name: str, *folders: Path) -> str:
    """Find a program also in `folders`: Debian keeps PostgreSQL's programs off the PATH."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, folders)]))
    assert found, f"no {name}: sudo apt-get install postgresql redis-server pgbouncer (as root, `make test` does it)"
    return found


def postgres_program(name: str) -> str:
    return program(name, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))


def main(command: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script in the background would ignore it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with postgres() as database, redis() as channels:
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
