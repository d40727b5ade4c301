"""Group commit: what is held, what is committed together, and what a failing database must not cost."""

import asyncio

import pytest

from teleop.ingest.connection import Refused, Row
from teleop.ingest.writer import MAX_GROUP_ROWS, ROW_OVERHEAD_BYTES, FrameWriter
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


@pytest.fixture
def writing():
    return Writing()


@pytest.fixture
def sender():
    return Sender()


@pytest.fixture
def other():
    return Sender(session_id=2)


def test_it_commits_what_all_have_offered_as_one_group(writing, sender, other):
    writing.offer(sender, 0, 1)
    writing.offer(other, 7)
    writing.run(sender, other)
    assert writing.slept == [0.02]
    assert [len(group) for group in writing.store.groups] == [3]
    assert (sender.events, other.events) == ([("committed", [0, 1])], [("committed", [7])])


def test_it_holds_nothing_afterwards(writing, sender):
    writing.offer(sender, 0, 1)
    assert (sender.pending_frames, sender.pending_bytes) == (2, 2 * ROW_BYTES)
    writing.run(sender)
    assert (sender.pending_frames, sender.pending_bytes) == (0, 0)
    assert (writing.writer.pending_frames, writing.writer.pending_bytes) == (0, 0)


def test_it_commits_a_backlog_in_pieces(writing, sender):
    writing.writer._max_bytes = 2**26
    writing.offer(sender, *range(MAX_GROUP_ROWS + 5))
    writing.run(sender)
    assert [len(group) for group in writing.store.groups] == [MAX_GROUP_ROWS, 5]
    assert sender.acked == list(range(MAX_GROUP_ROWS + 5))


def test_a_sender_that_fills_an_eighth_is_full_and_others_are_not(other, sender):
    writing = Writing(max_pending_bytes=8 * 3 * ROW_BYTES)
    assert writing.offer(sender, 0, 1, 2, 3) == [True, True, True, False]
    assert writing.offer(other, 0) == [True]


def test_it_is_full_for_all_at_its_bound():
    writing = Writing(max_pending_bytes=8 * ROW_BYTES)
    assert [writing.offer(Sender(session_id), 0) for session_id in range(9)] == [[True]] * 8 + [[False]]


def test_it_takes_frames_again_when_it_has_committed(sender):
    writing = Writing(max_pending_bytes=8 * ROW_BYTES)
    assert writing.offer(sender, 0, 1) == [True, False]
    writing.run(sender)
    assert writing.offer(sender, 1) == [True]
    assert writing.store.stored == [0]


def test_it_tells_of_refused_rows_before_it_acknowledges_the_others(writing, sender):
    writing.store.refuses = {1, 2}
    writing.offer(sender, 0, 1, 2, 3)
    writing.run(sender)
    assert sender.events == [("refused", 1), ("refused", 2), ("committed", [0, 3])]


def test_it_acknowledges_nothing_where_all_was_refused(writing, sender):
    writing.store.refuses = {0}
    writing.offer(sender, 0)
    writing.run(sender)
    assert sender.events == [("refused", 0)]


def test_it_tries_again_while_the_database_is_away_and_loses_nothing(writing, sender):
    writing.store.is_healthy = False
    writing.store.failures = 50
    writing.offer(sender, 0, 1)
    writing.run(sender)
    assert (writing.store.stored, sender.acked) == ([0, 1], [0, 1])
    assert (writing.store.taken_apart, len(writing.slept)) == (0, 51)
    assert max(writing.slept) == 1.0


def test_it_tells_nobody_anything_before_the_commit(writing, sender):
    told = []

    async def refuse_once(function, *args):
        told.append(list(sender.events))
        return function(*args)

    writing.writer._in_database = refuse_once
    writing.store.failures = 2
    writing.offer(sender, 0)
    writing.run(sender)
    assert told == [[]] * len(told)
    assert sender.acked == [0]


def test_what_comes_while_a_group_waits_is_stored_after_it(writing, sender):
    async def offers_before_it_recovers(function, *args):
        if function == writing.store.forget_broken_connection:
            writing.offer(sender, 2, 3)
        return function(*args)

    writing.writer._in_database = offers_before_it_recovers
    writing.store.failures = 1
    writing.offer(sender, 0, 1)
    writing.run(sender)
    assert writing.store.stored == sender.acked == [0, 1, 2, 3]


def test_it_takes_a_group_apart_when_it_failed_three_times_on_a_healthy_connection(writing, sender):
    writing.store.failures = 3
    writing.offer(sender, 0, 1)
    writing.run(sender)
    assert (writing.store.taken_apart, sender.acked) == (1, [0, 1])


def test_it_writes_whole_groups_again_when_one_was_stored(writing, sender):
    writing.store.failures = 3
    writing.offer(sender, 0)
    writing.run(sender)
    writing.offer(sender, 1)
    writing.run(sender)
    assert writing.store.taken_apart == 1


def test_rows_that_are_left_keep_their_order_and_cost_others_nothing(writing, sender, other):
    writing.store.failures = 3
    writing.store.leaves = [{1, 2}, {1, 2, 3}]
    writing.offer(sender, 0, 1, 2)
    writing.offer(other, 8, 9)
    writing.run(other)
    assert (sender.acked, other.acked) == ([0], [8, 9])
    writing.offer(sender, 3)
    writing.run(sender)
    assert sender.acked == [0, 1, 2, 3]


def test_a_sender_that_fails_costs_others_nothing(writing, sender, other):
    def gone(_):
        raise ConnectionError

    sender.committed = sender.refused = gone
    writing.store.refuses = {1}
    writing.offer(sender, 0, 1)
    writing.offer(other, 0)
    writing.run(sender, other)
    assert other.acked == [0]


def test_drained_waits_for_nothing_where_nothing_is_pending(writing, sender):
    writing.run(sender)
    assert writing.slept == []
