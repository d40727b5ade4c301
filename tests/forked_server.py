"""Processes of the server that begin as a fork of a process that has imported the libraries.

Such a start takes 0.2 s of CPU; a new interpreter takes 0.6 s, most of it for imports. The settings and the project's
own modules are imported after the fork: they depend on the environment.
"""

import atexit
import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1

# Libraries that read no setting and start nothing when they are imported, and pytest, the main module of this process,
# which each fork imports again. Twisted's reactor is none of them: all servers would share its file descriptors.
LIBRARIES = [
    "pytest",
    "autobahn.websocket.protocol",
    "django.contrib.admin",
    "django.core.management",
    "django.test",
    "drf_spectacular",
    "jinja2",
    "orjson",
    "psycopg_pool",
    "redis",
    "requests",
    "twisted.internet.endpoints",
    "twisted.web.http",
    "uvloop",
    "yaml",
]

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(LIBRARIES)


class ForkedProcess:
    """A `python ARGUMENTS` with the methods of subprocess.Popen that a Service uses."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
        log.touch()
        self._process = forks.Process(target=run, args=(arguments, folder, environment, log), daemon=True)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the server", timeout)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has ended, and `poll` does not know yet
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def run(arguments: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
    """Become the process: in the fork, with its own session, environment and output."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ |= environment
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
        stream.reconfigure(line_buffering=True)
    os.close(output)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.orig_argv = [sys.executable, *arguments]
    sys.argv = arguments[1:] if arguments[0] == "-m" else arguments
    try:
        if arguments[0] == "-m":
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends a process without them
