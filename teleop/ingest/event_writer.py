import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from robots.close_codes import Close
from teleop.ingest import event_store
from teleop.ingest.batch import Batch
from teleop.ingest.parse import Event
from teleop.ingest.types import EventsOutcome, SessionEvents
from teleop.ingest.writer import ROW_OVERHEAD_BYTES, FrameSource, FrameWriter, notify
from teleop.monitoring import counters
from teleop.protocol import MAX_EVENTS

logger = logging.getLogger(__name__)

MAX_GROUP, MAX_TURN = 20, 20  # sessions, and events of each: handshakes wait meanwhile, on SQLite frames too
RETRY_S = 1
LOG_INTERVAL_S = 3


class EventSource(FrameSource, Protocol):
    """Interface of a connection."""

    robot_id: str
    close_code: Close | None

    def events_settled(self, events: Sequence[Event], outcome: EventsOutcome) -> None: ...


class EventWriter:
    """Queue that stores the events of all robots in groups, beside the path of frames.

    Events wait with frames in the bounded memory of `frames`. While the database is unreachable or the session's row
    is locked, they are tried again. If they fail after a take-over they are forgotten: the client sends them again.
    """

    def __init__(self, frames: FrameWriter, in_thread: Callable[..., Awaitable]):
        self._frames = frames
        self._in_thread = in_thread
        self._queued: dict[EventSource, list[Event]] = {}
        self._tasks: dict[EventSource, asyncio.Task] = {}
        self._groups = Batch(self._write, most=MAX_GROUP, key=lambda group: group.session_id)
        self._warned_at = float("-inf")
        self._new: Counter[tuple[str, int]] = Counter()  # by robot and session, since the last `log`; and the next
        self._dropped: Counter[tuple[str, int]] = Counter()

    async def run(self) -> None:
        await self._groups.run()

    def offer(self, source: EventSource, event: Event) -> bool:
        """Take an event; return False if too much waits already."""
        if not self._frames.reserve(source, _size(event)):
            return False
        self._queued.setdefault(source, []).append(event)
        if source not in self._tasks:
            self._tasks[source] = asyncio.create_task(self._store(source))
        return True

    async def drained(self, source: EventSource) -> None:
        """Return when every event that this source has offered is stored, refused or forgotten."""
        if source in self._tasks:
            await asyncio.wait([self._tasks[source]])

    async def log(self) -> None:
        """Log the events since the last call: one line for a robot, however many events it sends."""
        for (robot_id, session_id), new in self._new.items():
            dropped = self._dropped[robot_id, session_id]
            if new or dropped:
                logger.info(
                    "robot %s: stored %d events of session %d, and dropped %d over its maximum of %d",
                    *(robot_id, new, session_id, dropped, MAX_EVENTS),
                )
        self._new.clear()
        self._dropped.clear()

    async def _store(self, source: EventSource) -> None:
        queued = self._queued[source]
        while queued:
            events = queued[:MAX_TURN]
            try:
                outcome = await self._groups(SessionEvents(source.session_id, events))
            except Exception:  # logged for the group; on any error: no event was acknowledged
                if source.close_code is Close.TAKEN_OVER:
                    break
                await asyncio.sleep(RETRY_S)
                continue
            del queued[: len(events)]
            self._frames.free(source, sum(map(_size, events)))
            self._new[source.robot_id, source.session_id] += len(outcome.new)
            self._dropped[source.robot_id, source.session_id] += outcome.dropped
            notify(source.events_settled, events, outcome)
        self._frames.free(source, sum(map(_size, queued)))
        del self._queued[source], self._tasks[source]

    async def _write(self, groups: Sequence[SessionEvents]) -> list[EventsOutcome | None]:
        try:
            outcomes = await self._in_thread(event_store.write, groups)
        except Exception as error:
            if time.monotonic() - self._warned_at > LOG_INTERVAL_S:
                self._warned_at = time.monotonic()
                logger.warning("could not store the events of %d sessions; retrying: %s", len(groups), error)
            raise
        for outcome in filter(None, outcomes):
            for event in outcome.new:
                counters.EVENTS.labels(event.kind).inc()
            counters.EVENTS_DROPPED.inc(outcome.dropped)
        return outcomes


def _size(event: Event) -> int:
    return len(event.detail) + ROW_OVERHEAD_BYTES
