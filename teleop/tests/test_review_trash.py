"""Sessions in the trash: hidden everywhere, restored by their robot, and deleted for good after TRASH_DAYS."""

import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from datasets.selection import select
from datasets.types import Refused
from robots.models import AuditEntry
from teleop.background.kinds import KINDS
from teleop.models import DeletedSession, TeleopFrame, TeleopSession
from teleop.review import trash
from teleop.tests.recordings import make_session
from teleop.tests.session_leases import beats, falls_silent, opens, releases, stores, sweeps

pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:teleop_teleopsession_changelist")


def trashed(key: str, days: float = 1, frames: int = 3) -> TeleopSession:
    """Return a session that was moved to the trash so many days ago."""
    session = make_session(range(frames), key=key)
    at = timezone.now() - timedelta(days=days)
    TeleopSession.objects.filter(pk=session.pk).update(
        frame_count=frames, meta_info={"task": "Fold", "success": True}, trashed_at=at
    )
    return session


def in_trash() -> set[str]:
    return set(TeleopSession.objects.in_trash().values_list("key", flat=True))


def left() -> set[str]:
    return set(TeleopSession.objects.values_list("key", flat=True))


def test_it_is_hidden_and_can_be_read_by_its_id(viewer):
    session, other = trashed("trashed"), make_session(range(2), key="other")
    assert [row["key"] for row in viewer.get("/sessions").json()["results"]] == ["other"]
    assert viewer.get("/sessions").json()["count"] == 1
    assert [row["key"] for row in viewer.get("/sessions?task=Fold").json()["results"]] == []
    assert [row["key"] for row in viewer.get("/robots/arm/status").json()["last_sessions"]] == ["other"]
    assert {row["session_id"] for row in viewer.get("/robots/arm/frames").json()["results"]} == {other.pk}
    assert viewer.get("/statistics").json()["total"]["episodes"] == 0
    assert viewer.get(f"/sessions/{other.pk}/position").json()["total"] == 1
    assert TeleopSession.objects.durations_s("Fold") == []
    shown = viewer.get(f"/sessions/{session.pk}").json()
    assert (shown["key"], shown["trashed_at"] is None) == ("trashed", False)
    assert len(viewer.get(f"/sessions/{session.pk}/frames").json()["results"]) == 3


def test_it_is_not_exported():
    session = trashed("trashed")
    with pytest.raises(Refused, match="no session matches"):
        select("task=Fold")
    with pytest.raises(Refused, match=f"restore from the trash first: session {session.pk}"):
        select(session_ids=[session.pk])
    with pytest.raises(Refused, match="'trash' is no filter of sessions"):
        select("trash=true")


def test_the_admin_lists_it_only_on_request(staff_curator):
    trashed("trashed")
    make_session(key="other")

    def listed(query: str = "") -> set[str]:
        return {session.key for session in staff_curator.get(LIST + query).context["cl"].result_list}

    assert (listed(), listed("?trash=true")) == ({"other"}, {"trashed"})
    assert staff_curator.get(LIST + "?trash=true").context["cl"].export_url is None


def test_the_admin_moves_sessions_to_the_trash_and_back(staff_curator, staff_viewer):
    session, live = make_session(key="ended"), make_session(key="live", is_live=True)
    chosen = {"_selected_action": [session.pk, live.pk]}
    for client, expected in ((staff_viewer, set()), (staff_curator, {"ended"})):
        answer = client.post(LIST, {"action": "trash"} | chosen, follow=True)
        assert in_trash() == expected
    assert [str(message) for message in answer.context["messages"]] == [
        f"session {live.pk} is live; end it first",
        "Moved 1 session to the trash.",
    ]
    staff_curator.post(LIST + "?trash=true", {"action": "restore"} | chosen)
    assert in_trash() == set()


def test_its_robot_restores_it_by_resuming_it(settings):
    settings.ROBOT_AUTH = "open"
    releases(opens())
    TeleopSession.objects.update(trashed_at=timezone.now())
    lease = opens("worker.2")
    assert in_trash() == set()
    stores(lease, 0)
    assert TeleopFrame.objects.count() == 1


def test_a_holder_that_is_alive_after_all_restores_it(settings):
    settings.ROBOT_AUTH = "open"
    lease = opens()
    falls_silent(lease)
    assert sweeps() == 1
    TeleopSession.objects.update(trashed_at=timezone.now())
    beats(lease)
    assert (in_trash(), TeleopSession.objects.get().is_live) == (set(), True)


def test_the_background_work_deletes_it_after_some_days(settings):
    settings.TRASH_DAYS = 7
    trashed("new", days=6.9)
    old = trashed("old", days=7.1)
    assert [session.pk for session in KINDS["trash"].due()] == [old.pk]
    assert trash.delete(old)
    assert (left(), TeleopFrame.objects.count()) == ({"new"}, 3)
    assert DeletedSession.objects.get().key == "old"
    entry = AuditEntry.objects.get()
    assert (entry.actor_type, entry.actor, entry.action) == ("command", "background", "deleted")


def test_it_is_never_deleted_without_a_number_of_days(settings):
    settings.TRASH_DAYS = 0
    trashed("old", days=1000)
    assert not trash.expired().exists()
    call_command("prune", "--expired-exports", stdout=io.StringIO())
    assert left() == {"old"}


@pytest.mark.parametrize("change", [{"trashed_at": None}, {"end_time": None}])
def test_a_session_that_was_restored_or_resumed_is_not_deleted(settings, change):
    settings.TRASH_DAYS = 7
    session = trashed("old", days=8)
    TeleopSession.objects.update(**change)
    assert not trash.delete(session)
    assert TeleopFrame.objects.count() == 3


def test_a_session_that_cannot_be_deleted_stays_for_some_more_days(settings):
    settings.TRASH_DAYS = 7
    session = trashed("old", days=8)
    KINDS["trash"].give_up(session, "the disk fails")
    assert (in_trash(), trash.expired().exists()) == ({"old"}, False)


@pytest.mark.parametrize("option", [("--expired-exports",), ("--older-than", "100w")])
@pytest.mark.parametrize("dry", [True, False])
def test_prune_deletes_it(settings, option, dry):
    settings.TRASH_DAYS = 7
    session = trashed("old", days=8)
    TeleopSession.objects.update(end_time=timezone.now())
    printed = io.StringIO()
    call_command("prune", *option, *["--dry-run"] * dry, stdout=printed)
    sentence = (
        "1 sessions in the trash would be deleted" if dry else f"deleted session {session.pk} of arm from the trash"
    )
    assert sentence in printed.getvalue()
    assert left() == ({"old"} if dry else set())
