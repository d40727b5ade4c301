"""The processes of a run: PostgreSQL, Redis, the server, the generator. None outlives this one, however it ends."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg

from loadtest.run.limits import Limits

ROOT = Path(__file__).parent.parent.parent
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 15
INSTEAD = {"initdb": ", or give --postgres-url of one that runs"}


class Unusable(Exception):
    """Raised if a program that the load test needs is missing; the message is one line."""


class Process:
    """A program and its children, with its output in a file of `folder`."""

    stop_signal = signal.SIGTERM
    runs_as: str | None = None  # a system user, if the program cannot run as ours

    def __init__(self, name: str, folder: Path, cores: list[int] | None = None) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._cores = cores

    def start(self, command: list[str | Path], env: dict[str, str], output: int | None = None) -> None:
        # Even after SIGKILL of this process, the kernel stops the programs that it started.
        guard = ["setpriv", "--pdeathsig", self.stop_signal.name.removeprefix("SIG")] if shutil.which("setpriv") else []
        guard += ["--reuid", self.runs_as, "--regid", self.runs_as, "--init-groups"] if guard and self.runs_as else []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*guard, *command],
                cwd=ROOT,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output or log,
                stderr=log,
                start_new_session=True,  # this process handles Ctrl-C, and then ends the others
            )
        if self._cores:
            psutil.Process(self.process.pid).cpu_affinity(self._cores)

    def wait_for(self, condition: Callable[[], object]) -> object:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (value := condition()):
            if self.process.poll() is not None:
                raise Unusable(f"{self.name} did not start: {self.last_line()}")
            if time.monotonic() > deadline:
                raise Unusable(f"{self.name} did not start within {START_TIMEOUT_S} s: {self.last_line()}")
            time.sleep(0.05)
        return value

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def last_line(self) -> str:
        return (self.output().strip().splitlines() or ["it said nothing"])[-1]

    def family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> None:
        family = self.family()
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            for each in family:
                if each.is_running():
                    each.kill()
            self.process.wait()


class Postgres(Process):
    """A cluster with PostgreSQL's defaults: fsync and synchronous_commit on, 100 connections."""

    stop_signal = signal.SIGINT  # "fast"; SIGTERM is "smart" and waits for clients

    def __enter__(self) -> "Postgres":
        self.port = free_port()
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.runs_as = "postgres"
            shutil.chown(self.folder, "postgres")
        initdb = [program("initdb"), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        made = subprocess.run(
            [*initdb, "--no-sync", self.folder / "data"], user=self.runs_as, cwd=self.folder, capture_output=True
        )
        if made.returncode:
            raise Unusable(f"no PostgreSQL: initdb says {made.stderr.decode().strip().splitlines()[-1]}")
        where = [f"--port={self.port}", "--listen_addresses=127.0.0.1", f"--unix_socket_directories={self.folder}"]
        self.start([program("postgres"), "-D", self.folder / "data", *where], {})
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        try:
            self.wait_for(lambda: answers(self.url))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()


class Redis(Process):
    """Redis as the channel layer that several workers need; it writes nothing to disk."""

    def __enter__(self) -> "Redis":
        port = free_port()
        where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", self.folder]
        self.start([program("redis-server"), *where, "--save", "", "--appendonly", "no"], {})
        self.url = f"redis://127.0.0.1:{port}/0"
        self.wait_for(lambda: listens(port))
        return self

    def __exit__(self, *_) -> None:
        self.stop()


class Server(Process):
    """`manage.py serve`, or another `command`, under its limits."""

    def __init__(self, folder: Path, limits: Limits, env: dict[str, str], command: list[str]) -> None:
        super().__init__("server", folder)
        self._limits, self._env, self._command = limits, env, command

    def __enter__(self) -> "Server":
        prepared = subprocess.run(
            [sys.executable, "-m", "loadtest.run.prepare"],
            cwd=ROOT,
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
        )
        if prepared.returncode:
            raise Unusable(f"the fresh database is unusable: {prepared.stderr.strip().splitlines()[-1]}")
        self.token = prepared.stdout
        self.start([sys.executable, *self._command], self._env | {"PYTHONUNBUFFERED": "1"})
        self._limits.apply(self.process.pid)
        try:
            self.url = self.wait_for(lambda: re.search(r"serving on (http://\S+)", self.output()))[1]
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def program(name: str) -> str:
    """Find PostgreSQL's programs, which Debian keeps off the PATH."""
    folders = [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if not found:
        package = "redis-server" if name == "redis-server" else "postgresql"
        raise Unusable(f"no {name}: install Debian's {package}{INSTEAD.get(name, '')}")
    return found
