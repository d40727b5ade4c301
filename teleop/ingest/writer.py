import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from teleop import counters
from teleop.ingest.connection import Refused, Row

logger = logging.getLogger(__name__)

MAX_GROUP_ROWS = 4096  # a backlog of minutes goes in pieces, so that acks flow while it is worked off
ROW_OVERHEAD_BYTES = 256  # what a waiting row costs beside its data
ATTEMPTS_BEFORE_TAKING_APART = 3
RETRY_S = (0.1, 0.2, 0.5, 1.0)


class Sender(Protocol):
    """What the writer needs of a connection."""

    pending_frames: int
    pending_bytes: int

    def committed(self, rows: Sequence[Row]) -> None:
        """These are in the database now, and all that was offered before the last of them is or was refused."""

    def refused(self, refused: Refused) -> None: ...


class Store(Protocol):
    """Blocking calls, made in the database thread."""

    def write(self, rows: Sequence[Row]) -> list[Refused]: ...
    def take_apart(self, rows: Sequence[Row]) -> tuple[list[Refused], list[Row]]: ...
    def forget_broken_connection(self) -> bool: ...


class FrameWriter:
    """Holds rows for `interval_s`, then commits what all senders have offered as one group.

    Full is `max_pending_bytes` in all, or an eighth of it from one sender, so that a robot that floods sheds itself:
    `offer` then returns False and the row is not held. While the database is away the group waits and is tried again.
    """

    def __init__(
        self,
        store: Store,
        in_database: Callable[..., Awaitable],
        *,
        interval_s: float,
        max_pending_bytes: int,
        sleep: Callable[[float], Awaitable] = asyncio.sleep,
    ):
        self._store = store
        self._in_database = in_database
        self._interval_s = interval_s
        self._max_bytes = max_pending_bytes
        self._sleep = sleep
        self._senders: list[Sender] = []
        self._rows: list[Row] = []
        self._waiting_since = 0.0  # the oldest of them
        self._uncounted = 0
        self._failures = 0  # of groups, on a healthy connection, since the last that was stored
        self._offered = asyncio.Event()
        self._drained: dict[Sender, asyncio.Event] = {}
        self.pending_bytes = 0
        self.pending_frames = 0
        self.last_commit_at: float | None = None  # by time.monotonic()

    def offer(self, sender: Sender, row: Row) -> bool:
        size = len(row.data) + ROW_OVERHEAD_BYTES
        if self.pending_bytes + size > self._max_bytes or sender.pending_bytes + size > self._max_bytes // 8:
            return False
        if not self._rows:
            self._waiting_since = time.monotonic()
        self._senders.append(sender)
        self._rows.append(row)
        self._uncounted += 1
        self.pending_frames += 1
        self.pending_bytes += size
        sender.pending_frames += 1
        sender.pending_bytes += size
        self._offered.set()
        return True

    async def drained(self, sender: Sender) -> None:
        """Returns when every row that this sender has offered is committed or refused."""
        if sender.pending_frames:
            await self._drained.setdefault(sender, asyncio.Event()).wait()

    async def run(self) -> None:
        while True:
            await self._offered.wait()
            await self._sleep(self._interval_s)
            while self._rows and await self._commit_group() == MAX_GROUP_ROWS:
                pass
            if not self._rows:
                self._offered.clear()

    async def _commit_group(self) -> int:
        """Commits the oldest rows, and returns how many it took up."""
        senders, self._senders = self._senders[:MAX_GROUP_ROWS], self._senders[MAX_GROUP_ROWS:]
        rows, self._rows = self._rows[:MAX_GROUP_ROWS], self._rows[MAX_GROUP_ROWS:]
        waiting_since, self._waiting_since = self._waiting_since, time.monotonic()
        counters.ACCEPTED.inc(self._uncounted)
        self._uncounted = 0
        refused, left = await self._store_group(rows)
        if not left:
            self._settle(senders, rows, refused)
            counters.ACK_LAG_S.observe(time.monotonic() - waiting_since)
            return len(rows)
        waiting = {id(row) for row in left}
        pairs = list(zip(senders, rows, strict=True))
        self._settle(*_unzip([pair for pair in pairs if id(pair[1]) not in waiting]), refused)
        # In front of what has come since, so that each session's rows stay in order.
        senders, rows = _unzip([pair for pair in pairs if id(pair[1]) in waiting])
        self._senders, self._rows = senders + self._senders, rows + self._rows
        await self._sleep(RETRY_S[-1])
        return len(pairs)

    async def _store_group(self, rows: list[Row]) -> tuple[list[Refused], list[Row]]:
        """What was refused and what could not be stored yet; waits for the database as long as it takes."""
        attempt = 0
        while True:
            began = time.monotonic()
            try:
                if self._failures < ATTEMPTS_BEFORE_TAKING_APART:
                    refused, left = await self._in_database(self._store.write, rows), []
                else:
                    refused, left = await self._in_database(self._store.take_apart, rows)
                self.last_commit_at = time.monotonic()
                counters.COMMIT_S.observe(self.last_commit_at - began)
                counters.GROUP_ROWS.observe(len(rows))
                counters.COMMITTED.inc(len(rows) - len(refused) - len(left))
                if not left:
                    self._failures = 0
                if attempt:
                    logger.warning("the database takes frames again, %d are waiting", self.pending_frames)
                return refused, left
            except Exception as error:  # whatever it is: nothing was acked, so nothing may be given up
                counters.DATABASE_ERRORS.inc()
                if attempt in (0, 3) or attempt % 30 == 0:
                    logger.warning("a group of %d frames waits, attempt %d: %s", len(rows), attempt + 1, error)
                self._failures += await self._in_database(self._store.forget_broken_connection)
                await self._sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1

    def _settle(self, senders: Sequence[Sender], rows: Sequence[Row], refused: Sequence[Refused]) -> None:
        refusals = {id(each.row): each for each in refused}
        stored: dict[Sender, list[Row]] = {}
        for sender, row in zip(senders, rows, strict=True):
            size = len(row.data) + ROW_OVERHEAD_BYTES
            self.pending_frames -= 1
            self.pending_bytes -= size
            sender.pending_frames -= 1
            sender.pending_bytes -= size
            if refusals and (refusal := refusals.get(id(row))):
                _tell(sender.refused, refusal)
            else:
                stored.setdefault(sender, []).append(row)
        for sender, its_rows in stored.items():
            _tell(sender.committed, its_rows)
        for sender in [sender for sender in self._drained if not sender.pending_frames]:
            self._drained.pop(sender).set()


def _tell(tell: Callable, what) -> None:
    """One sender that fails, as its socket has just gone, must not keep the others from hearing of theirs."""
    try:
        tell(what)
    except Exception:
        logger.exception("a sender could not be told")


def _unzip(pairs: list[tuple[Sender, Row]]) -> tuple[list[Sender], list[Row]]:
    return [sender for sender, _ in pairs], [row for _, row in pairs]
