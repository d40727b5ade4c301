"""The thread that works on the sessions of one connected robot, so that lerobot's loop waits for nothing."""

import functools
import queue
import threading
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from .sessions import Sessions

P = ParamSpec("P")


class SessionThread:
    """Calls methods of `sessions` one after another. They must not raise."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="teleop stream", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for call in iter(self._calls.get, None):
            call()

    @property
    def waiting(self) -> int:
        """Return the number of calls that wait."""
        return self._calls.qsize()

    def call(self, method: Callable[Concatenate[Sessions, P], None], *args: P.args, **kwargs: P.kwargs) -> None:
        self._calls.put(functools.partial(method, self._sessions, *args, **kwargs))

    def close(self, timeout_s: float) -> None:
        """End the sessions, wait until the server has everything, and tell the user. The rest stays on disk."""
        until_s = time.monotonic() + timeout_s
        self.call(Sessions.stop)
        self._calls.put(None)
        try:
            self._thread.join(timeout_s)
            self._sessions.wait(until_s)
        finally:  # also if the user presses Ctrl-C again
            self._sessions.report()
