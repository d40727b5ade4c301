"""Group commit: what is held, what is committed together, and what a failing database must not cost."""

import pytest

from teleop.ingest.writer import MAX_GROUP_ROWS
from teleop.tests.writing import ROW_BYTES, Sender, Writing


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


def test_rows_that_are_left_go_before_what_came_meanwhile(writing, sender):
    def take_apart(rows, once=writing.store.take_apart):
        writing.store.take_apart = once
        writing.offer(sender, 3)
        return once(rows)

    writing.store.failures = 3
    writing.store.leaves = [{1, 2}]
    writing.store.take_apart = take_apart
    writing.offer(sender, 0, 1, 2)
    writing.run(sender)
    assert writing.store.stored == sender.acked == [0, 1, 2, 3]


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
