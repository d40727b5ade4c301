import asyncio
import logging
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connections

from robots import channel_layer
from robots.close_codes import Close
from robots.models import ROBOT_ID
from robots.querysets import HandshakeRefused
from robots.worker_messages import GROUP
from teleop.background.process import BackgroundProcess
from teleop.ingest import live_tap, presence, previews, store
from teleop.ingest.admission import SESSION_HELD
from teleop.ingest.batch import Batch
from teleop.ingest.connection import RobotConnection, Transport
from teleop.ingest.database import DatabaseThread
from teleop.ingest.event_writer import EventWriter
from teleop.ingest.handshakes import Handshakes
from teleop.ingest.takeover import ANSWER_TIMEOUT_S
from teleop.ingest.transactions import is_isolatable, recover, use_dedicated_connection
from teleop.ingest.types import Release, SessionLease
from teleop.ingest.writer import FrameWriter
from teleop.monitoring import counters
from teleop.protocol import ROBOTS_FAULT

logger = logging.getLogger(__name__)

HEARTBEAT_INTERVAL_S = 3
SWEEP_INTERVAL_S = 10
GAUGE_INTERVAL_S = 1
REFUSALS_INTERVAL_S = 1
MAX_REFUSALS = 100
MAX_TURN = 100  # sessions per write of their bookkeeping: on SQLite the frames wait meanwhile
MAX_COUNTED = 20  # sessions per count of their frames: handshakes wait meanwhile
RETRY_S = 1
TICK_S = 0.1
STOPPED_S = ANSWER_TIMEOUT_S - TICK_S  # after this time without an answer another worker takes a session


class Worker:
    """Ingest side of one process: its connections, its database threads, its writer and its heartbeat.

    Frames have a thread and a connection of their own, so that only other frames delay an ack. All other data of
    sessions is read and written in the other thread. SQLite has one writer at a time: there the other thread only
    reads, and its writes run in the frame thread, between two groups.
    """

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex[:16]
        self.connections: dict[str, RobotConnection] = {}  # by holder
        self.is_closing = False
        self.has_failed = False
        self.frame_thread = DatabaseThread("frames", use_dedicated_connection, recover)
        self.session_thread = DatabaseThread("sessions", use_dedicated_connection, recover)
        has_row_locks = connections["default"].features.has_select_for_update
        self._read = self.session_thread
        self._write = self.session_thread if has_row_locks else self.frame_thread
        self.writer = FrameWriter(
            store,
            self.frame_thread,
            interval_s=settings.INGEST_FLUSH_INTERVAL_MS / 1000,
            max_pending_bytes=settings.INGEST_MAX_PENDING_BYTES,
            confirm=self._confirm_sessions,
        )
        self.events = EventWriter(self.writer, self._write)
        self._ticked_at = time.monotonic()
        self._was_stopped = False
        self.handshakes = Handshakes(self.name, self.connections, self.writer, self._read, self._write)
        self._releases = Batch(self._release_all, most=MAX_COUNTED, key=lambda release: release.last.session_id)
        self._counts = Batch(self._count_all, most=MAX_COUNTED)
        self._refusals: dict[str, HandshakeRefused] = {}  # by robot
        self.tap = live_tap.Tap(self.connections, partial(channel_layer.send, live_tap.GROUP))
        send_previews = partial(channel_layer.send, previews.GROUP)
        self.previews = previews.Previews(self.connections, send_previews, self.note_refusal)
        self._background = BackgroundProcess(
            lambda: self._read(presence.is_work_left), lambda: self._read(presence.next_work_s)
        )
        self._tasks: set[asyncio.Task] = set()
        self._background_task = self._in_background(self._background.run())
        self._background_task.add_done_callback(self._on_essential_end)
        for essential in (
            self.writer.run(),
            self.events.run(),
            self._notice_stops(),
            self.handshakes.run(),
            self._releases.run(),
            self._counts.run(),
            self._run_periodically(HEARTBEAT_INTERVAL_S, self._heartbeat),
            self._run_periodically(HEARTBEAT_INTERVAL_S, self.events.log),
            self._run_periodically(SWEEP_INTERVAL_S, self._sweep),
            self._run_periodically(GAUGE_INTERVAL_S, self._gauge),
            self._run_periodically(REFUSALS_INTERVAL_S, self._note_refusals),
            self._run_periodically(previews.SWEEP_INTERVAL_S, self.previews.sweep),
            channel_layer.listen(GROUP, self._on_message),
            self.tap.run(),
        ):
            self._in_background(essential).add_done_callback(self._on_essential_end)

    def connect(self, lease: SessionLease, transport: Transport) -> RobotConnection:
        connection = RobotConnection(lease, transport, self.writer.offer, self.end, self.events.offer)
        self.connections[lease.holder] = connection
        if self.handshakes.opened(lease.holder):
            connection.close(Close.TAKEN_OVER)
        elif self.is_closing:
            connection.close(Close.RESTARTING)
        elif not lease.is_counted:
            self._in_background(self._recount(connection))
        self.tap.attach(connection)
        return connection

    def disconnected(self, connection: RobotConnection, code: int | None) -> None:
        """Record that the socket is closed, and release the session."""
        connection.disconnected.set()
        code = connection.close_code or code
        connection.note_fault(code)
        counters.CLOSED.labels(code or 1006).inc()
        logger.info(
            "robot %s, session %d: connection closed with %s after %d messages",
            *(of := (connection.robot_id, connection.session_id, code or 1006, connection.messages)),
            extra=dict(zip(("robot", "session", "code", "messages"), of, strict=True)),
        )
        self.release(connection, failed=code in ROBOTS_FAULT)

    def release(self, connection: RobotConnection, failed: bool = False) -> asyncio.Task[int]:
        """End the connection's hold once its last frame and event are stored.

        The task's result is the session's frame_count.
        """
        if connection.released is None:
            connection.released = self._in_background(self._release(connection, failed))
        return connection.released

    async def _release(self, connection: RobotConnection, failed: bool) -> int:
        await self._drained(connection)
        connection.is_live = False
        last = connection.heartbeat()
        frame_count = await self._retry_until_ok(self._releases, Release(last, failed))
        connection.heartbeat_saved(last)
        del self.connections[connection.holder]
        self._background.is_due()
        return frame_count

    async def _drained(self, connection: RobotConnection) -> None:
        await self.writer.drained(connection)
        await self.events.drained(connection)

    async def _release_all(self, releases: Sequence[Release]) -> list[int | None]:
        bounds = await self._read(presence.frame_bounds, [release.last.session_id for release in releases])
        return await self._write(presence.release, releases, bounds)

    async def _retry_until_ok(self, function: Callable[..., Awaitable], *args: Any) -> Any:
        while True:
            try:
                return await function(*args)
            except Exception as error:  # on any error: the session must not stay live for ever
                logger.warning("could not save the end of a session; retrying: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _recount(self, connection: RobotConnection) -> None:
        lease = connection.lease
        connection.recounted(await self._retry_until_ok(self._counts, (lease.session_id, lease.next_frame_index)))

    async def _count_all(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        return await self._read(presence.count_below, ranges)

    def note_refusal(self, robot_id: str, refusal: HandshakeRefused) -> None:
        """Keep the reason of a refused handshake for staff: the last one of each robot, written once a second.

        Strangers can cause any number of refusals, and each write queues with handshakes. A handshake that must not
        take its session asks whether it is free: the answer is no error.
        """
        if refusal.code == SESSION_HELD:
            return
        if ROBOT_ID.fullmatch(robot_id) and (robot_id in self._refusals or len(self._refusals) < MAX_REFUSALS):
            self._refusals[robot_id] = refusal

    async def _note_refusals(self) -> None:
        refusals, self._refusals = self._refusals, {}
        if refusals:
            await self._write(presence.note_refusals, refusals)

    async def _heartbeat(self) -> None:
        everyone = list(self.connections.values())
        for begin in range(0, len(everyone), MAX_TURN):
            await self._heartbeat_of(everyone[begin : begin + MAX_TURN])

    async def _heartbeat_of(self, connections: Sequence[RobotConnection]) -> None:
        connections = [connection for connection in connections if connection.is_live]
        if not connections:
            return
        heartbeats = [connection.heartbeat() for connection in connections]
        try:
            found = await self._write(presence.heartbeat, heartbeats)
        except Exception as error:
            if len(connections) == 1 or not is_isolatable(error):
                logger.warning("could not save the heartbeats of %d robots: %s", len(connections), error)
                return
            for connection in connections:  # one heartbeat cannot be saved, and must not prevent the others
                await self._heartbeat_of([connection])
            return
        for connection, heartbeat in zip(connections, heartbeats, strict=True):
            if connection.holder in found.saved:
                connection.heartbeat_saved(heartbeat)
            if connection.holder in found.refused:
                connection.meta_refused(found.refused[connection.holder])
            was_lost, connection.is_lost = connection.is_lost, connection.holder in found.lost
            # Twice in a row: a handshake with a disconnected client has the session for a moment, and gives it back.
            # A handshake that takes the session for good asks this connection to release it.
            if connection.is_lost and was_lost:
                connection.close(Close.TAKEN_OVER)
            elif connection.robot_id in found.disabled:
                connection.close(Close.DISABLED)
            elif connection.key_hash and found.key_hashes.get(connection.robot_id) != connection.key_hash:
                connection.close(Close.KEY_REVOKED)

    async def _notice_stops(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._was_stopped |= self._is_late()
            self._ticked_at = time.monotonic()

    def _is_late(self) -> bool:
        return time.monotonic() - self._ticked_at > STOPPED_S

    async def _confirm_sessions(self) -> None:
        """After this process was stopped, drop the frames of sessions that another worker has taken meanwhile.

        The other worker got no answer from this process and did not wait. Frames that are received from now on are
        not taken either: a new program may use the same indexes.
        """
        while self._was_stopped or self._is_late():
            self._was_stopped = False
            connections = list(self.connections.values())
            try:
                holders = await self.frame_thread(
                    presence.holders, [connection.session_id for connection in connections]
                )
            except Exception as error:  # no frame is stored before the holders are known
                self._was_stopped = True
                logger.warning("could not confirm the sessions after this process was stopped; retrying: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            for connection in connections:
                if self._is_taken(connection, holders.get(connection.session_id, "")):
                    connection.close(Close.TAKEN_OVER)
                    self.writer.drop(connection)

    def _is_taken(self, connection: RobotConnection, holder: str) -> bool:
        """Return whether another worker has released or taken the session of a connection.

        A connection that is not live has released the session itself. A handshake of this worker waits for the frames.
        """
        return connection.is_live and holder != connection.holder and not holder.startswith(f"{self.name}.")

    async def _sweep(self) -> None:
        if stale := await self._read(presence.stale_sessions):
            bounds = await self._read(presence.frame_bounds, stale)
            swept = await self._write(presence.sweep, bounds)
            logger.warning("ended %d live sessions that no worker has", swept)
            self._background.is_due()

    async def _gauge(self) -> None:
        counters.CONNECTIONS.set(len(self.connections))
        counters.PENDING.set(self.writer.pending_frames)
        counters.PENDING_BYTES.set(self.writer.pending_bytes)
        counters.PARKED.set(len(self.writer.parked_sources))
        if not (self.frame_thread.is_alive and self.session_thread.is_alive):
            self._fail("a database thread has died")

    async def _run_periodically(self, interval_s: float, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(interval_s)
            try:
                await do()
            except Exception as error:  # the loop must go on after any error
                logger.warning("periodic task %s failed: %s", do.__name__.strip("_"), error)

    def _on_message(self, message: dict[str, Any]) -> None:
        """Handle a message from another process."""
        if message["type"] == "watch":
            self.tap.renew(message["robot_ids"], message["fleet"])
        elif message["type"] == "preview":
            self.previews.renew(message["pages"], message["tiles"])
        elif message["type"] == "takeover":
            self.handshakes.on_answer(message)
        elif "reply_to" in message:
            self.handshakes.on_close_request(message["holder"], message["reply_to"])
        else:
            self._close_matching(message)

    def _close_matching(self, message: dict[str, Any]) -> None:
        wanted: dict[str, Any] = {
            name: message[name] for name in ("robot_id", "session_id", "holder", "key_hash") if name in message
        }
        if wanted and message["code"] != Close.ENDED:
            self.previews.close_matching(wanted, Close(message["code"]))
        for connection in list(self.connections.values()):
            if wanted and all(getattr(connection, name) == value for name, value in wanted.items()):
                if message["code"] == Close.ENDED:
                    connection.is_taking = False
                    self.end(connection)
                else:
                    connection.close(Close(message["code"]))

    def end(self, connection: RobotConnection) -> None:
        """End the session for the robot or staff: store the pending frames, send `ended`, close."""
        self._in_background(self._end(connection))

    async def _end(self, connection: RobotConnection) -> None:
        connection.ended(await asyncio.shield(self.release(connection)))

    async def shutdown(self, budget_s: float) -> None:
        """Store and acknowledge the received frames, close every connection with 1012, and end the sessions.

        Each step is bounded, because a database that never answers must not keep the process from ending.
        """
        self.is_closing = True
        self.previews.close()
        self._background_task.cancel()  # its process gives its job back meanwhile
        await self._within(budget_s / 8, [self.handshakes.close()])
        connections = list(self.connections.values())
        for connection in connections:
            connection.begin_shutdown()
        await self._within(
            budget_s * 3 / 8,
            [self._drained(connection) for connection in connections if not connection.is_taking],
        )
        for connection in connections:
            if not connection.is_taking:
                connection.close(Close.RESTARTING)
        await self._within(budget_s / 4, [connection.disconnected.wait() for connection in connections])
        await self._within(budget_s / 4, [self.release(connection) for connection in list(self.connections.values())])
        await self._within(budget_s / 4, [self._background_task])
        if self.writer.pending_frames:
            logger.error("%d frames were neither stored nor acknowledged at the shutdown", self.writer.pending_frames)

    async def _within(self, seconds: float, waits: list[Awaitable]) -> None:
        if waits:
            await asyncio.wait([self._in_background(wait) for wait in waits], timeout=seconds)

    def _in_background(self, work: Awaitable | Coroutine) -> asyncio.Task:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_essential_end(self, task: asyncio.Task) -> None:
        if not task.cancelled() and not self.is_closing:
            logger.critical("a task of the worker has ended unexpectedly", exc_info=task.exception())
            self._fail("a task of the worker has ended unexpectedly")

    def _fail(self, reason: str) -> None:
        """Stop the process in good order, so that a new one takes over: this one would go on without a part."""
        if not self.has_failed:
            self.has_failed = True
            logger.critical("%s; the process restarts", reason)
            os.kill(os.getpid(), signal.SIGTERM)


_worker: Worker | None = None


def running_worker() -> Worker:
    """Return this process's worker; the first call starts it in the running loop."""
    global _worker
    if _worker is None:
        _worker = Worker()
    return _worker


def worker_if_any() -> Worker | None:
    """Return this process's worker, or None in a management command or a process that serves no robot yet."""
    return _worker
