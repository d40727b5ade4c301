import ctypes
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.utils import autoreload

from robots.management.base import FormatCheckedCommand

RESPAWN_PAUSE_S = 0.5  # a worker that dies at once must not restart in a busy loop
SWITCH_INTERVAL_S = 0.0005
BACKLOG = 1024
PR_SET_PDEATHSIG = 1
MAX_STRETCH = 3


class Command(FormatCheckedCommand):
    help = "Runs the server: Daphne on uvloop, one process or --workers N of them on one port."

    def add_arguments(self, parser):
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 takes a free one, and says which")
        parser.add_argument("--workers", type=int, default=1)
        parser.add_argument("--reload", action="store_true", help="restart when a file changes (for development)")

    def execute(self, *args, **options):
        """Execute; with several workers, set a folder for their counters before any import of prometheus-client."""
        if options["workers"] == 1:
            return super().execute(*args, **options)
        with tempfile.TemporaryDirectory(prefix="teleop-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            try:
                return super().execute(*args, **options)
            finally:
                del os.environ["PROMETHEUS_MULTIPROC_DIR"]  # the caller of the command must not use this folder

    def handle(self, *args, host, port, workers, reload, **options):
        if not 0 <= port <= 65535:
            raise CommandError(f"--port is {port}; 0 to 65535 expected")
        if not 1 <= workers <= 64:
            raise CommandError(f"--workers is {workers}; 1 to 64 expected")
        if workers > 1 and not settings.REDIS_URL:
            raise CommandError(
                f"--workers is {workers} and REDIS_URL is empty: without Redis a worker cannot tell the others that a "
                "robot's session was taken over, its key replaced or its connection ended"
            )
        if workers > 1 and reload:
            raise CommandError("--reload serves with one worker")
        with bind(
            host, port
        ) as bound:  # fails if another server has the port; a shared bind would silently divide the connections
            check_open(bound.getsockname()[0])
        check_database(connections["default"])
        check_media()
        if reload:
            autoreload.run_with_reloader(self.serve, host, port, signal_handlers=False)
        elif workers == 1:
            self.serve(host, port)
        else:
            Supervisor(bind(host, port, shared=True), workers, self.stdout).run()

    def serve(self, host, port, signal_handlers=True):
        listening = bind(host, port)
        run_worker(listening, partial(self.announce, url(listening)), signal_handlers)

    def announce(self, address: str) -> None:
        self.stdout.write(f"serving on {address}")
        self.stdout.flush()


def check_open(address: str) -> None:
    """Refuse to serve without keys on a reachable address, unless a second setting says that this is intended."""
    if settings.ROBOT_AUTH != "open" or settings.ROBOT_AUTH_OPEN_ANYWHERE:
        return
    is_local = ip_address(address.partition("%")[0]).is_loopback
    where = "ALLOWED_HOSTS is *" if "*" in settings.ALLOWED_HOSTS else "" if is_local else f"the address is {address}"
    if where:
        raise CommandError(
            f"ROBOT_AUTH is open and {where}: anybody could read everything and stream. Set ROBOT_AUTH=key; or, on a "
            "closed network, ROBOT_AUTH_OPEN_ANYWHERE=1"
        )


def check_database(database: BaseDatabaseWrapper) -> None:
    """Fail here if the database would fail for each robot. A newer schema is fine: migrations only add."""
    options = database.settings_dict["OPTIONS"]
    pool = options.pop("pool", None)  # its threads would not survive the fork, and a worker would wait for them forever
    try:
        executor = MigrationExecutor(database)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseFailure as error:
        said = str(error).strip().splitlines()[0]
        raise CommandError(f"the database of DATABASE_URL cannot be used: {said}") from None
    finally:
        database.close()
        if pool:
            options["pool"] = pool
    if missing:
        raise CommandError(
            f"{len(missing)} migrations are not applied, the first is {missing[0][0]}: python manage.py migrate"
        )


def check_media() -> None:
    folder = settings.MEDIA_ROOT
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise CommandError(f"MEDIA_ROOT is {folder}; a folder that this user may write to expected")


def bind(host: str, port: int, shared: bool = False) -> socket.socket:
    """Return a socket bound to the address, or raise CommandError.

    If `shared`, other processes may bind the address too, as each worker does. If all workers accepted from one socket,
    new connections would be lost in the backlog of a killed worker.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        raise CommandError(f"cannot serve on {host}, port {port}: {error.strerror or error}") from None
    return bound


def url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_worker(
    listening: socket.socket, ready: Callable[[], None], signal_handlers: bool = True, is_supervised: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT, then end the process; call `ready` once it listens.

    If a part of the worker has failed, the worker stops in the same order, and the process starts anew.
    """
    from config.asgi import application
    from teleop.ingest.worker import running_worker
    from teleop.server.daphne import Server  # here, because its import makes the process's event loop

    # Stock: 5 ms. For so long each thread that computes makes the event loop, and so the robots' acks, wait for
    # Python's lock. With 8 downloads the 95th percentile of an ack was 477 ms, and is 111 ms with this setting.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    listening.listen(BACKLOG)
    server = Server(application, listening, signal_handlers, ready)
    server.run()
    # Do not end by a return: a thread that waits for a database that never answers would keep the process alive.
    logging.shutdown()
    sys.stdout.flush()
    if not running_worker().has_failed:
        os._exit(0)
    if is_supervised:
        os._exit(1)
    time.sleep(RESPAWN_PAUSE_S)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # nosec B606 # itself, with its own arguments


def mark_process_dead(pid: int) -> None:
    """Remove the gauges of a process that ended. Its counters stay."""
    from prometheus_client import multiprocess  # here, because its import looks for its folder

    multiprocess.mark_process_dead(pid)


class Supervisor:
    """The parent process. It forks the workers, replaces those that die, and on a signal ends all of them.

    Its own socket only reserves the port: the socket is bound and never listens.
    """

    def __init__(self, bound: socket.socket, workers: int, stdout):
        self._bound = bound
        self._workers = workers
        self._stdout = stdout
        self._started: dict[int, float] = {}  # start time of each running worker, by pid
        self._is_ending = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        until_ready, ready = os.pipe()
        for _ in range(self._workers):
            self._fork(ready)
        os.close(ready)
        os.read(until_ready, 1)  # end of file: each worker listens or has died
        os.close(until_ready)
        self._stdout.write(f"serving on {url(self._bound)} with {self._workers} workers")
        self._stdout.flush()
        while self._started:
            pid, status = os.wait()
            started = self._started.pop(pid, 0.0)
            mark_process_dead(pid)
            if not self._is_ending:
                code = os.waitstatus_to_exitcode(status)
                self._stdout.write(
                    f"worker {pid} ended ({f'signal {-code}' if code < 0 else f'exit {code}'}); starting another"
                )
                if time.monotonic() - started < RESPAWN_PAUSE_S:
                    time.sleep(RESPAWN_PAUSE_S)
                self._fork()

    def _end(self, *_) -> None:
        """Send SIGTERM to all workers. os.wait() continues after this handler, and returns as the workers end."""
        self._is_ending = True
        for pid in list(self._started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _fork(self, ready: int | None = None) -> None:
        # Block signals until the new worker is in `_started`, and until the worker has handlers of its own.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        pid = None if self._is_ending else os.fork()
        if pid:
            self._started[pid] = time.monotonic()
        if pid != 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(
            PR_SET_PDEATHSIG, signal.SIGTERM
        )  # if the parent is killed, no other process would end it
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # The workers share one database: with more workers each commits less often, in groups as large as one worker's.
        settings.INGEST_FLUSH_INTERVAL_MS *= min(1 + self._workers / 4, MAX_STRETCH)
        host, port = self._bound.getsockname()[:2]
        announce = partial(os.close, ready) if ready is not None else lambda: None
        run_worker(bind(host, port, shared=True), announce, is_supervised=True)
