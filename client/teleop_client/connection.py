"""The connections of one session, one after another: a task that connects, writes and reads for a ClientProtocol."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import Event
from websockets.typing import Subprotocol

from . import network
from .camera.film_upload import FilmUploader
from .encoding import SUBPROTOCOL, key_header, preview_url, websocket_url
from .protocol import ClientProtocol
from .reconnect import CODE_NETWORK

logger = logging.getLogger("teleop_client")

CLOSE_TIMEOUT_S = 2.0
CHECK_INTERVAL_S = 1.0
READ_BYTES = 16 << 10


async def in_thread(function: Callable[[], None]) -> None:
    """Call a function that may wait for the disk."""
    try:
        await asyncio.to_thread(function)
    except RuntimeError:  # the interpreter exits, and starts no more threads
        function()


class Socket(ClientConnection):
    """A WebSocket that can pass text messages to a function as they arrive.

    Each wakeup of a task costs the robot as much as a frame, and `recv` needs one for each ack.
    """

    on_text: Callable[[str], None] | None = None

    def process_event(self, event: Event) -> None:
        if self.on_text and isinstance(event, Frame) and event.opcode is Opcode.TEXT and event.fin:
            self.on_text(str(event.data, "utf-8", "replace"))
        else:
            super().process_event(event)


class Link:
    """How to reach the server: the address, the robot's key, TLS, a proxy, and the timeouts. Shared by sessions."""

    def __init__(
        self,
        url: str,
        robot_id: str,
        key: str | None,
        *,
        ssl: Any = None,
        ca_file: str | None = None,
        proxy: network.ProxyOption = True,
        compression: str | None = "deflate",
        connect_timeout_s: float = 10.0,
        ping_interval_s: float = 20.0,
        ping_timeout_s: float = 20.0,
        linger_s: float = 0.05,
    ) -> None:
        self.url, self.robot_id, self.proxy, self._key = url, robot_id, proxy, key
        self.connect_timeout_s, self.linger_s = connect_timeout_s, linger_s
        # Pings detect a dead server only while the buffer has room: websockets waits for room before it times a ping.
        self.stall_s = ping_interval_s + ping_timeout_s
        self._options: dict[str, Any] = {
            "additional_headers": key_header(key),
            "subprotocols": [Subprotocol(SUBPROTOCOL)],
            "create_connection": Socket,
            "open_timeout": connect_timeout_s,
            "ping_interval": ping_interval_s,
            "ping_timeout": ping_timeout_s,
            "close_timeout": CLOSE_TIMEOUT_S,
            **network.connect_options(url=url, ca_file=ca_file, ssl=ssl, proxy=proxy, compression=compression),
        }

    def film_uploader(self, kbit_s: float | None = None, **options: Any) -> FilmUploader:
        """Return an uploader of films to the same server. Raises ValueError for the rate."""
        ssl = self._options.get("ssl")
        return FilmUploader(self.url, self.robot_id, self._key, ssl=ssl, proxy=self.proxy, kbit_s=kbit_s, **options)

    def address(self, session: str) -> str:
        """Return the address of a session. Raises ValueError."""
        return websocket_url(self.url, self.robot_id, session)

    def preview_address(self) -> str:
        return preview_url(self.url, self.robot_id)

    def connect(self, address: str) -> connect:
        return connect(address, **self._options)


class SessionConnection:
    """The task of one session, until the protocol is done. `wake` makes it look at once for something to write."""

    def __init__(self, link: Link, session: str, protocol: ClientProtocol, query: str = "") -> None:
        self.session, self.protocol = session, protocol
        self._link = link
        self._address = link.address(session) + query
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._progress = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"teleop {self._link.robot_id}")
        self._task.add_done_callback(lambda _: self._progress.set())

    def wake(self) -> None:
        self._writable.set()

    @property
    def has_stopped(self) -> bool:
        return self._task is None or self._task.done()

    async def wait(self, condition: Callable[[], bool]) -> bool:
        """Wait until the condition holds or the protocol is done; return False if the task was cancelled before."""
        while not condition() and not self.protocol.done:
            if self.has_stopped:
                return False
            self._progress.clear()
            await self._progress.wait()
        return True

    async def has_progress(self, within_s: float) -> bool:
        """Wait for the next sign of progress: a connection, an answer, or an error."""
        self._progress.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._progress.wait()
        except TimeoutError:
            return False
        return not self.has_stopped or self.protocol.done

    async def close(self) -> None:
        """Close without ending the session."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        checks = asyncio.create_task(self._check())
        try:
            while (delay_s := await self._connect_once()) is not None:
                self._progress.set()
                await asyncio.sleep(delay_s)
            self._progress.set()
            if self.protocol.records_on:
                await asyncio.Event().wait()  # the checks go on until the client is closed
        finally:
            checks.cancel()
            await asyncio.wait([checks])

    async def _check(self) -> None:
        """Look at the clock, note the state, and report what `send` has found, also while there is no connection."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            self.protocol.check_clock()
            self.protocol.note_state()
            self.protocol.report_waiting()
            self._writable.set()

    async def _connect_once(self) -> float | None:
        """Run one connection, from handshake to close; return the seconds to wait before the next."""
        try:
            # A new object each time: websockets remembers where a redirect has led, and drops the key for good then.
            connection = await self._link.connect(self._address)
            try:
                return await self._talk(connection)
            finally:
                await self._close(connection)
        except InvalidStatus as error:
            return self.protocol.refused(error.response.status_code, error.response.body)
        except network.ERRORS as error:
            return self.protocol.not_connected(*network.explain(error, self._link.url, self._link.proxy))
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
        if hasattr(connection.transport, "max_size"):  # asyncio would allocate 256 KiB to read each ack
            connection.transport.max_size = READ_BYTES
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write(connection))
            code, reason = await self._read(connection)
            writer.cancel()
        return self.protocol.closed(code, reason)

    async def _read(self, connection: ClientConnection) -> tuple[int, str]:
        """Receive all messages of the server; return its close code and reason."""
        try:
            async with asyncio.timeout(self._link.connect_timeout_s):
                self._receive(await connection.recv())
            self._writable.set()
            if isinstance(connection, Socket):
                connection.on_text = self._receive
            async for message in connection:  # that have arrived before
                self._receive(message)
        except TimeoutError:
            return CODE_NETWORK, f"no greeting within {self._link.connect_timeout_s} s"
        except ConnectionClosed:
            pass
        return connection.close_code or CODE_NETWORK, connection.close_reason or ""

    def _receive(self, message: str | bytes) -> None:
        self.protocol.receive(message)
        if not self._link.linger_s or self.protocol.waits_for_answer:
            self._writable.set()
        self._progress.set()

    async def _write(self, connection: ClientConnection) -> None:
        try:
            while True:
                self._writable.clear()
                self._write_few(connection)
                while (message := self.protocol.next_message()) is not None:
                    async with asyncio.timeout(self._link.stall_s):
                        await connection.send(message, text=True)
                if self.protocol.must_sync:
                    await in_thread(self.protocol.sync)
                    continue
                self.protocol.report_waiting()
                self._linger(connection)
                await self._writable.wait()
                self._stop_lingering()
        except TimeoutError:
            connection.transport.abort()
        except ConnectionClosed:
            pass  # _read has its code
        finally:
            self._stop_lingering()

    def _write_few(self, connection: ClientConnection) -> bool:
        """Write the frames that wait, if they are few; return whether nothing else is to be done now.

        A small message into an empty buffer cannot wait. `send` costs as much as a frame for being ready to.
        """
        if connection.transport.get_write_buffer_size() or not self.protocol.next_is_small:
            return False
        if (message := self.protocol.next_message()) is not None:
            broadcast([connection], message.decode())  # that of websockets 16.0 sends bytes as binary
        return not self.protocol.must_sync

    def _linger(self, connection: ClientConnection) -> None:
        """Look for frames after the linger time, because `send` wakes no thread, and write them if they are few."""
        if self._link.linger_s:
            self._timer = asyncio.get_running_loop().call_later(self._link.linger_s, self._look, connection)

    def _look(self, connection: ClientConnection) -> None:
        if self._write_few(connection):
            self.protocol.report_waiting()
            self._linger(connection)
        else:
            self._writable.set()

    def _stop_lingering(self) -> None:
        if self._timer:
            self._timer.cancel()
