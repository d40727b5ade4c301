"""The far ends of a writer: a store that fails as it is told, senders that note what they hear, no time."""

import asyncio

from teleop.ingest.connection import Refused, Row
from teleop.ingest.writer import ROW_OVERHEAD_BYTES, FrameWriter
from teleop.protocol import Code

ROW_BYTES = 100 + ROW_OVERHEAD_BYTES


class Away(Exception):
    """The database's error, nobody's fault."""


class Store:
    """Stores what it is given, after it has failed as often as `failures` says."""

    def __init__(self):
        self.groups: list[list[Row]] = []
        self.failures = 0
        self.is_healthy = True
        self.refuses: set[int] = set()
        self.leaves: list[set[int]] = []  # the indexes that cannot be stored yet, in each turn of take_apart
        self.taken_apart = 0

    def write(self, rows):
        if self.failures:
            self.failures -= 1
            raise Away
        self.groups.append(list(rows))
        return [Refused(row, Code.REJECTED_BY_DATABASE, "no") for row in rows if row.frame_index in self.refuses]

    def take_apart(self, rows):
        self.taken_apart += 1
        left = self.leaves.pop(0) if self.leaves else set()
        return self.write([row for row in rows if row.frame_index not in left]), [
            row for row in rows if row.frame_index in left
        ]

    def forget_broken_connection(self):
        return self.is_healthy

    @property
    def stored(self):
        return [row.frame_index for group in self.groups for row in group]


class Sender:
    """Notes what it is told; `committed` holds indexes, `events` all in order."""

    def __init__(self, session_id=1):
        self.session_id = session_id
        self.pending_frames = self.pending_bytes = 0
        self.events = []

    def committed(self, rows):
        self.events.append(("committed", [row.frame_index for row in rows]))

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
        return function(*args)

    async def _sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def offer(self, sender, *indexes):
        rows = [Row(sender.session_id, "arm", index, 0, b"x" * 100) for index in indexes]
        return [self.writer.offer(sender, row) for row in rows]

    def run(self, *senders):
        """Until all that these have offered is settled."""

        async def until_drained():
            running = asyncio.create_task(self.writer.run())
            for sender in senders:
                await self.writer.drained(sender)
            running.cancel()

        asyncio.run(asyncio.wait_for(until_drained(), 10))
