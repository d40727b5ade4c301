"""Run one job in a forked process with limits: a crash or a bomb in a library costs one job."""

import ctypes
import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, connections

from teleop.background.kinds import Kind, Postponed, Unusable
from teleop.ingest.transactions import use_dedicated_connection

RENEW_S = 10
WALL_TIMES, WALL_EXTRA_S = 20, 600  # a process at the lowest priority may wait long for processor time
PR_SET_PDEATHSIG = 1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Failure(NamedTuple):
    """Why there is no result; `is_final` if another attempt would end in the same way.

    `is_postponed` means that the work was not at fault, and that this was no attempt.
    """

    reason: str
    is_final: bool = False
    is_postponed: bool = False


def run_isolated(kind: Kind, target: Any, renew: Callable[[float | None], bool]) -> Failure | None:
    """Do the work; None means that it is done. `renew` gets the progress every 10 s, and returns whether to go on.

    The process has one thread. Its connections to the database are closed first: two processes cannot share them.
    """
    memory_bytes, cpu_s = kind.memory_of(target), kind.cpu_s(target)
    connections.close_all()
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = None
    try:
        with _signals_delayed():
            if (pid := os.fork()) == 0:
                os.close(reader)
                _run(kind, target, writer, memory_bytes, cpu_s)
            os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = _listen(pipe, cpu_s, renew)
    finally:
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # without effect on a process that has ended
            _, status = os.waitpid(pid, 0)
    if said is not None:
        return None if said == {} else Failure(**said)
    return _failure_of(os.waitstatus_to_exitcode(status), cpu_s)


@contextmanager
def _signals_delayed() -> Iterator[None]:
    """Handle the signals that came meanwhile at the end.

    Python calls functions around a fork which take and release locks, that of logging for example. If a handler raised
    in one of them, Python would swallow the exception, and the lock would stay taken. Blocked signals would not do: a
    thread of a library may receive them, and the handler runs in this thread all the same.
    """
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in came:
        signal.raise_signal(number)


def _run(kind: Kind, target: Any, writer: int, memory_bytes: int, cpu_s: float) -> None:
    """Run in the forked process, which never returns."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    use_dedicated_connection()  # threads of a pool do not survive a fork
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C goes to the whole group; the parent ends this
    seconds = int(cpu_s) + 1
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(writer, "w") as pipe:

        def say(**what: Any) -> None:
            pipe.write(json.dumps(what) + "\n")
            pipe.flush()

        try:
            kind.run(target, lambda progress: say(progress=progress))
        except Unusable as error:
            say(reason=str(error), is_final=True)
        except Postponed as error:
            say(reason=str(error), is_postponed=True)
        except MemoryError:
            say(reason=f"it takes more than {memory_bytes >> 20} MB of memory", is_final=True)
        except (OperationalError, InterfaceError) as error:
            say(reason=f"the database failed: {error}")
        except BaseException as error:  # whatever ends the job, the parent process has to know the reason
            traceback.print_exc()
            say(reason=f"{type(error).__name__}: {error}")
        else:
            say()
    os._exit(0)


def _listen(pipe, cpu_s: float, renew: Callable[[float | None], bool]) -> dict | None:
    """Return the last message; None if the process ended without one, or may not go on."""
    ends_at = time.monotonic() + WALL_TIMES * cpu_s + WALL_EXTRA_S
    progress, renew_at = None, time.monotonic() + RENEW_S
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while time.monotonic() < ends_at:
            if selector.select(max(0.0, renew_at - time.monotonic())):
                line = pipe.readline()
                if not line:
                    return None
                said = json.loads(line)
                if "progress" not in said:
                    return said
                progress = said["progress"]
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + RENEW_S
                if not renew(progress):
                    return {"reason": "another process has taken it"}
    return {"reason": f"it took more than {WALL_TIMES * cpu_s + WALL_EXTRA_S:.0f} s"}


def _failure_of(exit_code: int, cpu_s: float) -> Failure:
    if exit_code == -signal.SIGXCPU:
        return Failure(f"it takes more than {cpu_s:.0f} s of processor time", is_final=True)
    if exit_code < 0:
        return Failure(f"its process was killed by {signal.Signals(-exit_code).name}")
    return Failure(f"its process exited with {exit_code}")
