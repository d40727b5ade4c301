"""The processes of `manage.py serve`: bind the port, run a worker, and replace workers that die."""

import ctypes
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from django.conf import settings
from django.core.management.base import CommandError

RESPAWN_PAUSE_S = 0.5  # a worker that dies at once must not restart in a busy loop
SWITCH_INTERVAL_S = 0.0005
BACKLOG = 1024
PR_SET_PDEATHSIG = 1
MAX_STRETCH = 3


def bind(host: str, port: int, shared: bool = False) -> socket.socket:
    """Return a socket bound to the address, or raise CommandError.

    If `shared`, other processes may bind the address too, as each worker does. If all workers accepted from one socket,
    new connections would be lost in the backlog of a killed worker.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # `::` serves IPv4 too, as on most machines
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        raise CommandError(f"cannot serve on {host}, port {port}: {error.strerror or error}") from None
    return bound


def address_of(bound: socket.socket) -> tuple[str, int]:
    """Return the host and port; the host of a link-local IPv6 address has its scope id, without which none can bind."""
    host, port, *rest = bound.getsockname()
    return (f"{host}%{rest[1]}" if rest and rest[1] else host), port


def url(bound: socket.socket) -> str:
    host, port = address_of(bound)
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
        # If the parent is killed, no other process would end this one.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # The workers share one database: with more workers each commits less often, in groups as large as one worker's.
        settings.INGEST_FLUSH_INTERVAL_MS *= min(1 + self._workers / 4, MAX_STRETCH)
        host, port = address_of(self._bound)
        announce = partial(os.close, ready) if ready is not None else lambda: None
        run_worker(bind(host, port, shared=True), announce, is_supervised=True)
