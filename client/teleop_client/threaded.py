"""The client for a robot's own loop: it runs the asyncio client in a separate thread."""

import asyncio
import atexit
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .aio import LOCK_WAIT_S, AsyncRobotClient
from .errors import ClientClosed, TeleopError
from .reporting import Stats

if TYPE_CHECKING:
    from .camera.camera import Camera

T = TypeVar("T")

WAIT_S = 0.2
EXIT_FLUSH_S = 2.0
OWN_THREAD = "this call waits for the client's thread, so a callback in that thread cannot make it"


logger = logging.getLogger("teleop_client")

_running: "set[RobotClient]" = set()  # also those to which the program has no reference any more


@atexit.register
def _flush_at_exit() -> None:
    """Send what clients hold that the program did not close."""
    for client in list(_running):
        if client.is_running:
            with contextlib.suppress(TeleopError):
                client.flush(EXIT_FLUSH_S)
            if pending := client.stats.pending:
                logger.warning("the program exits without `close`: %d frames were not acknowledged", pending)
            client.close()


class RobotClient:
    """Client with the arguments, methods and context manager of AsyncRobotClient, without `await`, for any thread.

    `on_ack` and `on_error` are called from the client's own thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._client = AsyncRobotClient(*args, **kwargs)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = threading.RLock()  # a signal handler may call `close` during `close`
        self.robot_id = self._client.robot_id

    def start(self) -> Self:
        if self._loop is None:
            connection = self._client.prepare(LOCK_WAIT_S)
            self._loop = asyncio.new_event_loop()
            # A daemon thread: a robot's program that forgets to close must still be able to exit.
            self._thread = threading.Thread(target=self._loop.run_forever, name=f"teleop {self.robot_id}", daemon=True)
            self._thread.start()
            self._call_soon(self._client.connect, connection)
            _running.add(self)
        return self

    def send(
        self,
        observation: dict[str, Any] | None = None,
        action: Any = None,
        timestamp: float | None = None,
        frame_index: int | None = None,
        **extra: Any,
    ) -> int | None:
        index = self._client.hold(observation, action, timestamp, frame_index, **extra)
        if not self._client.lingers and self._client.is_running:
            self._call_soon(self._client.wake)
        return index

    def camera(self, name: str, **options: Any) -> "Camera":
        return self._client.camera(name, **options)

    def mark(self, note: str, timestamp: float | None = None) -> str | None:
        return self._client.mark(note, timestamp)

    def new_session(self, meta_info: dict[str, Any] | None = None, end_info: dict[str, Any] | None = None) -> str:
        if not self._running_loop():
            raise ClientClosed("the client is not running")
        self._call_soon(self._client.finish_session, *self._client.begin_session(meta_info, end_info))
        return self.session

    @property
    def is_running(self) -> bool:
        return self._running_loop() is not None

    @property
    def session(self) -> str:
        return self._client.session

    @property
    def session_id(self) -> int | None:
        return self._client.session_id

    @property
    def last_timestamp(self) -> float | None:
        return self._client.last_timestamp

    @property
    def next_frame_index(self) -> int:
        return self._client.next_frame_index

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
        """Close without ending the session. If another thread is closing the client, wait for it."""
        if self._running_loop() and self._is_own_thread():
            raise ClientClosed(OWN_THREAD)
        if self._running_loop():  # a forked process may have a copy of the lock that is never released
            with self._closing:
                self._close()

    def _close(self) -> None:
        if self._running_loop():
            with contextlib.suppress(ClientClosed):  # a signal handler has closed it meanwhile
                self._call(self._client.close())
        if loop := self._running_loop():
            _running.discard(self)
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

    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _call_soon(self, function: Callable[..., object], *args: Any) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # another thread has closed the client since
                self._loop.call_soon_threadsafe(function, *args)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if loop := self._running_loop():
            if self._is_own_thread():
                work.close()
                raise ClientClosed(OWN_THREAD)
            future = asyncio.run_coroutine_threadsafe(work, loop)
            while True:  # on Windows, Ctrl-C cannot interrupt a wait without a timeout
                with contextlib.suppress(FutureTimeout):
                    return future.result(WAIT_S)
                if future.done():
                    return future.result()
                if not self._thread.is_alive():  # another thread has closed the client meanwhile
                    raise ClientClosed("the client is closed")
        work.close()
        raise ClientClosed("the client is not running: `start()` it, or use it as a context manager")
