import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Protocol

from teleop.ingest.types import Outcome, Refused, Row
from teleop.monitoring import counters

logger = logging.getLogger(__name__)

MAX_GROUP_ROWS = 4096  # a backlog of minutes is committed in pieces, so that acks are sent meanwhile
ROW_OVERHEAD_BYTES = 256  # cost of a waiting row or event beside its data
RETRY_S = (0.1, 0.2, 0.5, 1.0)


class FrameSource(Protocol):
    """Writer's interface of a connection; all rows of a connection are of one session."""

    session_id: int
    pending_frames: int
    pending_bytes: int

    def committed(self, rows: Sequence[Row], stored_before: int) -> None:
        """Process a commit of `rows`, `stored_before` of them earlier; all before the last are committed or refused."""

    def refused(self, refused: Refused) -> None: ...


Group = dict[FrameSource, list[Row]]


class Store(Protocol):
    """Interface of the blocking calls that are made in the frame thread."""

    def write(self, rows: Sequence[Row]) -> Outcome: ...


class FrameWriter:
    """Queue that holds rows for `interval_s`, then commits the rows of all sources as one group.

    The queue is full at `max_pending_bytes` in all, or an eighth of it from one source, so that a flooding robot sheds
    only its own rows: `offer` then returns False and the row is not held. While the database is unreachable, the group
    waits and is tried again. A source is parked if its rows cannot be stored while those of others can: it has a retry
    timer of its own, and its rows are in no group until they could be stored.
    `confirm` is awaited before rows are taken, and may drop sources.
    """

    def __init__(
        self,
        store: Store,
        in_thread: Callable[..., Awaitable],
        *,
        interval_s: float,
        max_pending_bytes: int,
        sleep: Callable[[float], Awaitable] = asyncio.sleep,
        confirm: Callable[[], Awaitable] | None = None,
    ):
        self._store = store
        self._confirm = confirm
        self._in_thread = in_thread
        self._interval_s = interval_s
        self._max_bytes = max_pending_bytes
        self._sleep = sleep
        self._queued: Group = {}
        self._parked: Group = {}
        self._retries: dict[FrameSource, asyncio.Task] = {}
        self._retrying = asyncio.Lock()  # between two retries a group has its turn
        self._dropped: set[FrameSource] = set()
        self._queued_since = 0.0  # time of the oldest row
        self._uncounted = 0
        self._failures = 0  # groups in a row
        self._offered = asyncio.Event()
        self._drained: dict[FrameSource, asyncio.Event] = {}
        self.pending_bytes = 0
        self.pending_frames = 0
        self.last_commit_at: float | None = None  # that stored or refused something; by time.monotonic()

    @property
    def parked_sources(self) -> Collection[FrameSource]:
        return self._parked.keys()

    def offer(self, source: FrameSource, row: Row) -> bool:
        size = len(row.data) + ROW_OVERHEAD_BYTES
        if self.pending_bytes + size > self._max_bytes or source.pending_bytes + size > self._max_bytes // 8:
            return False
        if self._parked and source in self._parked:
            self._parked[source].append(row)
        else:
            if not self._queued:
                self._queued_since = time.monotonic()
                self._offered.set()
            rows = self._queued.get(source)
            if rows is None:
                self._queued[source] = [row]
            else:
                rows.append(row)
        self._uncounted += 1
        self.pending_frames += 1
        self.pending_bytes += size
        source.pending_frames += 1
        source.pending_bytes += size
        return True

    def reserve(self, source: FrameSource, size: int) -> bool:
        """Count the bytes of another message that waits for its commit; return False if `offer` would refuse a row."""
        if self.pending_bytes + size > self._max_bytes or source.pending_bytes + size > self._max_bytes // 8:
            return False
        self.free(source, -size)
        return True

    def free(self, source: FrameSource, size: int) -> None:
        self.pending_bytes -= size
        source.pending_bytes -= size

    async def drained(self, source: FrameSource) -> None:
        """Return when every row that this source has offered is committed, refused, or dropped."""
        if source.pending_frames:
            await self._drained.setdefault(source, asyncio.Event()).wait()

    def drop(self, source: FrameSource) -> None:
        """Forget the source's rows. Those in a group that is being written are stored, or forgotten if they fail."""
        if not source.pending_frames:
            return
        self._dropped.add(source)
        self._forget(source, self._queued.pop(source, []) + self._parked.pop(source, []))

    async def run(self) -> None:
        while True:
            await self._offered.wait()
            await self._sleep(self._interval_s)
            while self._queued and await self._commit_group():  # a backlog is committed without a pause
                pass
            if not self._queued:
                self._offered.clear()

    async def _commit_group(self) -> bool:
        """Commit the oldest rows of all sources; return whether more rows were waiting than fit into a group."""
        if self._confirm:
            await self._confirm()
            if not self._queued:
                return False
        group, was_full = self._take_group(), bool(self._queued)
        queued_since, self._queued_since = self._queued_since, time.monotonic()
        counters.ACCEPTED.inc(self._uncounted)
        self._uncounted = 0
        outcome = await self._write([row for rows in group.values() for row in rows], self._failures)
        if outcome is not None:
            self._failures = 0
            self._settle(group, outcome)
            if not outcome.waiting:
                counters.ACK_LAG_S.observe(time.monotonic() - queued_since)
            return was_full
        if len(group) == 1:
            self._park(*group.popitem())
            return was_full
        self._failures += 1
        for source, rows in group.items():
            self._requeue(source, rows)
        await self._sleep(_pause_s(self._failures))
        return True

    def _take_group(self) -> Group:
        """Take all queued rows; if they are too many, take a fair share of each source, so that none fills a group."""
        if sum(map(len, self._queued.values())) <= MAX_GROUP_ROWS:
            group, self._queued = self._queued, {}
            return group
        group, room = {}, MAX_GROUP_ROWS
        shortest_first = sorted(self._queued, key=lambda source: len(self._queued[source]))
        for place, source in enumerate(shortest_first):
            rows = self._queued[source]
            share = room // (len(shortest_first) - place)
            if share:
                group[source], self._queued[source] = rows[:share], rows[share:]
                room -= len(group[source])
            if not self._queued[source]:
                del self._queued[source]
        return group

    async def _write(self, rows: list[Row], attempts_before: int) -> Outcome | None:
        """Write rows in the frame thread; return None if the database took none of them and may take them later."""
        began = time.monotonic()
        outcome: Outcome | None
        try:
            outcome = await self._in_thread(self._store.write, rows)
            reason = outcome.reason
        except Exception as error:  # on any error: no row was acked, so none may be dropped
            outcome, reason = None, str(error)
        waiting = len(rows) if outcome is None else len(outcome.waiting)
        if waiting:
            counters.DATABASE_ERRORS.inc()
            if attempts_before in (0, 3) or attempts_before % 30 == 0:
                logger.warning("could not store %d frames (attempt %d): %s", waiting, attempts_before + 1, reason)
        if outcome is not None and waiting < len(rows):
            self.last_commit_at = time.monotonic()
            counters.COMMIT_S.observe(self.last_commit_at - began)
            counters.GROUP_ROWS.observe(len(rows) - waiting)
            counters.COMMITTED.inc(len(rows) - waiting - len(outcome.refused))
            if attempts_before:
                logger.warning("the database stores frames again; %d frames wait", self.pending_frames)
        return outcome

    def _settle(self, group: Group, outcome: Outcome) -> None:
        refusals = {id(refused.row): refused for refused in outcome.refused}
        waiting = {id(row) for row in outcome.waiting}
        for source, rows in group.items():
            if waiting and (left := [row for row in rows if id(row) in waiting]):
                rows = rows[: len(rows) - len(left)]
                self._park(source, left)
            self._settle_source(source, rows, refusals, outcome.stored_before)

    def _settle_source(
        self, source: FrameSource, rows: list[Row], refusals: Mapping[int, Refused], stored_before: Mapping[int, int]
    ) -> None:
        self._forget(source, rows)
        stored = rows
        if refusals:
            stored = []
            for row in rows:
                if refused := refusals.get(id(row)):
                    notify(source.refused, refused)
                else:
                    stored.append(row)
        if stored:
            notify(source.committed, stored, stored_before.get(source.session_id, 0))
        self._check_drained(source)

    def _forget(self, source: FrameSource, rows: Sequence[Row]) -> None:
        """Remove these rows from the counts of pending rows."""
        size = ROW_OVERHEAD_BYTES * len(rows)
        for row in rows:  # a generator would double the cost for the one row that most sources have in a group
            size += len(row.data)
        self.pending_frames -= len(rows)
        self.pending_bytes -= size
        source.pending_frames -= len(rows)
        source.pending_bytes -= size
        if self._dropped and source in self._dropped:
            self._check_drained(source)

    def _check_drained(self, source: FrameSource) -> None:
        if not source.pending_frames and (self._drained or self._dropped):
            self._dropped.discard(source)
            if source in self._drained:
                self._drained.pop(source).set()

    def _requeue(self, source: FrameSource, rows: list[Row]) -> None:
        """Put rows back, in front of the rows that have come since."""
        if source in self._dropped:
            self._forget(source, rows)
        else:
            self._queued[source] = rows + self._queued.get(source, [])
            self._offered.set()

    def _park(self, source: FrameSource, rows: list[Row]) -> None:
        if source in self._dropped:
            self._forget(source, rows)
            return
        self._parked[source] = rows + self._queued.pop(source, []) + self._parked.pop(source, [])
        if source not in self._retries:
            self._retries[source] = asyncio.create_task(self._retry(source))

    async def _retry(self, source: FrameSource) -> None:
        """Try a parked source's first row again until it is stored; then queue the rest with the rows of all others."""
        for attempt in count(1):
            await self._sleep(_pause_s(attempt))
            async with self._retrying:
                if self._confirm:
                    await self._confirm()
                if source not in self._parked:
                    break
                # One row: a search for the fault among thousands would delay the frames of all others.
                rows, self._parked[source] = self._parked[source][:1], self._parked[source][1:]
                outcome = await self._write(rows, attempt)
            later = self._parked.pop(source, [])
            if outcome is not None and len(outcome.waiting) < len(rows):
                del self._retries[source]
                self._settle({source: rows}, outcome)
                if source in self._parked:
                    self._parked[source] += later
                elif later:
                    self._requeue(source, later)
                return
            self._park(source, rows + later)
            if source not in self._parked:  # dropped meanwhile
                break
        self._retries.pop(source, None)


def _pause_s(attempt: int) -> float:
    return RETRY_S[min(attempt, len(RETRY_S)) - 1]


def notify(method: Callable, *args) -> None:
    """Call a source; a source with a socket that has just closed must not keep the others from their acks."""
    try:
        method(*args)
    except Exception:
        logger.exception("could not notify a connection")
