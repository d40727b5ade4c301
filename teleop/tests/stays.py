"""A robot's stay, from the database's side: it opens a session, beats, stores frames and is released."""

from datetime import UTC, datetime, timedelta
from threading import Event

from django.db.models.functions import Now

from robots.models import Robot
from teleop.ingest import presence, store
from teleop.ingest.connection import Beat, Opened, Row
from teleop.models import TeleopSession

T0 = datetime(2023, 12, 23, 8, tzinfo=UTC)


def opens(holder="worker.1", key="morning-run", robot="arm", abandoned=False) -> Opened | None:
    given_up = Event()
    if abandoned:
        given_up.set()
    return presence.open_session(robot, None, key, holder, "10.0.0.7", given_up)[0]


def beat_of(opened: Opened, **changes) -> Beat:
    beat = Beat(opened.session_id, opened.robot_id, opened.holder, opened.frame_count, None, None, {}, None, 0)
    return beat._replace(**changes)


def beats(opened: Opened, **changes) -> presence.Holds:
    return presence.beat([beat_of(opened, **changes)])


def releases(opened: Opened, failed=False, **changes) -> int:
    """The session's frame_count."""
    return presence.release([presence.Release(beat_of(opened, **changes), failed)])[opened.session_id]


def stores(opened: Opened, *indexes) -> None:
    """A frame a second."""
    seconds = int(T0.timestamp())
    rows = [Row(opened.session_id, opened.robot_id, index, (seconds + index) * 10**6, b"{}") for index in indexes]
    assert store.write(rows) == []


def falls_silent(*opened: Opened) -> None:
    """As if its worker had been killed half a minute ago."""
    ago = Now() - timedelta(seconds=31)
    TeleopSession.objects.filter(pk__in=[each.session_id for each in opened]).update(updated_at=ago)
    Robot.objects.filter(pk__in=[each.robot_id for each in opened]).update(last_heartbeat=ago)
