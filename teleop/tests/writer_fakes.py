"""Fakes for a writer: a store that fails on request, sources that record their calls, sleeps without delay."""

import asyncio

from teleop.ingest.types import Outcome, Refused, Row
from teleop.ingest.writer import ROW_OVERHEAD_BYTES, FrameWriter
from teleop.protocol import Code

ROW_BYTES = 100 + ROW_OVERHEAD_BYTES


class Away(Exception):
    """Error of an unavailable database; no row is the cause."""


class Store:
    """Store that accepts rows after it has failed `failures` times."""

    def __init__(self):
        self.groups: list[list[Row]] = []
        self.failures = 0
        self.refuses: set[int] = set()  # indexes
        self.blocks: dict[int, int] = {}  # by session: the number of writes for which its rows still wait
        self.waits_from: int | None = None  # the index from which rows wait, once
        self.stored_before: dict[int, int] = {}

    def write(self, rows):
        if self.failures:
            self.failures -= 1
            raise Away
        blocked = {session_id for session_id in {row.session_id for row in rows} if self.blocks.get(session_id)}
        for session_id in blocked:
            self.blocks[session_id] -= 1
        waiting = [row for row in rows if row.session_id in blocked]
        if self.waits_from is not None:
            waiting = [row for row in rows if row.frame_index >= self.waits_from]
            self.waits_from = None
        stored = [row for row in rows if row not in waiting]
        self.groups.append(stored)
        refused = [Refused(row, Code.REJECTED_BY_DATABASE, "no") for row in stored if row.frame_index in self.refuses]
        return Outcome(refused, self.stored_before, waiting, "locked")

    @property
    def stored(self):
        return [row.frame_index for group in self.groups for row in group]


class Source:
    """Source that records the writer's calls in `events`, in order; `acked` has the committed indexes."""

    def __init__(self, session_id=1):
        self.session_id = session_id
        self.pending_frames = self.pending_bytes = 0
        self.stored_before = 0
        self.events = []

    def committed(self, rows, stored_before):
        self.events.append(("committed", [row.frame_index for row in rows]))
        self.stored_before += stored_before

    def refused(self, refused):
        self.events.append(("refused", refused.row.frame_index))

    @property
    def acked(self):
        return [index for kind, indexes in self.events if kind == "committed" for index in indexes]


class Writing:
    """A writer on a fake store; its sleeps take no time and are noted in `slept`."""

    def __init__(self, max_pending_bytes=2**20):
        self.store = Store()
        self.slept: list[float] = []
        self.writer = FrameWriter(
            self.store, self._call, interval_s=0.02, max_pending_bytes=max_pending_bytes, sleep=self._sleep
        )

    async def _call(self, function, *args):
        await asyncio.sleep(0)
        return function(*args)

    async def _sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def offer(self, source, *indexes):
        rows = [Row(source.session_id, "arm", index, 0, b"x" * 100) for index in indexes]
        return [self.writer.offer(source, row) for row in rows]

    async def until_parked(self, source):
        while source not in self.writer.parked_sources:  # noqa: ASYNC110 - the writer has no event for it
            await asyncio.sleep(0)

    def run(self, *sources, meanwhile=None):
        """Run the writer until all rows of these sources are settled; `meanwhile` is called first, in the loop."""

        async def until_drained():
            running = asyncio.create_task(self.writer.run())
            if meanwhile:
                await meanwhile()
            for source in sources:
                await self.writer.drained(source)
            running.cancel()

        asyncio.run(asyncio.wait_for(until_drained(), 10))
