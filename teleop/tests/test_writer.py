"""Group commit: pending rows, rows that are committed together, and no loss when the database fails."""

import pytest

from teleop.ingest.writer import MAX_GROUP_ROWS
from teleop.tests.writer_fakes import ROW_BYTES, Source, Writing


@pytest.fixture
def writing():
    return Writing()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def other():
    return Source(session_id=2)


def test_it_commits_rows_of_all_sources_as_one_group(writing, source, other):
    writing.offer(source, 0, 1)
    writing.offer(other, 7)
    writing.run(source, other)
    assert writing.slept == [0.02]
    assert [len(group) for group in writing.store.groups] == [3]
    assert (source.events, other.events) == ([("committed", [0, 1])], [("committed", [7])])


def test_it_has_no_pending_rows_after_a_commit(writing, source):
    writing.offer(source, 0, 1)
    assert (source.pending_frames, source.pending_bytes) == (2, 2 * ROW_BYTES)
    writing.run(source)
    assert (source.pending_frames, source.pending_bytes) == (0, 0)
    assert (writing.writer.pending_frames, writing.writer.pending_bytes) == (0, 0)


def test_it_commits_a_backlog_in_pieces(writing, source):
    writing.writer._max_bytes = 2**26
    writing.offer(source, *range(MAX_GROUP_ROWS + 5))
    writing.run(source)
    assert [len(group) for group in writing.store.groups] == [MAX_GROUP_ROWS, 5]
    assert source.acked == list(range(MAX_GROUP_ROWS + 5))


def test_it_accepts_at_most_an_eighth_of_its_bound_from_one_source(other, source):
    writing = Writing(max_pending_bytes=8 * 3 * ROW_BYTES)
    assert writing.offer(source, 0, 1, 2, 3) == [True, True, True, False]
    assert writing.offer(other, 0) == [True]


def test_it_accepts_no_rows_past_its_bound():
    writing = Writing(max_pending_bytes=8 * ROW_BYTES)
    assert [writing.offer(Source(session_id), 0) for session_id in range(9)] == [[True]] * 8 + [[False]]


def test_it_accepts_rows_again_after_a_commit(source):
    writing = Writing(max_pending_bytes=8 * ROW_BYTES)
    assert writing.offer(source, 0, 1) == [True, False]
    writing.run(source)
    assert writing.offer(source, 1) == [True]
    assert writing.store.stored == [0]


def test_it_reports_refused_rows_before_it_acknowledges_the_others(writing, source):
    writing.store.refuses = {1, 2}
    writing.offer(source, 0, 1, 2, 3)
    writing.run(source)
    assert source.events == [("refused", 1), ("refused", 2), ("committed", [0, 3])]


def test_it_acknowledges_nothing_if_all_rows_were_refused(writing, source):
    writing.store.refuses = {0}
    writing.offer(source, 0)
    writing.run(source)
    assert source.events == [("refused", 0)]


def test_it_retries_while_the_database_is_down_and_loses_no_rows(writing, source, other):
    writing.store.failures = 50
    writing.offer(source, 0, 1)
    writing.offer(other, 0)
    writing.run(source, other)
    assert (sorted(writing.store.stored), source.acked, other.acked) == ([0, 0, 1], [0, 1], [0])
    assert (len(writing.slept), max(writing.slept)) == (51, 1.0)


def test_it_counts_no_commit_while_nothing_is_stored(writing, source, other):
    """A health check that counted a failed group as a commit reported "ok" while the disk was full."""
    seen = []
    write = writing.store.write

    def look_and_write(rows):
        seen.append(writing.writer.last_commit_at)
        return write(rows)

    writing.store.write = look_and_write
    writing.store.failures = 2
    writing.store.blocks = {1: 1, 2: 1}
    writing.offer(source, 0)
    writing.offer(other, 0)
    writing.run(source, other)
    assert seen[:4] == [None] * 4
    assert writing.writer.last_commit_at is not None


def test_it_notifies_no_source_before_the_commit(writing, source, other):
    seen = []
    write = writing.store.write

    def look_and_write(rows):
        seen.append(list(source.events))
        return write(rows)

    writing.store.write = look_and_write
    writing.store.failures = 2
    writing.offer(source, 0)
    writing.offer(other, 0)
    writing.run(source, other)
    assert seen == [[]] * 3
    assert source.acked == [0]


def test_it_stores_rows_offered_during_a_retry_after_that_group(writing, source, other):
    write = writing.store.write

    def offer_and_write(rows):
        writing.store.write = write
        writing.offer(source, 2, 3)
        return write(rows)

    writing.store.write = offer_and_write
    writing.store.failures = 1
    writing.offer(source, 0, 1)
    writing.offer(other, 7)
    writing.run(source, other)
    assert source.acked == [0, 1, 2, 3]
    assert [index for index in writing.store.stored if index != 7] == [0, 1, 2, 3]


def test_it_parks_a_blocked_session_and_commits_all_others(writing, source, other):
    writing.store.blocks = {1: 5}
    writing.offer(source, 0, 1)
    writing.offer(other, 8)

    async def see_others_acknowledged():
        await writing.writer.drained(other)
        assert (source.acked, other.acked) == ([], [8])

    writing.run(source, meanwhile=see_others_acknowledged)
    assert source.acked == [0, 1]


def test_it_retries_a_parked_session_alone_with_increasing_delays(writing, source, other):
    writing.store.blocks = {1: 6}
    writing.offer(source, 0)
    writing.offer(other, 0)
    writing.run(source, other)
    assert writing.slept == [0.02, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0]
    assert [len(group) for group in writing.store.groups] == [1, 0, 0, 0, 0, 0, 1]


def test_it_retries_with_one_row_of_a_parked_session(writing, source, other):
    """One session that could not be stored for two minutes made the ack p95 of 99 others 2.6 times as long."""
    writing.store.failures = 3
    tried, write = [], writing.store.write

    def look_and_write(rows):
        tried.append(len(rows))
        return write(rows)

    writing.store.write = look_and_write
    writing.offer(source, *range(300))
    writing.run(source)
    assert tried == [300, 1, 1, 1, 299]
    assert source.acked == list(range(300))


def test_it_keeps_the_order_of_a_parked_sessions_rows(writing, source, other):
    writing.store.blocks = {1: 3}
    writing.offer(source, 0, 1)
    writing.offer(other, 8)

    async def offer_while_parked():
        await writing.writer.drained(other)
        writing.offer(source, 2, 3)

    writing.run(source, meanwhile=offer_while_parked)
    assert source.acked == [0, 1, 2, 3]


def test_it_stores_the_rows_before_a_waiting_row(writing, source, other):
    writing.store.waits_from = 1
    writing.offer(source, 0, 1, 2)
    writing.run(source)
    assert source.events == [("committed", [0]), ("committed", [1]), ("committed", [2])]


def test_it_parks_a_source_that_fails_alone_and_commits_others_meanwhile(writing, source, other):
    """If a group has rows of one session only, a faulty session and an unavailable database look the same."""
    writing.store.failures = 1
    writing.offer(source, 0)

    async def offer_when_parked():
        await writing.until_parked(source)
        writing.offer(other, 5)

    writing.run(source, other, meanwhile=offer_when_parked)
    assert (source.acked, other.acked) == ([0], [5])


def test_it_includes_every_source_in_a_group_despite_a_backlog(writing, source, other):
    writing.writer._max_bytes = 2**26
    writing.offer(source, *range(MAX_GROUP_ROWS + 5))
    writing.offer(other, *range(3))
    writing.run(source, other)
    assert [(len(group), sum(row.session_id == 2 for row in group)) for group in writing.store.groups] == [
        (MAX_GROUP_ROWS, 3),
        (8, 0),
    ]


def test_it_counts_rows_that_were_stored_before(writing, source):
    writing.store.stored_before = {1: 2}
    writing.offer(source, 0, 1, 2)
    writing.run(source)
    assert (source.acked, source.stored_before) == ([0, 1, 2], 2)


def test_it_drops_the_rows_of_a_source(writing, source, other):
    writing.offer(source, 0, 1)
    writing.offer(other, 0)
    writing.writer.drop(source)
    writing.run(source, other)
    assert (source.events, source.pending_frames, source.pending_bytes) == ([], 0, 0)
    assert (other.acked, writing.writer.pending_frames, writing.writer.pending_bytes) == ([0], 0, 0)


def test_it_drops_the_rows_of_a_parked_source(writing, source, other):
    writing.store.blocks = {1: 10**9}
    writing.offer(source, 0, 1)
    writing.offer(other, 0)

    async def drop_when_parked():
        await writing.until_parked(source)
        writing.writer.drop(source)

    writing.run(source, other, meanwhile=drop_when_parked)
    assert (source.events, other.acked, writing.writer.pending_frames) == ([], [0], 0)
    assert not writing.writer.parked_sources


@pytest.mark.parametrize("fails", [True, False])
def test_it_drops_rows_that_are_being_written_only_if_they_fail(writing, source, other, fails):
    def drop_and_write(rows, write=writing.store.write):
        writing.store.write = write
        writing.writer.drop(source)
        return write(rows)

    writing.store.write = drop_and_write
    writing.store.failures = int(fails)
    writing.offer(source, 0)
    writing.offer(other, 0)
    writing.run(source, other)
    assert (source.acked, other.acked, writing.writer.pending_frames) == ([] if fails else [0], [0], 0)


def test_it_notifies_other_sources_if_one_raises(writing, source, other):
    def gone(*_):
        raise ConnectionError

    source.committed = source.refused = gone
    writing.store.refuses = {1}
    writing.offer(source, 0, 1)
    writing.offer(other, 0)
    writing.run(source, other)
    assert other.acked == [0]


def test_drained_returns_at_once_without_pending_rows(writing, source):
    writing.run(source)
    assert writing.slept == []


def test_it_writes_no_rows_of_a_source_dropped_before_the_group(writing, source, other):
    async def confirm():
        writing.writer.drop(source)

    writing.writer._confirm = confirm
    writing.offer(source, 0)
    writing.offer(other, 0)
    writing.run(source, other)
    assert (source.events, other.acked, [len(group) for group in writing.store.groups]) == ([], [0], [1])
