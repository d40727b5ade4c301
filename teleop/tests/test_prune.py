"""`manage.py prune`: deleted and kept sessions; it keeps the session of a robot that reconnected."""

import io
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.utils import timezone

from robots.models import Robot
from teleop import querysets
from teleop.models import TeleopFrame, TeleopSession
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db


def prune(*options: str) -> str:
    printed = io.StringIO()
    call_command("prune", *options, stdout=printed)
    return printed.getvalue()


@pytest.fixture
def recorded():
    """Return a function that makes a session of one frame that ended so many days ago."""
    robot = Robot.objects.create(pk="arm")

    def record(key: str, days: float, **fields) -> TeleopSession:
        end = timezone.now() - timedelta(days=days)
        session = TeleopSession.objects.create(
            robot=robot, key=key, start_time=end, end_time=end, frame_count=1, **fields
        )
        TeleopFrame.objects.create(session=session, robot=robot, frame_index=0, timestamp=end, data={})
        return session

    return record


def test_it_deletes_expired_logins(recorded):
    expired, other = SessionStore(), SessionStore()
    for login, seconds in ((expired, -1), (other, 60)):
        login.set_expiry(seconds)
        login.create()
    recorded("old", days=3)
    prune("--older-than", "2d", "--dry-run")
    assert Session.objects.count() == 2
    prune("--older-than", "2d")
    assert list(Session.objects.values_list("pk", flat=True)) == [other.session_key]


def left() -> set[str]:
    return set(TeleopSession.objects.values_list("key", flat=True))


def test_it_deletes_older_sessions_and_their_frames(recorded):
    recorded("old-one", 31)
    recorded("new-one", 29)
    printed = prune("--older-than", "30d")
    assert printed.endswith("deleted 1 sessions with 1 frames\n")
    assert left() == {"new-one"}
    assert TeleopFrame.objects.count() == 1


def test_it_keeps_a_live_session_of_any_age(recorded):
    session = recorded("all-year", 365)
    TeleopSession.objects.filter(pk=session.pk).update(end_time=None)
    assert prune("--older-than", "1h").endswith("deleted 0 sessions with 0 frames\n")


def test_it_keeps_sessions_that_staff_labelled_or_marked(recorded):
    recorded("labelled", 9, staff_labels=["success"], meta_info={"success": True})
    recorded("marked", 9, meta_info={"marks": [{"timestamp": 1703318400, "note": "here", "by": "eva"}]})
    recorded("said-by-robot", 9, meta_info={"task": "pick"})
    recorded("nothing-said", 9)
    prune("--older-than", "1w", "--keep-labelled")
    assert left() == {"labelled", "marked"}


def test_a_dry_run_deletes_nothing(recorded):
    recorded("old-one", 31)
    assert prune("--older-than", "30d", "--dry-run") == "1 sessions with 1 frames would be deleted\n"
    assert left() == {"old-one"}


@pytest.mark.parametrize("age", ["30", "0d", "-1d", "1.5d", "30y", "999999w", ""])
def test_it_reports_the_expected_range_for_an_invalid_age(age):
    with pytest.raises(CommandError, match="is not a valid age; 1h to 100 years expected"):
        prune(f"--older-than={age}")


@pytest.mark.parametrize("frames", [1, 3, 4, 10])
def test_it_deletes_all_frames_of_only_one_session_in_batches(monkeypatch, frames):
    monkeypatch.setattr(querysets, "DELETE_BATCH", 3)
    session, other = make_session(range(0, 7 * frames, 7)), make_session(range(20))
    assert session.frames.delete_in_batches() == frames
    assert (session.frames.count(), other.frames.count()) == (0, 20)
