"""Write events of many sessions into the table in a few statements: blocking calls, in the thread for sessions."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

import orjson
from django.db.models import Count

from teleop.ingest.parse import Event
from teleop.ingest.transactions import bounded_transaction, wait_for_standby
from teleop.ingest.types import EPOCH, EventsOutcome, SessionEvents
from teleop.models import TeleopEvent, TeleopFrame, TeleopSession
from teleop.protocol import MAX_EVENTS, MAX_FRAME_INDEX

LOCK_TIMEOUT_MS = 500
STATEMENT_TIMEOUT_MS = 5_000


def write(groups: Sequence[SessionEvents]) -> list[EventsOutcome | None]:
    """Store the events that are not stored yet; a result is None if another client has locked the session's row.

    The groups are of different sessions. The lock of a session's row lets only one worker at a time store its events.
    """
    session_ids = [group.session_id for group in groups]
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS):
        sessions = TeleopSession.objects.filter(pk__in=session_ids)
        counts = ("skipped_frames", "events_dropped")
        locked = {pk: before for pk, *before in sessions.lock_available().values_list("pk", *counts)}
        existing = locked if len(locked) == len(groups) else set(sessions.values_list("pk", flat=True))
        outcomes = _outcomes([group for group in groups if group.session_id in locked])
        TeleopEvent.objects.bulk_create(_model(pk, event) for pk, outcome in outcomes.items() for event in outcome.new)
        changes = []
        for pk, outcome in outcomes.items():
            skipped = _skipped(pk, outcome.new)
            if skipped or outcome.dropped:
                more = zip(locked[pk], (skipped, outcome.dropped), strict=True)
                changes.append((pk, *(min(before + count, MAX_FRAME_INDEX) for before, count in more)))
        TeleopSession.objects.update_each(counts, changes)
        wait_for_standby()
    return [outcomes.get(pk, None if pk in existing else EventsOutcome(is_deleted=True)) for pk in session_ids]


def _outcomes(groups: Sequence[SessionEvents]) -> dict[int, EventsOutcome]:
    """Return by session the events that are new, up to the maximum of a session, and the number beyond it."""
    session_ids = [group.session_id for group in groups]
    ids = {event.event_id for group in groups for event in group.events}
    stored = TeleopEvent.objects.filter(session__in=session_ids)
    known = set(stored.filter(event_id__in=ids).values_list("session", "event_id"))
    counts = dict(stored.values_list("session").annotate(count=Count("*")))
    outcomes = {}
    for pk, events in groups:
        new: dict[str, Event] = {}
        for event in events:
            if (pk, event.event_id) not in known:
                new.setdefault(event.event_id, event)
        taken = list(new.values())[: max(0, MAX_EVENTS - counts.get(pk, 0))]
        outcomes[pk] = EventsOutcome(taken, len(new) - len(taken))
    return outcomes


def _model(session_id: int, event: Event) -> TeleopEvent:
    return TeleopEvent(
        session_id=session_id,
        event_id=event.event_id,
        kind=event.kind,
        timestamp=EPOCH + timedelta(microseconds=event.timestamp_us),
        detail=orjson.loads(event.detail),
    )


def _skipped(session_id: int, events: Sequence[Event]) -> int:
    """Return the number of indexes that these restarts have left unused, without those of earlier restarts.

    Two restarts may name the same indexes: a program was killed after it had noted a restart, and before its first
    frame.
    """
    restarts = {event.event_id: event for event in events if event.kind == TeleopEvent.Kind.RESTART}
    if not restarts:
        return 0
    stored = TeleopEvent.objects.filter(session=session_id, kind=TeleopEvent.Kind.RESTART)
    details = stored.exclude(event_id__in=restarts).values_list("detail", flat=True)
    covered = [(detail["from_index"], detail["to_index"]) for detail in details]
    skipped = 0
    for event in restarts.values():
        detail = orjson.loads(event.detail)
        for start, stop in _uncovered(detail["from_index"], detail["to_index"], covered):
            skipped += stop - start - TeleopFrame.objects.count_between(session_id, start, stop)
        covered.append((detail["from_index"], detail["to_index"]))
    return skipped


def _uncovered(start: int, stop: int, covered: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Return the parts of a range that no other range covers."""
    for first, end in sorted(covered):
        if start < first:
            yield start, min(first, stop)
        start = max(start, end)
        if start >= stop:
            return
    yield start, stop
