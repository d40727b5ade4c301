"""Events in the database: stored once, up to a maximum of a session, and gone with it."""

import orjson
import pytest
from django.db import IntegrityError, connection, transaction

from teleop.ingest import event_store
from teleop.ingest.parse import EVENT_CHECKS, Event
from teleop.ingest.types import EventsOutcome, SessionEvents
from teleop.models import TeleopEvent, TeleopSession
from teleop.quality import job
from teleop.tests.recordings import T0, make_session, record
from teleop.tests.test_locked_rows import locked

T0_US = 1703318400 * 10**6
DELETED = EventsOutcome(is_deleted=True)


def event(event_id: str, kind="mark", detail=None, timestamp_us=T0_US) -> Event:
    return Event(event_id, kind, timestamp_us, orjson.dumps({"note": "x"} if detail is None else detail))


def restart(event_id: str, start: int, stop: int) -> Event:
    return event(event_id, "restart", {"from_index": start, "to_index": stop, "rebooted": False})


def stores(session: TeleopSession, *events: Event) -> EventsOutcome | None:
    return event_store.write([SessionEvents(session.pk, events)])[0]


def stored(session: TeleopSession) -> list[str]:
    return list(session.events.order_by("pk").values_list("event_id", flat=True))


def counts(session: TeleopSession) -> tuple[int, int]:
    session.refresh_from_db()
    return session.skipped_frames, session.events_dropped


def test_the_parser_and_the_model_have_the_same_kinds():
    assert list(EVENT_CHECKS) == TeleopEvent.Kind.values


@pytest.mark.django_db
class TestEvents:
    def test_it_stores_an_event(self):
        session = make_session(is_live=True)
        detail = {"camera": "front", "fault": "frozen", "text": "é\u2028😀", "numbers": [1e22, -(2**63), None, [{}]]}
        lifted = event("lifted", "camera", detail, T0_US + 250_000)
        assert stores(session, lifted) == EventsOutcome([lifted])
        row = session.events.get()
        assert (row.event_id, row.kind, row.detail) == ("lifted", "camera", detail)
        assert (row.timestamp - T0).total_seconds() == 0.25
        assert row.created_at > T0

    def test_the_same_id_changes_nothing(self):
        session = make_session(is_live=True)
        first = event("a", detail={"note": "first"})
        assert stores(session, first, event("a"), event("b")).new == [first, event("b")]
        assert stores(session, event("a"), event("c")).new == [event("c")]
        assert stored(session) == ["a", "b", "c"]
        assert session.events.first().detail == {"note": "first"}

    def test_two_sessions_may_have_events_with_one_id(self):
        sessions = [make_session(is_live=True, key=f"session-{number}") for number in range(2)]
        outcomes = event_store.write([SessionEvents(session.pk, [event("a")]) for session in sessions])
        assert [len(outcome.new) for outcome in outcomes] == [1, 1]
        assert [stored(session) for session in sessions] == [["a"], ["a"]]

    def test_it_counts_the_events_beyond_the_maximum(self, monkeypatch):
        monkeypatch.setattr(event_store, "MAX_EVENTS", 3)
        session = make_session(is_live=True)
        assert stores(session, *map(event, "abcde")) == EventsOutcome([event("a"), event("b"), event("c")], 2)
        assert stores(session, event("b"), event("f")) == EventsOutcome([], 1)
        assert stored(session) == ["a", "b", "c"]
        assert counts(session) == (0, 3)

    def test_the_indexes_that_a_restart_skipped_are_not_missing(self):
        session = make_session([*range(10), *range(600, 610)])
        TeleopSession.objects.filter(pk=session.pk).update(frame_count=20)
        stores(session, restart("r", 10, 600), restart("r", 0, 5))
        stores(session, restart("r", 10, 600))
        assert counts(session) == (590, 0)
        assert session.missing_frames == 0

    def test_frames_that_are_stored_in_the_skipped_range_are_not_skipped(self):
        """The robot lost its power before its disk had what it had sent."""
        session = make_session([*range(8), *range(10, 15), 600])
        stores(session, restart("r", 10, 600))
        assert counts(session) == (585, 0)
        TeleopSession.objects.filter(pk=session.pk).update(frame_count=14)
        session = TeleopSession.objects.get()
        assert session.missing_frames == 2
        assert TeleopSession.objects.with_frame_span().get().missing_frames == 2
        job.compute(session)
        session.refresh_from_db()
        assert session.quality["missing_frames"] == 2

    @pytest.mark.parametrize("at_once", [True, False])
    def test_indexes_that_two_restarts_name_count_once(self, at_once):
        """The robot's program was killed between the event and its first frame, and restarted again."""
        session = make_session([*range(10), 1200])
        restarts = [restart("a", 10, 600), restart("b", 10, 1200), restart("c", 5, 20), restart("d", 1190, 1210)]
        for events in [restarts] if at_once else [[each] for each in restarts]:
            stores(session, *events)
        # 10 to 1199, and 1201 to 1209.
        assert counts(session) == (1190 + 9, 0)

    def test_missing_frames_are_never_negative(self):
        session = make_session(range(10))
        TeleopSession.objects.filter(pk=session.pk).update(frame_count=10)
        stores(session, restart("r", 10, 610))
        session = TeleopSession.objects.get()
        assert (session.skipped_frames, session.missing_frames) == (600, 0)
        job.compute(session)
        session.refresh_from_db()
        assert session.quality["missing_frames"] == 0

    def test_the_number_of_skipped_frames_does_not_overflow(self):
        session = make_session(is_live=True)
        TeleopSession.objects.update(skipped_frames=2**31 - 1)
        stores(session, restart("r", 0, 100_000))
        assert counts(session) == (2**31 - 1, 0)

    def test_events_of_a_deleted_session_are_refused_and_others_stored(self):
        gone, session = make_session(key="gone-session"), make_session(is_live=True)
        groups = [SessionEvents(gone.pk, [event("a")]), SessionEvents(session.pk, [event("a")])]
        gone.delete()
        assert event_store.write(groups) == [DELETED, EventsOutcome([event("a")])]
        assert TeleopEvent.objects.count() == 1

    def test_events_are_deleted_with_their_session(self):
        gone, session = make_session(key="gone-session"), make_session(is_live=True)
        stores(gone, event("a"))
        stores(session, event("a"))
        gone.delete()
        assert [row.session_id for row in TeleopEvent.objects.all()] == [session.pk]

    def test_code_from_before_this_table_may_insert_and_delete_sessions(self):
        """It names no new column, and deletes no events."""
        session = make_session()
        stores(session, event("a"))
        columns = [field.column for field in TeleopSession._meta.concrete_fields if not field.generated]
        new = {"skipped_frames", "events_dropped", "sparkline", "trashed_at"}
        old = ", ".join(set(columns) - {"id", "key"} - new)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO teleop_teleopsession (key, {old}) SELECT 'another', {old} FROM teleop_teleopsession"
            )
            cursor.execute("DELETE FROM teleop_teleopsession WHERE key <> 'another'")
        assert counts(TeleopSession.objects.get(key="another")) == (0, 0)
        if connection.vendor == "postgresql":
            cursor = connection.cursor()
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            assert TeleopEvent.objects.count() == 0

    def test_the_database_refuses_a_second_event_with_one_id(self):
        session = make_session()
        stores(session, event("a"))
        with pytest.raises(IntegrityError), transaction.atomic():
            TeleopEvent.objects.create(session=session, event_id="a", kind="mark", timestamp=T0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_events_of_a_locked_session_wait_and_delay_no_other():
    busy, session = make_session(is_live=True, key="busy-session"), make_session(is_live=True)
    groups = [SessionEvents(busy.pk, [event("a")]), SessionEvents(session.pk, [event("a")])]
    with locked("SELECT 1 FROM teleop_teleopsession WHERE id = %s FOR NO KEY UPDATE", busy.pk):
        assert event_store.write(groups) == [None, EventsOutcome([event("a")])]
    assert event_store.write(groups) == [EventsOutcome([event("a")]), EventsOutcome([])]


@pytest.mark.django_db(transaction=True)
def test_a_frame_with_a_skipped_index_counts_as_stored():
    session = make_session(range(3))
    stores(session, restart("r", 3, 10))
    record(session, [5, 10])
    TeleopSession.objects.update(frame_count=5)
    assert TeleopSession.objects.get().missing_frames == 0
