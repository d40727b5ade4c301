import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class DatabaseThread:
    """Runs blocking calls one after another in one thread, with the one database connection of the ingest path.

    `prepare` is called first, in the thread, and `recover` after each call that failed. A daemon thread: a database
    that never answers must not keep the process from ending.
    """

    def __init__(self, prepare: Callable[[], object], recover: Callable[[], object]):
        self._calls: SimpleQueue[tuple[asyncio.Future, Callable, tuple]] = SimpleQueue()
        self._prepare = prepare
        self._recover = recover
        threading.Thread(target=self._run, name="ingest-database", daemon=True).start()

    async def __call__(self, function: Callable, *args: Any) -> Any:
        """The function's result or exception. A caller that is cancelled does not stop a call that has begun."""
        future = asyncio.get_running_loop().create_future()
        self._calls.put((future, function, args))
        return await future

    def _run(self) -> None:
        self._prepare()
        while True:
            future, function, args = self._calls.get()
            if future.cancelled():
                continue
            result, error = None, None
            try:
                result = function(*args)
            except Exception as raised:
                error = raised
                self._recover()
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop is closed: the process is ending
                return


def _settle(future: asyncio.Future, result: Any, error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
