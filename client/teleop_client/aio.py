"""The asyncio client: one task that connects, writes and reads for one ClientProtocol."""

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from .encoding import SUBPROTOCOL, key_header, websocket_url
from .errors import ClientClosed, TeleopError, TeleopTimeout
from .protocol import ClientProtocol
from .reconnect import CODE_NETWORK, DEFAULT_DELAYS, Delays
from .reporting import Stats

logger = logging.getLogger("teleop_client")

CLOSE_TIMEOUT_S = 2.0
FLUSH_ON_ERROR_S = 2.0


class AsyncRobotClient:
    """Streams one session of one robot; connects, reconnects and resends by itself.

    `session` names the session to resume after the process has restarted; without it a new one is begun. `on_ack`
    gets the seconds from `send` to acknowledgement of each acknowledged frame, `on_error` every TeleopError; both are
    called from the event loop and must be quick. With `strict=True`, for tests of a robot's program, `send` raises
    FrameInvalid and ClientClosed; without it `send` raises nothing.

    As a context manager it ends the session at the end of the block. If the block raises an exception, the client sends
    held frames for two seconds at most and keeps the session open, to be resumed.
    """

    def __init__(
        self,
        url: str,
        robot_id: str,
        key: str | None = None,
        session: str | None = None,
        *,
        fps: int = 60,
        meta_info: dict[str, Any] | None = None,
        max_held_frames: int = 100_000,
        max_held_bytes: int = 64 << 20,
        strict: bool = False,
        delays: Delays = DEFAULT_DELAYS,
        connect_timeout_s: float = 10.0,
        ping_interval_s: float = 20.0,
        ping_timeout_s: float = 20.0,
        on_ack: Callable[[list[float]], None] | None = None,
        on_error: Callable[[TeleopError], None] | None = None,
    ) -> None:
        self.session = session or str(uuid.uuid4())
        self.robot_id = robot_id
        self.protocol = ClientProtocol(
            fps=fps,
            meta_info=meta_info,
            max_held_frames=max_held_frames,
            max_held_bytes=max_held_bytes,
            strict=strict,
            delays=delays,
            on_ack=on_ack,
            on_error=on_error,
        )
        self._connect_timeout_s = connect_timeout_s
        # Pings detect a dead server only while the buffer has room: websockets waits for room before it times a ping.
        self._stall_s = ping_interval_s + ping_timeout_s
        self._connect = connect(
            websocket_url(url, robot_id, self.session),
            additional_headers=key_header(key),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,  # compression costs more CPU than the bytes are worth at 60 small messages a second
            open_timeout=connect_timeout_s,
            ping_interval=ping_interval_s,
            ping_timeout=ping_timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
        )
        self._task: asyncio.Task[None] | None = None
        self._process = 0  # the process that has the task
        self._is_closed = False
        self._writable = asyncio.Event()
        self._progress = asyncio.Event()

    # Calls of the robot's program

    def start(self) -> Self:
        if self._task is None:
            self._process = os.getpid()
            self._task = asyncio.create_task(self._run(), name=f"teleop {self.robot_id}")
        return self

    def send(
        self,
        observation: dict[str, Any] | None = None,
        action: Any = None,
        timestamp: float | None = None,
        **extra: Any,
    ) -> int | None:
        """Hold one frame for sending and return its index, or None if it was dropped; `stats` counts the reasons.

        `send(**row)` sends a row of LeRobot: `{"observation.state": array, "action": array, "task": ...}`.

        Never waits, and never raises: NaN becomes null, images and objects are left out (client/README.md).
        """
        index = self.hold(observation, action, timestamp, **extra)
        if self.is_running:
            self.wake()
        return index

    def hold(self, observation: Any, action: Any = None, timestamp: float | None = None, **extra: Any) -> int | None:
        """Do `send` for another thread, which then must cause a call of `wake` in the event loop."""
        if self.is_running:
            return self.protocol.send(observation, action, timestamp, extra)
        self.protocol.reject(self._why_not_running())
        return None

    def wake(self) -> None:
        self.protocol.report_waiting()
        self._writable.set()

    @property
    def is_forked(self) -> bool:
        """Return whether this process was forked after `start`: it has a copy of the socket, but not of the thread."""
        return self._task is not None and os.getpid() != self._process

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._is_closed and os.getpid() == self._process

    def _why_not_running(self) -> str:
        if self.is_forked:
            return "this process was forked from the client's: make a client of its own in it"
        if self._is_closed:
            return "the client is closed"
        return "the client is not running: `start()` it, or use it as a context manager"

    @property
    def stats(self) -> Stats:
        return self.protocol.stats

    async def wait_connected(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for the server's greeting. Raises TeleopTimeout, or the error that has stopped the client."""
        await self._wait(lambda: self.protocol.greeted, timeout, "connected")

    async def flush(self, timeout: float | None = 30.0) -> None:  # noqa: ASYNC109
        """Wait until every frame is acknowledged or refused. Raises TeleopTimeout, or the error that stopped it."""
        await self._wait(lambda: not self.protocol.pending, timeout, "all acknowledged")

    async def end(self, timeout: float | None = 30.0, meta_info: dict[str, Any] | None = None) -> int:  # noqa: ASYNC109
        """End the session once everything is stored, and close; return the server's count of its frames.

        Raises TeleopTimeout (call it again to wait longer), or the error that has stopped the client.
        """
        self.protocol.end(meta_info)
        self.wake()
        await self._wait(lambda: self.protocol.done, timeout, "ended")
        await self.close()
        return self.protocol.frame_count or 0

    async def close(self) -> None:
        """Close without ending the session. Unacknowledged frames are discarded: `flush` first."""
        if self._task is not None and not self.is_forked:
            self._is_closed = True
            self._task.cancel()
            await asyncio.wait([self._task])

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self.is_running:
                return
            if error is None:
                await self.end()
            else:
                with contextlib.suppress(TeleopError):
                    await self.flush(FLUSH_ON_ERROR_S)
        finally:
            await self.close()

    # Connection

    async def _wait(self, condition: Callable[[], bool], timeout_s: float | None, what: str) -> None:
        if self.is_forked:
            raise ClientClosed(self._why_not_running())
        try:
            async with asyncio.timeout(timeout_s):
                while not condition() and not self.protocol.done:
                    if self._task is None or self._task.done():
                        raise ClientClosed("the client is closed")
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            stats = self.stats
            state = f"{stats.pending} frames held; last error: {stats.last_error}"
            raise TeleopTimeout(f"not {what} within {timeout_s} s: {state}") from None
        if self.protocol.error is not None:
            raise self.protocol.error

    async def _run(self) -> None:
        try:
            while (delay_s := await self._connect_once()) is not None:
                self._progress.set()
                await asyncio.sleep(delay_s)
        finally:
            self._progress.set()

    async def _connect_once(self) -> float | None:
        """Run one connection, from handshake to close; return the seconds to wait before the next."""
        try:
            connection = await self._connect
            try:
                return await self._talk(connection)
            finally:
                await self._close(connection)
        except InvalidStatus as error:
            return self.protocol.refused(error.response.status_code)
        except (OSError, InvalidHandshake) as error:
            return self.protocol.closed(CODE_NETWORK, repr(error))
        except Exception as error:
            # The cause is unknown, but the robot's frames are worth another attempt.
            logger.exception("unexpected")
            return self.protocol.closed(CODE_NETWORK, repr(error))

    async def _close(self, connection: ClientConnection) -> None:
        """Close with a handshake if the server reads; `close` alone would wait for a full buffer without bound."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await connection.close()
        except TimeoutError:
            pass
        finally:
            connection.transport.abort()

    async def _talk(self, connection: ClientConnection) -> float | None:
        self.protocol.connected()
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write(connection))
            code, reason = await self._read(connection)
            writer.cancel()
        return self.protocol.closed(code, reason)

    async def _read(self, connection: ClientConnection) -> tuple[int, str]:
        """Receive all messages of the server; return its close code and reason."""
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                self._receive(await connection.recv())
            async for message in connection:
                self._receive(message)
        except TimeoutError:
            return CODE_NETWORK, f"no greeting within {self._connect_timeout_s} s"
        except ConnectionClosed:
            pass
        return connection.close_code or CODE_NETWORK, connection.close_reason or ""

    def _receive(self, message: str | bytes) -> None:
        self.protocol.receive(message)
        self._writable.set()
        self._progress.set()

    async def _write(self, connection: ClientConnection) -> None:
        try:
            while True:
                self._writable.clear()
                while (message := self.protocol.next_message()) is not None:
                    async with asyncio.timeout(self._stall_s):
                        await connection.send(message, text=True)
                await self._writable.wait()
        except TimeoutError:
            connection.transport.abort()
        except ConnectionClosed:
            pass  # _read has its code
