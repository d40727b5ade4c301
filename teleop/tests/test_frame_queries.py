"""The queries of TeleopFrameQuerySet about index, time and number, and their cost."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from teleop.models import TeleopFrame, TeleopSession
from teleop.tests.recordings import T0, make_session

pytestmark = pytest.mark.django_db
UNKNOWN = 2**31 - 1


def seconds(index: int) -> timedelta:
    return timedelta(seconds=index / 60)


@pytest.fixture
def sessions() -> list[TeleopSession]:
    """Return three sessions: without a gap, with gaps, and without frames."""
    return [make_session(range(5)), make_session([3, 4, 9]), make_session()]


def ids(sessions: list[TeleopSession]) -> list[int]:
    return [*(session.pk for session in sessions), UNKNOWN]


def of_each(sessions: list[TeleopSession], *values) -> dict:
    return dict(zip(ids(sessions), values, strict=True))


def test_it_finds_the_next_index_of_each_session(sessions, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert TeleopFrame.objects.next_indexes(ids(sessions)) == of_each(sessions, 5, 10, 0, 0)
    assert [session.frames.next_index() for session in sessions] == [5, 10, 0]


def test_it_finds_the_bounds_of_each_session(sessions, django_assert_num_queries):
    none = (0, None, None)
    expected = of_each(sessions, (5, T0, T0 + seconds(4)), (3, T0 + seconds(3), T0 + seconds(9)), none, none)
    with django_assert_num_queries(1):
        assert TeleopFrame.objects.bounds(ids(sessions)) == expected


def test_it_finds_bounds_by_frame_index_and_not_by_timestamp(sessions):
    sessions[0].frames.filter(frame_index=0).update(timestamp=T0 + timedelta(days=1))
    assert TeleopFrame.objects.bounds([sessions[0].pk]) == {
        sessions[0].pk: (5, T0 + timedelta(days=1), T0 + seconds(4))
    }


def test_it_finds_the_last_frame_of_each_session(sessions, django_assert_num_queries):
    none = (None, None)
    with django_assert_num_queries(1):
        found = TeleopFrame.objects.lasts(ids(sessions))
    assert found == of_each(sessions, (4, T0 + seconds(4)), (9, T0 + seconds(9)), none, none)


def test_it_finds_the_span_of_each_session(sessions, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert TeleopFrame.objects.spans(ids(sessions)) == of_each(sessions, 5, 7, 0, 0)
    listed = TeleopSession.objects.order_by("pk").with_frame_span()
    assert [session.frame_span for session in listed] == [session.frame_span for session in sessions] == [5, 7, 0]


def test_it_runs_no_query_for_no_sessions(django_assert_num_queries):
    with django_assert_num_queries(0):
        for method in (TeleopFrame.objects.next_indexes, TeleopFrame.objects.bounds, TeleopFrame.objects.spans):
            assert method(iter(())) == {}


def test_it_counts_within_a_session(sessions):
    gaps = sessions[1].pk
    assert [TeleopFrame.objects.count_below(gaps, index) for index in (0, 3, 4, 9, 10)] == [0, 0, 1, 2, 3]
    assert TeleopFrame.objects.count_between(gaps, 4, 9) == 1
    assert [TeleopFrame.objects.is_stored(gaps, index) for index in (4, 5)] == [True, False]


def test_it_finds_frames_by_their_keys(sessions):
    whole, gaps, _ = (session.pk for session in sessions)
    found = TeleopFrame.objects.timestamps([(whole, 4), (gaps, 4), (gaps, 5), (UNKNOWN, 0)])
    assert found == {(whole, 4): T0 + seconds(4), (gaps, 4): T0 + seconds(4)}


def test_it_finds_the_newest_times(sessions):
    times = sessions[1].frames.newest_times(2)
    assert [moment for moment, _ in times] == [T0 + seconds(9), T0 + seconds(4)]
    assert len({now for _, now in times}) == 1
    assert sessions[2].frames.newest_times(2) == []


def test_it_finds_the_first_and_the_last_frame(sessions):
    first, last = sessions[1].frames.first_frame(), sessions[1].frames.last_frame()
    assert (first.frame_index, last.frame_index) == (3, 9)
    assert TeleopFrame.objects.newest_frame() == last
    assert sessions[2].frames.first_frame() is sessions[2].frames.last_frame() is None


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("ask", "scans"),
    [
        (lambda pks: TeleopFrame.objects.next_indexes(pks), ["Index Only Scan Backward"]),
        (lambda pks: TeleopFrame.objects.lasts(pks), ["Index Only Scan Backward", "Index Scan Backward"]),
        (lambda pks: TeleopFrame.objects.bounds(pks), ["Index Only Scan", "Index Scan", "Index Scan Backward"]),
        (lambda pks: TeleopFrame.objects.spans(pks), ["Index Only Scan Backward", "Index Only Scan"]),
        (lambda pks: TeleopFrame.objects.count_below(pks[0], 100), ["Index Only Scan"]),
    ],
    ids=["next_indexes", "lasts", "bounds", "spans", "count_below"],
)
def test_it_uses_only_scans_of_the_unique_index(ask, scans):
    pks = [make_session(range(200)).pk for _ in range(20)]
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE teleop_teleopframe")
        with CaptureQueriesContext(connection) as queries:
            ask(pks)
        (query,) = queries
        cursor.execute(f"EXPLAIN {query['sql']}")
        plan = [line.strip(" ->") for (line,) in cursor if "teleop_teleopframe" in line]
    assert [line.partition(" using ")[0] for line in plan] == scans
    assert all(" using frame_of_session on teleop_teleopframe " in line for line in plan)
