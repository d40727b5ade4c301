"""The processes of a run: PostgreSQL, Redis, the server, the generator. None outlives this one, however it ends.

tests/services.py extends these classes for the tests.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import redis

from loadtest.run.limits import Limits

ROOT = Path(__file__).parent.parent.parent
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 15
INSTEAD = {"initdb": ", or give --postgres-url of one that runs"}


class Unusable(Exception):
    """Raised if a program that the load test needs is missing or does not start; the message is one line."""


class Service(ABC):
    """A program and its children, on a port of its own, with its output in `log`."""

    stop_signal = signal.SIGTERM
    stdout: int | None = None  # None: into the log
    process: subprocess.Popen[Any]

    def __init__(self, folder: Path, cores: list[int] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / f"{self.name}-{self.port}.log"
        self.account: dict[str, Any] = {}  # options of Popen
        self._cores = cores

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @abstractmethod
    def command(self) -> list[str | Path]: ...

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    @abstractmethod
    def answers(self) -> bool: ...

    def use_account(self, name: str) -> None:
        """Run as this system user if this process is root: some programs refuse to run as root."""
        if os.geteuid() == 0:
            self.account = {"user": name, "group": name, "extra_groups": []}
            shutil.chown(self.folder, name)

    def limit(self) -> None:
        """Limit the program, which has no children yet."""
        if self._cores:
            psutil.Process(self.process.pid).cpu_affinity(self._cores)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        self.process = self.launch()
        try:
            self.limit()
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise
        return self

    def launch(self) -> subprocess.Popen[Any]:
        # Even after SIGKILL of this process, the kernel stops the programs that it started.
        guard = ["setpriv", "--pdeathsig", self.stop_signal.name.removeprefix("SIG")] if shutil.which("setpriv") else []
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*guard, *self.command()],
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=self.stdout or log,
                stderr=log,
                start_new_session=True,  # this process handles Ctrl-C, and then ends the others
                **self.account,
            )

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while (code := self.process.poll()) is not None or not self.answers():
            if code is not None or time.monotonic() > deadline:
                reason = f"no answer within {START_TIMEOUT_S} s" if code is None else f"exit code {code}"
                raise unusable(f"{self.name} did not start ({reason})", self.output())
            time.sleep(0.02)

    def stop(self, how: signal.Signals | None = None, timeout: float = STOP_TIMEOUT_S) -> int:
        """End the service, by SIGKILL after `timeout`; return the exit code (negative: the signal that ended it)."""
        if self.process.poll() is None:
            self.process.send_signal(how or self.stop_signal)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def kill(self) -> None:
        """Send SIGKILL to all its processes at once, like the kernel out of memory or a power cut."""
        self.freeze()
        killed = self.send_signal(signal.SIGKILL)
        self.process.wait()
        # A container's PID 1 may reap no orphans: a zombie holds no resources and counts as ended.
        while any(map(is_running, killed)):
            time.sleep(0.02)

    def freeze(self) -> None:
        """Send SIGSTOP to all its processes, and again to those that were started during the first pass."""
        self.send_signal(signal.SIGSTOP)
        self.send_signal(signal.SIGSTOP)

    def send_signal(self, number: signal.Signals) -> list[psutil.Process]:
        processes = self.processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                process.send_signal(number)
        return processes

    def processes(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)] if self.process.poll() is None else []
        except psutil.NoSuchProcess:  # it ended meanwhile
            return []

    def output(self) -> str:
        return self.log.read_text(errors="replace")


class Postgres(Service):
    """A cluster with PostgreSQL's defaults (fsync and synchronous_commit on, 100 connections) and one trusted user."""

    stop_signal = signal.SIGINT  # "fast"; SIGTERM is "smart" and waits for clients, SIGQUIT "immediate"

    def __init__(self, folder: Path, cores: list[int] | None = None) -> None:
        super().__init__(folder, cores)
        self.use_account("postgres")
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        made = subprocess.run(self.command_for_data(), cwd=folder, capture_output=True, text=True, **self.account)
        if made.returncode:
            raise unusable("no PostgreSQL: cannot make its data", made.stderr)

    def command_for_data(self) -> list[str | Path]:
        """Return the command that makes the folder `data`."""
        initdb = [program("initdb"), "--username=postgres", "--auth=trust"]
        return [*initdb, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", self.folder / "data"]

    def command(self) -> list[str | Path]:
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        settings = [f"--{name}={value}" for name, value in options.items()]
        return [program("postgres"), "-D", self.folder / "data", *settings]

    def answers(self) -> bool:
        return answers(self.url)


class Redis(Service):
    """A Redis that writes nothing to disk."""

    def __init__(self, folder: Path, cores: list[int] | None = None) -> None:
        super().__init__(folder, cores)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str | Path]:
        where: list[str | Path] = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder]
        return [program("redis-server"), *where, "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        with redis.Redis(port=self.port, socket_timeout=2) as connection:
            try:
                return connection.ping()
            except redis.RedisError:
                return False


class Server(Service):
    """`manage.py serve`, with `settings` as environment variables."""

    program: tuple[str, ...] = ("manage.py", "serve")

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        super().__init__(folder)
        self.options, self.settings = options, settings
        self.url = f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str | Path]:
        return [sys.executable, *self.program, "--port", str(self.port), *self.options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONUNBUFFERED": "1", **self.settings}

    def answers(self) -> bool:
        return "serving on" in self.output()  # once all workers listen


class LimitedServer(Server):
    """A server, or another `program`, under limits and on a fresh database; `token` is for its API clients."""

    name = "server"

    def __init__(self, folder: Path, limits: Limits, program: tuple[str, ...], *options: str, **settings: str) -> None:
        super().__init__(folder, *options, **settings)
        self.program, self._limits = program, limits

    def start(self) -> Self:
        prepare = [sys.executable, "-m", "loadtest.run.prepare"]
        prepared = subprocess.run(prepare, cwd=ROOT, env=self.environment(), capture_output=True, text=True)
        if prepared.returncode:
            raise unusable("the fresh database is unusable", prepared.stderr)
        self.token = prepared.stdout
        return super().start()

    def limit(self) -> None:
        self._limits.apply(self.process.pid)


class Generator(Service):
    """The load generator, which prints its events into a pipe."""

    stdout = subprocess.PIPE

    def __init__(self, folder: Path, cores: list[int], order: dict[str, Any]) -> None:
        super().__init__(folder, cores)
        self._order = order

    def command(self) -> list[str | Path]:
        return [sys.executable, "-m", "loadtest.generator.generate", json.dumps(self._order)]

    def answers(self) -> bool:
        return True


def unusable(message: str, output: str) -> Unusable:
    """Return an error of one line, which ends with the last line of `output`; a traceback shows all of it."""
    error = Unusable(f"{message}: {last_line(output)}")
    error.add_note(output)
    return error


def last_line(output: str) -> str:
    return (output.strip().splitlines() or ["no output"])[-1]


def free_port() -> int:
    """Return a port below the kernel's outgoing range, so that a service that restarts finds its port free again."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 10_000 + secrets.randbelow(20_000)))
            return probe.getsockname()[1]


def is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def program(name: str) -> str:
    """Find a program. Debian keeps those of PostgreSQL and PgBouncer off the PATH."""
    folders = ["/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *folders]))
    if not found:
        package = name if name in ("redis-server", "pgbouncer") else "postgresql"
        raise Unusable(f"no {name}: install Debian's {package}{INSTEAD.get(name, '')}")
    return found
