"""The client for a robot's own loop: it runs the asyncio client in a separate thread."""

import asyncio
import contextlib
from collections.abc import Coroutine
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from .aio import AsyncRobotClient
from .errors import ClientClosed
from .reporting import Stats

T = TypeVar("T")


class RobotClient:
    """Client with the arguments, methods and context manager of AsyncRobotClient, without `await`, for any thread.

    `on_ack` and `on_error` are called from the client's own thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._client = AsyncRobotClient(*args, **kwargs)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.session = self._client.session
        self.robot_id = self._client.robot_id

    def start(self) -> Self:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon thread: a robot's program that forgets to close must still be able to exit.
            self._thread = Thread(target=self._loop.run_forever, name=f"teleop {self.robot_id}", daemon=True)
            self._thread.start()
            self._call(self._start())
        return self

    async def _start(self) -> None:
        self._client.start()

    def send(
        self,
        observation: dict[str, Any] | None = None,
        action: Any = None,
        timestamp: float | None = None,
        **extra: Any,
    ) -> int | None:
        index = self._client.hold(observation, action, timestamp, **extra)
        if self._loop is not None and self._client.is_running:
            with contextlib.suppress(RuntimeError):  # another thread has closed the client since
                self._loop.call_soon_threadsafe(self._client.wake)
        return index

    @property
    def stats(self) -> Stats:
        return self._client.stats

    def wait_connected(self, timeout: float | None = None) -> None:
        self._call(self._client.wait_connected(timeout))

    def flush(self, timeout: float | None = 30.0) -> None:
        self._call(self._client.flush(timeout))

    def end(self, timeout: float | None = 30.0, meta_info: dict[str, Any] | None = None) -> int:
        frame_count = self._call(self._client.end(timeout, meta_info))
        self.close()
        return frame_count

    def close(self) -> None:
        if loop := self._running_loop():
            self._call(self._client.close())
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._running_loop():
            return
        try:
            self._call(self._client.__aexit__(kind, error, trace))
        finally:
            self.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop, or None if it has no thread: before `start`, after `close`, and in a forked process."""
        is_running = self._loop is not None and not self._loop.is_closed() and not self._client.is_forked
        return self._loop if is_running else None

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if loop := self._running_loop():
            return asyncio.run_coroutine_threadsafe(work, loop).result()
        work.close()
        raise ClientClosed("the client is not running: `start()` it, or use it as a context manager")
