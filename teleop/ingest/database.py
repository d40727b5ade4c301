import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

logger = logging.getLogger(__name__)


class DatabaseThread:
    """Thread that runs blocking calls one after another, with a database connection of its own.

    The thread calls `prepare` first, and `recover(error, failures_in_a_row)` after each call that failed. It is a
    daemon thread: a database that never answers must not keep the process from ending.
    """

    def __init__(self, name: str, prepare: Callable[[], object], recover: Callable[[Exception, int], object]):
        self._calls: SimpleQueue[tuple[asyncio.Future, Callable, tuple]] = SimpleQueue()
        self._prepare = prepare
        self._recover = recover
        self._busy_since: float | None = None  # by time.monotonic()
        self._failures_in_a_row = 0
        self._thread = threading.Thread(target=self._run, name=f"ingest-{name}", daemon=True)
        self._thread.start()

    async def __call__(self, function: Callable, *args: Any) -> Any:
        """Return the function's result or raise its exception. Cancelling a caller does not stop a running call."""
        future = asyncio.get_running_loop().create_future()
        self._calls.put((future, function, args))
        return await future

    def problem(self, stuck_after_s: float) -> str | None:
        """Describe the thread's problem, if there is one: the thread is dead, or one call takes too long."""
        if not self._thread.is_alive():
            return "its database thread has died"
        busy_since = self._busy_since  # the thread may end the call at any moment
        busy_s = 0.0 if busy_since is None else time.monotonic() - busy_since
        return f"its database thread has been in one call for {busy_s:.0f} s" if busy_s > stuck_after_s else None

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        self._prepare()
        while True:
            future, function, args = self._calls.get()
            if future.cancelled():
                continue
            self._busy_since = time.monotonic()
            result, error = None, None
            try:
                result = function(*args)
                self._failures_in_a_row = 0
            except Exception as raised:
                error = raised
                self._failures_in_a_row += 1
                self._try_to_recover(raised)
            self._busy_since = None
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop is closed: the process is ending
                return

    def _try_to_recover(self, error: Exception) -> None:
        try:
            self._recover(error, self._failures_in_a_row)
        except Exception:  # the thread must live: without it nothing is stored until a restart
            logger.exception("the database connection could not be reset")


def _settle(future: asyncio.Future, result: Any, error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
