import asyncio
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseFailure

from robots import layer
from robots.models import ROBOT_ID
from robots.notices import GROUP, tell_workers
from robots.querysets import NotAdmitted
from teleop import counters
from teleop.ingest import presence, store
from teleop.ingest.connection import Opened, Outlet, RobotConnection
from teleop.ingest.database import DatabaseThread
from teleop.ingest.presence import Release
from teleop.ingest.quality_process import QualityProcess
from teleop.ingest.writer import FrameWriter
from teleop.live import tap
from teleop.protocol import ROBOTS_FAULT, Close

logger = logging.getLogger(__name__)

BEAT_S = 3
SWEEP_S = 10
GAUGE_S = 1
REFUSALS_S = 1
MAX_REFUSALS = 100
OPEN_TIMEOUT_S = 10
RETRY_S = 1


class DatabaseAway(Exception):
    """The database did not answer in time; the robot may come back."""


class Worker:
    """The ingest side of one process: its connections, its database thread, its writer and its heartbeat."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex[:16]
        self.connections: dict[str, RobotConnection] = {}  # by holder
        self.is_closing = False
        self._in_database = DatabaseThread(store.own_connection, store.forget_broken_connection)
        self._opening = asyncio.Lock()  # so that a group never waits for more than one handshake
        self._opened = 0
        self._refusals: dict[str, NotAdmitted] = {}  # by robot
        self._releases: asyncio.Queue[tuple[Release, asyncio.Future[int]]] = asyncio.Queue()
        self.writer = FrameWriter(
            store,
            self._in_database,
            interval_s=settings.INGEST_FLUSH_INTERVAL_MS / 1000,
            max_pending_bytes=settings.INGEST_MAX_PENDING_BYTES,
        )
        self.tap = tap.Tap(self.connections, partial(layer.send, tap.GROUP))
        self._quality = QualityProcess(lambda: self._in_database(presence.is_quality_due))
        self._tasks = {
            asyncio.create_task(self.writer.run()),
            asyncio.create_task(self._quality.run()),
            asyncio.create_task(self._release_together()),
            asyncio.create_task(self._every(BEAT_S, self._beat)),
            asyncio.create_task(self._every(SWEEP_S, self._sweep)),
            asyncio.create_task(self._every(GAUGE_S, self._gauge)),
            asyncio.create_task(self._every(REFUSALS_S, self._note_refusals)),
            asyncio.create_task(layer.listen(GROUP, self._hear)),
            asyncio.create_task(self.tap.run()),
        }

    async def open(
        self,
        robot_id: str,
        key: str | None,
        session_key: str | None,
        address: str | None,
        abandoned: threading.Event,
    ) -> Opened | None:
        """Admits the robot and takes its session, from whoever has it; raises NotAdmitted and DatabaseAway.

        None where it was abandoned meanwhile, and the session left to whoever has it: a client that has given up a
        handshake comes again, and would be told that another has taken its session.
        """
        self._opened += 1
        holder = f"{self.name}.{self._opened}"
        call = (presence.open_session, robot_id, key, session_key or uuid.uuid4().hex, holder, address, abandoned)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                async with self._opening:
                    if abandoned.is_set():
                        return None
                    opened, previous = await self._in_database(*call)
                if opened is None:
                    return None
                if previous in self.connections:
                    opened = await self._after(self.connections[previous], opened)
        except (DatabaseFailure, TimeoutError) as error:
            abandoned.set()
            raise DatabaseAway(str(error) or "no answer in time") from error
        if previous and previous not in self.connections:
            self._in_background(self._tell_workers(holder=previous, code=Close.TAKEN_OVER))
        return opened

    async def _after(self, old: RobotConnection, opened: Opened) -> Opened:
        """The same, when what the old connection has sent is stored: a robot's new process counts on from there."""
        old.give_up(Close.TAKEN_OVER)
        await self.writer.drained(old)
        return opened._replace(next_frame_index=await self._in_database(presence.next_frame_index, opened.session_id))

    def connect(self, opened: Opened, outlet: Outlet) -> RobotConnection:
        connection = self.connections[opened.holder] = RobotConnection(opened, outlet, self.writer.offer, self.end)
        self.tap.attach(connection)
        return connection

    def disconnected(self, connection: RobotConnection, code: int | None) -> None:
        """The socket is closed."""
        connection.disconnected.set()
        code = connection.close_code or code
        connection.note_fault(code)
        counters.CLOSED.labels(code or 1006).inc()
        logger.info(
            "robot %s, session %d: connection over with %s after %d messages",
            *(of := (connection.robot_id, connection.session_id, code or 1006, connection.messages)),
            extra=dict(zip(("robot", "session", "code", "messages"), of, strict=True)),
        )
        self.release(connection, failed=code in ROBOTS_FAULT)

    def release(self, connection: RobotConnection, failed: bool = False) -> asyncio.Task[int]:
        """Ends the connection's hold once its last frame is stored; the task's result is the session's frame_count."""
        if connection.released is None:
            connection.released = self._in_background(self._release(connection, failed))
        return connection.released

    async def _release(self, connection: RobotConnection, failed: bool) -> int:
        await self.writer.drained(connection)
        connection.is_beating = False  # a heartbeat after the release would reopen the session
        done = asyncio.get_running_loop().create_future()
        last = connection.beat()
        self._releases.put_nowait((Release(last, failed), done))
        frame_count = await done
        connection.beaten(last)
        del self.connections[connection.holder]
        return frame_count

    async def _release_together(self) -> None:
        """All that wait for it at once: one by one it is 5 ms each, half a second for a fleet that is told to go."""
        while True:
            waiting = [await self._releases.get()]
            while not self._releases.empty():
                waiting.append(self._releases.get_nowait())
            frame_counts = await self._insist(presence.release, [release for release, _ in waiting])
            for release, done in waiting:
                done.set_result(frame_counts[release.last.session_id])
            self._quality.is_due()

    async def _insist(self, function: Callable, *args: Any) -> Any:
        while True:
            try:
                return await self._in_database(function, *args)
            except Exception as error:  # whatever it is, those who wait must not wait for ever
                logger.warning("%s is tried again: %s", function.__name__, error)
                await asyncio.sleep(RETRY_S)

    def note_refusal(self, robot_id: str, refusal: NotAdmitted) -> None:
        """Keeps why a handshake was refused, where staff can read it: of each robot the last, once a second.

        Strangers are refused as often as they like, and what is written down waits in line with the frames.
        """
        if ROBOT_ID.fullmatch(robot_id) and (robot_id in self._refusals or len(self._refusals) < MAX_REFUSALS):
            self._refusals[robot_id] = refusal

    async def _note_refusals(self) -> None:
        refusals, self._refusals = self._refusals, {}
        if refusals:
            await self._in_database(presence.note_refusals, refusals)

    async def _beat(self) -> None:
        connections = [connection for connection in self.connections.values() if connection.is_beating]
        if not connections:
            return
        beats = [connection.beat() for connection in connections]
        found = await self._in_database(presence.beat, beats)
        for connection, beat in zip(connections, beats, strict=True):
            connection.beaten(beat)
            if connection.holder in found.refused:
                connection.meta_refused(found.refused[connection.holder])
            if connection.holder not in found.holders:
                connection.give_up(Close.TAKEN_OVER)
            elif connection.key_hash and found.key_hashes.get(connection.robot_id) != connection.key_hash:
                connection.give_up(Close.KEY_REVOKED)

    async def _sweep(self) -> None:
        if swept := await self._in_database(presence.sweep):
            logger.warning("ended %d sessions whose worker is gone", swept)
            self._quality.is_due()

    async def _gauge(self) -> None:
        counters.CONNECTIONS.set(len(self.connections))
        counters.PENDING.set(self.writer.pending_frames)
        counters.PENDING_BYTES.set(self.writer.pending_bytes)

    async def _every(self, interval_s: float, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(interval_s)
            try:
                await do()
            except Exception as error:  # it must go on, whatever one turn met
                logger.warning("%s: %s", do.__name__.strip("_"), error)

    def _hear(self, notice: dict[str, Any]) -> None:
        """What other processes ask for."""
        if notice["type"] == "watch":
            self.tap.renew(notice["robot_ids"], notice["fleet"])
        else:
            self._close_matching(notice)

    def _close_matching(self, notice: dict[str, Any]) -> None:
        wanted = {name: notice[name] for name in ("robot_id", "session_id", "holder", "key_hash") if name in notice}
        for connection in list(self.connections.values()):
            if wanted and all(getattr(connection, name) == value for name, value in wanted.items()):
                if notice["code"] == Close.ENDED:
                    connection.is_taking = False
                    self.end(connection)
                else:
                    connection.give_up(Close(notice["code"]))

    async def _tell_workers(self, **notice: Any) -> None:
        try:
            await tell_workers(**notice)
        except Exception as error:  # as above; the holder finds out at its next heartbeat
            logger.warning("the channel layer did not take a notice: %s", error)

    def end(self, connection: RobotConnection) -> None:
        """The robot or staff end the session: store what there is, say `ended`, close."""
        self._in_background(self._end(connection))

    async def _end(self, connection: RobotConnection) -> None:
        connection.ended(await asyncio.shield(self.release(connection)))

    async def shutdown(self, budget_s: float) -> None:
        """Stores and acknowledges what was received, closes every connection with 1012, ends the sessions.

        Each step is bounded, as a database that never answers must not keep the process from ending.
        """
        self.is_closing = True
        connections = list(self.connections.values())
        for connection in connections:
            connection.wind_up()
        await self._within(budget_s / 2, [self.writer.drained(each) for each in connections if not each.is_taking])
        for connection in connections:
            if not connection.is_taking:
                connection.give_up(Close.RESTARTING)
        await self._within(budget_s / 4, [each.disconnected.wait() for each in connections])
        await self._within(budget_s / 4, [self.release(each) for each in connections])
        if self.writer.pending_frames:
            logger.error("%d frames could not be stored in time, nor acknowledged", self.writer.pending_frames)

    async def _within(self, seconds: float, waits: list[Awaitable]) -> None:
        if waits:
            await asyncio.wait([self._in_background(wait) for wait in waits], timeout=seconds)

    def _in_background(self, work) -> asyncio.Task:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


_worker: Worker | None = None


def running_worker() -> Worker:
    """This process's worker, started at its first use in the running loop."""
    global _worker
    if _worker is None:
        _worker = Worker()
    return _worker


def worker_if_any() -> Worker | None:
    """The same, but none is started: a management command, or a process that serves no robot yet, has none."""
    return _worker
