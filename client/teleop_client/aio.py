"""The asyncio client: the current session of a robot, and those before it that are still being sent."""

import asyncio
import contextlib
import logging
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from ssl import SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import encoding
from .camera.cameras import FEW_FRAMES, Cameras, is_available
from .command_options import LEAST_KBIT_S
from .connection import Link, SessionConnection, in_thread
from .drain import drain_leftovers
from .errors import ClientClosed, SpoolUnusable, TeleopError, TeleopTimeout
from .network import ProxyOption
from .protocol import BATCH_FROM_FRAMES, ClientProtocol
from .reconnect import DEFAULT_DELAYS, Delays
from .reporting import Reporter, Stats
from .spool.session_spool import default_folder, open_spool

if TYPE_CHECKING:
    from .camera.camera import Camera

logger = logging.getLogger("teleop_client")

FLUSH_ON_ERROR_S = 2.0
EXIT_TIMEOUT_S = 30.0
FINISH_S = 10.0  # after it, a session that was ended waits for its turn: a hundred must not connect at once
LEFTOVERS_INTERVAL_S, LEFTOVERS_POLL_S = 60.0, 0.5
FILMS_S = 10.0  # for the last films, while the server answers
LOCK_WAIT_S = 5.0  # a drain gives the spool back within this time


def check(**options: tuple[float, float, float]) -> None:
    """Raise ValueError for the first option whose value is not a number between the two bounds behind it."""
    for name, (value, least, most) in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            expected = f"at least {least}" if most == inf else f"{least} to {most}"
            raise ValueError(f"{name} is {value!r}; {expected} expected")


class AsyncRobotClient:
    """Streams the sessions of one robot; connects, reconnects and resends by itself.

    `session` names the session to resume after the process has restarted; without it a new one is begun. Frames are
    kept on disk in `spool_dir` until they are acknowledged; None keeps them in memory, and they die with the process.
    With `recreate_deleted=False` a session that was deleted on the server stops the client (SessionDeleted).
    `on_ack` gets the seconds from `send` to acknowledgement of each acknowledged frame, `on_error` every TeleopError;
    both are called from the event loop and must be quick. With `strict=True`, for tests of a robot's program, `send`
    raises FrameInvalid and ClientClosed; without it `send` raises nothing.

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
        spool_dir: str | Path | None = "",
        max_spool_bytes: int | None = None,
        min_free_bytes: int = 1 << 30,
        max_held_frames: int = 100_000,
        max_held_bytes: int = 64 << 20,
        linger_s: float = 0.05,
        recreate_deleted: bool = True,
        cameras: bool = True,
        upload_kbit_s: float | None = None,
        compression: str | None = "deflate",
        ssl: SSLContext | None = None,
        ca_file: str | None = None,
        proxy: ProxyOption = True,
        strict: bool = False,
        delays: Delays = DEFAULT_DELAYS,
        connect_timeout_s: float = 10.0,
        ping_interval_s: float = 20.0,
        ping_timeout_s: float = 20.0,
        on_ack: Callable[[list[float]], None] | None = None,
        on_error: Callable[[TeleopError], None] | None = None,
    ) -> None:
        check(
            linger_s=(linger_s, 0, 60),
            connect_timeout_s=(connect_timeout_s, 0.01, 3600),
            ping_interval_s=(ping_interval_s, 0.01, 3600),
            ping_timeout_s=(ping_timeout_s, 0.01, 3600),
            max_spool_bytes=(1 if max_spool_bytes is None else max_spool_bytes, 1, inf),
            min_free_bytes=(min_free_bytes, 0, inf),
            max_held_frames=(max_held_frames, 1, inf),
            max_held_bytes=(max_held_bytes, 1, inf),
            upload_kbit_s=(LEAST_KBIT_S if upload_kbit_s is None else upload_kbit_s, LEAST_KBIT_S, inf),
        )
        for name, callback in (("on_ack", on_ack), ("on_error", on_error)):
            if callback is not None and not callable(callback):
                raise ValueError(f"{name} is {callback!r:.40}; a function or None expected")
        self.robot_id = robot_id
        self.lingers = bool(linger_s)  # `send` leaves it to the event loop to look for frames, and wakes nothing
        self._link = Link(
            url,
            robot_id,
            key,
            ssl=ssl,
            ca_file=ca_file,
            proxy=proxy,
            compression=compression,
            connect_timeout_s=connect_timeout_s,
            ping_interval_s=ping_interval_s,
            ping_timeout_s=ping_timeout_s,
            linger_s=linger_s,
        )
        self._reporter = Reporter(on_ack, on_error)
        self._options: dict[str, Any] = {
            "fps": fps,
            "max_held_frames": max_held_frames,
            "max_held_bytes": max_held_bytes,
            "strict": strict,
            "delays": delays,
            "batch_from": 2 if linger_s else BATCH_FROM_FRAMES,
            "reporter": self._reporter,
        }
        self._query = "" if recreate_deleted else "&expect=any"
        self._spool_dir = self._find_folder(spool_dir)
        self._limits: dict[str, Any] = {"quota_bytes": max_spool_bytes, "min_free_bytes": min_free_bytes}
        self._process = 0  # the process that has the tasks; 0: not started
        self._is_closed = False
        self._past: Counter[str] = Counter()  # counts of the sessions that are complete
        self._finishing: dict[SessionConnection, asyncio.Task[None]] = {}
        self._closing = asyncio.Lock()
        self._leftovers: asyncio.Task[None] | None = None
        self._has_leftovers = asyncio.Event()
        self._cameras: Cameras | None = None
        # A drain's films wait while frames or films of this client's sessions do.
        self._uploads: dict[str, Any] = {"kbit_s": upload_kbit_s, "may_upload": lambda: not self._is_behind}
        if cameras and self._spool_dir is not None and is_available():
            self._cameras = Cameras(self._link, self._reporter, lambda: self._connection, upload_kbit_s, strict)
        # A frame belongs to the session before a call of new_session, or to the one after it.
        self._sending = threading.RLock()
        self._connection = self._new_connection(meta_info, session)

    def _find_folder(self, spool_dir: str | Path | None) -> Path | None:
        if spool_dir is None or spool_dir:
            return None if spool_dir is None else Path(spool_dir)
        try:
            return default_folder()
        except RuntimeError as error:  # this user has no home
            self._reporter.report(SpoolUnusable(f"there is no folder for a spool: {error}; give a spool_dir"))
            return None

    def _new_connection(self, meta_info: dict[str, Any] | None, session: str | None) -> SessionConnection:
        protocol = ClientProtocol(meta_info=meta_info, **self._options)
        if self._cameras:
            protocol.on_preview = self._cameras.previews.request
        return SessionConnection(self._link, str(uuid.uuid4()) if session is None else session, protocol, self._query)

    def _open_spool(self, connection: SessionConnection, wait_s: float = 0) -> None:
        """Keep the frames of a session on disk, if that is possible. Raises SpoolInUse."""
        if self._spool_dir is None:
            return
        folder = self._spool_dir / self.robot_id / connection.session
        try:
            spool = open_spool(folder, wait_s, robot_id=self.robot_id, session=connection.session, **self._limits)
        except SpoolUnusable as error:
            self._reporter.report(error)
        else:
            connection.protocol.attach(spool, url=self._link.url)

    @property
    def session(self) -> str:
        """Return the key of the session, by which a later process can resume it."""
        return self._connection.session

    @property
    def protocol(self) -> ClientProtocol:
        return self._connection.protocol

    # Calls of the robot's program

    def start(self) -> Self:
        """Open the spool and connect. Raises SpoolInUse if another process has the session's spool."""
        if not self._process:
            self.connect(self.prepare(0))
        return self

    def prepare(self, wait_s: float) -> SessionConnection:
        """Do the part of `start` that needs no event loop; wait for a spool that a drain has."""
        self._open_spool(self._connection, wait_s)
        if self._cameras:
            self._cameras.begin(self._connection)
        self._process = os.getpid()
        return self._connection

    def connect(self, connection: SessionConnection) -> None:
        """Do the part of `start` that needs the event loop."""
        connection.start()
        if self._spool_dir is not None:
            self._leftovers = asyncio.create_task(self._drain_leftovers(self._spool_dir / self.robot_id))

    async def _drain_leftovers(self, robot_folder: Path) -> None:
        """Send what earlier processes and unfinished sessions have left, one after another, while the server answers.

        It begins after the greeting: then the key is right.
        """
        while True:
            while not self.protocol.greeted:  # noqa: ASYNC110 - of the current session, whichever it is then
                await asyncio.sleep(LEFTOVERS_POLL_S)
            self._has_leftovers.clear()
            await drain_leftovers(robot_folder, lambda _: self._link, uploads=self._uploads, **self._options)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEFTOVERS_INTERVAL_S):
                    await self._has_leftovers.wait()

    @property
    def _is_behind(self) -> bool:
        films = self._cameras.counts()["films"]["waiting"] if self._cameras else 0
        return bool(films) or self.protocol.pending >= FEW_FRAMES

    def send(
        self,
        observation: dict[str, Any] | None = None,
        action: Any = None,
        timestamp: float | None = None,
        frame_index: int | None = None,
        **extra: Any,
    ) -> int | None:
        """Hold one frame for sending and return its index, or None if it was dropped; `stats` counts the reasons.

        `send(**row)` sends a row of LeRobot: `{"observation.state": array, "action": array, "task": ...}`. With
        `frame_index` a recording can be sent twice and is stored once; it must be above that of the frame before.

        Never waits, and never raises: NaN becomes null, images and objects are left out (client/README.md).
        """
        index = self.hold(observation, action, timestamp, frame_index, **extra)
        if not self.lingers and self.is_running:
            self.wake()
        return index

    def hold(
        self,
        observation: Any,
        action: Any = None,
        timestamp: float | None = None,
        frame_index: int | None = None,
        **extra: Any,
    ) -> int | None:
        """Do `send` for another thread; without `linger_s` it must then cause a call of `wake` in the event loop."""
        if self.is_running:
            with self._sending:
                protocol = self._connection.protocol
                moment = protocol.moment()
                if self._cameras:
                    observation = self._cameras.take_images(observation, timestamp, moment)
                    extra = self._cameras.take_images(extra, timestamp, moment) if extra else extra
                return protocol.send(observation, action, timestamp, extra, frame_index, moment)
        self.protocol.reject(self._why_not_running())
        return None

    def wake(self) -> None:
        self.protocol.report_waiting()
        self._connection.wake()

    def camera(self, name: str, **options: Any) -> "Camera":
        """Return a camera of this client; its `write` records pictures into films, which are uploaded.

        Images in an observation go to the camera of their key by themselves. Options of the first call: `fps` (the rate
        that the camera promises), `encoder`, `crf` and `channels`. Raises ClientClosed without the extra `camera` or
        without a spool.
        """
        if self._cameras is None:
            raise ClientClosed("cameras need the extra `camera` of this package, cameras=True and a spool_dir")
        return self._cameras.camera(name, **options)

    def mark(self, note: str, timestamp: float | None = None) -> str | None:
        """Mark this moment of the session, or that of `timestamp`, for people; return the id of the mark.

        The mark is kept and sent like a frame. It is dropped (None) if the client does not run, and after 1,000.
        """
        if self.is_running:
            return self.protocol.mark(note, timestamp)
        self.protocol.reject(self._why_not_running())
        return None

    def new_session(self, meta_info: dict[str, Any] | None = None, end_info: dict[str, Any] | None = None) -> str:
        """End the session and begin another one at once, for example for the next episode; return its key.

        The frames of the old session are sent in the background; `end_info` is the meta_info of its end. A spool takes
        some milliseconds to open. Raises ClientClosed if the client does not run.
        """
        if not self.is_running:
            raise ClientClosed(self._why_not_running())
        self.finish_session(*self.begin_session(meta_info, end_info))
        return self.session

    def begin_session(
        self, meta_info: dict[str, Any] | None, end_info: dict[str, Any] | None
    ) -> tuple[SessionConnection, SessionConnection]:
        """Do the part of `new_session` that needs no event loop; return the old connection and the new one."""
        end = encoding.control_message("end", end_info)
        current = self._new_connection(meta_info, None)
        self._open_spool(current)
        with self._sending:
            before, self._connection = self._connection, current
            if self._cameras:
                self._cameras.begin(current)
            before.protocol.end(end)
        return before, current

    def finish_session(self, before: SessionConnection, current: SessionConnection) -> None:
        """Do the part of `new_session` that needs the event loop."""
        before.wake()
        self._finishing[before] = asyncio.create_task(self._finish(before))
        current.start()

    async def _finish(self, connection: SessionConnection) -> None:
        """Send an ended session to its end. If that takes long, it becomes one of the leftovers."""
        try:
            async with asyncio.timeout(FINISH_S if connection.protocol.is_spooled else None):
                await connection.wait(lambda: False)
                if self._cameras:
                    await in_thread(partial(self._cameras.finish, connection, FINISH_S))
        except TimeoutError:
            pass
        finally:
            await self._leave(connection)
            self._has_leftovers.set()
            counts = connection.protocol.counts()
            if not connection.protocol.was_spooled:
                counts["dropped"] += counts["pending"]  # with this session its frames in memory are gone
            self._past.update({name: counts[name] for name in counts if not name.endswith("pending")})
            self._finishing.pop(connection, None)

    @property
    def session_id(self) -> int | None:
        """Return the session's id in the REST interface; None before the first greeting."""
        return self.protocol.session_id

    @property
    def last_timestamp(self) -> float | None:
        """Return the time of the last frame that was stored when the client connected, in unix seconds, or None."""
        return self.protocol.last_timestamp

    @property
    def next_frame_index(self) -> int:
        """Return the index of the next frame; it is final after `wait_connected`."""
        return self.protocol.next_frame_index

    @property
    def is_forked(self) -> bool:
        """Return whether this process was forked after `start`: it has a copy of the socket, but not of the thread."""
        return bool(self._process) and os.getpid() != self._process

    @property
    def is_running(self) -> bool:
        return not self._is_closed and os.getpid() == self._process

    def _why_not_running(self) -> str:
        if self.is_forked:
            return "this process was forked from the client's: make a client of its own in it"
        if self._is_closed:
            return "the client is closed"
        return "the client is not running: `start()` it, or use it as a context manager"

    @property
    def stats(self) -> Stats:
        stats = self._reporter.stats([self.protocol, *(each.protocol for each in list(self._finishing)), self])
        return replace(stats, **self._cameras.counts()) if self._cameras else stats

    def counts(self) -> dict[str, int]:
        """Return the counts of the sessions that are complete."""
        return dict(self._past)

    async def wait_connected(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for the server's greeting. Raises TeleopTimeout, or the error that has stopped the client."""
        await self._wait(lambda: self.protocol.greeted, timeout, "connected")

    async def flush(self, timeout: float | None = 30.0) -> None:  # noqa: ASYNC109
        """Wait until every frame is acknowledged or refused. Raises TeleopTimeout, or the error that stopped it."""
        await self._wait(lambda: not self.protocol.pending, timeout, "all acknowledged")

    async def end(self, timeout: float | None = 30.0, meta_info: dict[str, Any] | None = None) -> int:  # noqa: ASYNC109
        """End the session, and those before it, once everything is stored, and close; return its frames on the server.

        Raises TeleopTimeout (call it again to wait longer), or the error that has stopped the client. The end is in
        the spool: if the process gives up waiting, a later one sends it.
        """
        end = encoding.control_message("end", meta_info)
        with self._sending:
            self.protocol.end(end)
        self.wake()
        if self._cameras:
            await in_thread(partial(self._cameras.complete, self._connection))
        if self._finishing:
            begin_s = time.monotonic()
            _, late = await asyncio.wait(list(self._finishing.values()), timeout=timeout)
            if late and not self.protocol.is_spooled:
                raise TeleopTimeout(f"{len(late)} sessions before this one were not ended within {timeout} s")
            timeout = None if timeout is None else timeout - (time.monotonic() - begin_s)
        await self._wait(lambda: self.protocol.done, timeout, "ended")
        await self.close()
        return self.protocol.frame_count or 0

    async def close(self) -> None:
        """Close without ending the session. Frames that are not acknowledged stay in the spool, if there is one.

        If another task is closing the client, wait for it.
        """
        if self._process and not self.is_forked:
            self._is_closed = True
            async with self._closing:
                await self._close()

    async def _close(self) -> None:
        for task in filter(None, [self._leftovers, *self._finishing.values()]):
            task.cancel()
            await asyncio.wait([task])
        if self._cameras:
            await self._cameras.previews.close()
            timeout_s = FILMS_S if self._cameras.is_server_there else 0.0
            await in_thread(partial(self._cameras.finish, self._connection, timeout_s))
            await in_thread(self._cameras.close)
        await self._leave(self._connection)

    async def _leave(self, connection: SessionConnection) -> None:
        await connection.close()
        connection.protocol.report_waiting()
        if self._cameras:
            await in_thread(partial(self._cameras.leave, connection))
        await in_thread(connection.protocol.leave)

    async def __aenter__(self) -> Self:
        if not self._process:
            self.connect(await asyncio.to_thread(self.prepare, LOCK_WAIT_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self.is_running:
                return
            if error is None:
                await self._end_all()
            else:
                with contextlib.suppress(TeleopError):
                    await self.flush(FLUSH_ON_ERROR_S)
        finally:
            await self.close()

    async def _end_all(self) -> None:
        try:
            await self.end(EXIT_TIMEOUT_S)
        except TeleopTimeout as error:
            if not self.protocol.is_spooled:
                raise
            logger.warning("%s. They stay in the spool, and are sent when this robot's next client starts", error)

    async def _wait(self, condition: Callable[[], bool], timeout_s: float | None, what: str) -> None:
        if self.is_forked:
            raise ClientClosed(self._why_not_running())
        try:
            async with asyncio.timeout(timeout_s):
                if not await self._connection.wait(condition):
                    raise ClientClosed("the client is closed")
        except TimeoutError:
            stats = self.stats
            state = f"{stats.pending} frames held; last error: {stats.last_error}"
            raise TeleopTimeout(f"not {what} within {timeout_s} s: {state}") from None
        if self.protocol.error is not None:
            raise self.protocol.error
