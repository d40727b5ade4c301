"""Run the work of all spools of this process in one thread."""

import contextlib
import sys
import threading
import time
import weakref
from typing import Protocol


class Worker(Protocol):
    """An object with work for the thread, to be done every `interval_s`."""

    interval_s: float

    def work(self) -> None: ...

    def close_in_child(self) -> None:
        """Handle a fork, in the child."""


class SyncThread:
    """A daemon thread, started with the first worker. It keeps neither a worker nor the interpreter alive."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        # When the next work is due, on the monotonic clock; never before `start`.
        self._due: dict[weakref.ref[Worker], float] = {}
        self._thread: threading.Thread | None = None

    def add(self, worker: Worker) -> None:
        with self._changed:
            self._due[weakref.ref(worker)] = float("inf")

    def start(self, worker: Worker) -> None:
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="teleop-spool", daemon=True)
                with contextlib.suppress(RuntimeError):  # there can be no more threads, so nothing is synced
                    thread.start()
                    self._thread = thread
            if weakref.ref(worker) in self._due:  # not closed meanwhile
                self._due[weakref.ref(worker)] = time.monotonic() + worker.interval_s
                self._changed.notify()

    def wake(self, worker: Worker) -> bool:
        """Let the thread work at once. Return False if there is no thread, or the worker is not started."""
        with self._changed:
            if self._due.get(weakref.ref(worker), float("inf")) == float("inf"):
                return False
            self._due[weakref.ref(worker)] = 0.0
            self._changed.notify()
            return self._thread is not None

    def remove(self, worker: Worker) -> None:
        with self._changed:
            self._due.pop(weakref.ref(worker), None)

    def _run(self) -> None:
        while True:
            for ref in self._wait():
                if worker := ref():
                    with contextlib.suppress(Exception):  # one worker's fault must not stop the others' syncs
                        worker.work()
                del worker

    def _wait(self) -> list[weakref.ref[Worker]]:
        """Wait until the work of some is due; set the time of their next work."""
        with self._changed:
            while True:
                now, due = time.monotonic(), []
                for ref, at in list(self._due.items()):
                    if (worker := ref()) is None:
                        del self._due[ref]
                    elif at <= now:
                        due.append(ref)
                        # At multiples of the interval, so that the thread wakes up once for all workers.
                        self._due[ref] = (now // worker.interval_s + 1) * worker.interval_s
                    del worker
                if due:
                    return due
                next_at = min(self._due.values(), default=float("inf"))
                self._changed.wait(min(next_at - now, threading.TIMEOUT_MAX))

    def after_fork_in_child(self) -> None:
        workers = [ref() for ref in self._due]
        self._reset()  # the thread does not run in the child
        for worker in workers:
            if worker:
                worker.close_in_child()


sync_thread = SyncThread()
if sys.platform != "win32":
    import os

    os.register_at_fork(after_in_child=sync_thread.after_fork_in_child)
