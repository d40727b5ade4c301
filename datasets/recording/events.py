"""Read the events that a session's robot reported."""

from typing import Any, NamedTuple


class Event(NamedTuple):
    time_us: int
    event_id: str
    kind: str
    detail: Any


def events_of(session_id: int) -> list[Event]:
    """Return all events of the session, sorted by time; events of equal times by their id."""
    from teleop.models import TeleopEvent

    rows = TeleopEvent.objects.filter(session=session_id).values_list("timestamp", "event_id", "kind", "detail")
    return sorted((Event(_microseconds(timestamp), *rest) for timestamp, *rest in rows), key=lambda event: event[:2])


def _microseconds(moment) -> int:
    """Return unix microseconds; `timestamp()` is a float, whose fraction is exact to a quarter of a microsecond."""
    return round(moment.timestamp() * 1e6)
