"""Deleted sessions are remembered, for robots that come back with `expect` or with films."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from robots.models import Robot
from teleop.ingest import admission
from teleop.ingest.types import Handshake
from teleop.models import DeletedSession, SessionIsLive, TeleopSession
from teleop.querysets import REMEMBERED
from teleop.tests.recordings import make_session
from teleop.tests.session_leases import opens, releases

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _open_mode(settings):
    settings.ROBOT_AUTH = "open"


def remembered() -> list[tuple[str, str]]:
    return list(DeletedSession.objects.order_by("pk").values_list("robot_id", "key"))


def expecting(session_id: int | None, holder="worker.2", key="morning-run", robot="arm"):
    """Return the answer to a handshake that expects the session to have this id."""
    return admission.claim([Handshake(robot, None, key, holder, None, expected_id=session_id)], [""])[0]


def delete_by_rest(session, request):
    request.getfixturevalue("curator").delete(f"/sessions/{session.pk}")


def delete_in_the_admin(session, request):
    path = f"/admin/teleop/teleopsession/{session.pk}/delete/"
    request.getfixturevalue("staff_curator").post(path, {"post": "yes"})


def delete_selected_in_the_admin(session, request):
    form = {"action": "delete_selected", "_selected_action": [session.pk], "post": "yes"}
    request.getfixturevalue("staff_curator").post("/admin/teleop/teleopsession/", form)


def prune(session, request):
    call_command("prune", "--older-than", "1h")


@pytest.mark.parametrize("delete", [delete_by_rest, delete_in_the_admin, delete_selected_in_the_admin, prune])
def test_it_remembers_a_session_however_it_is_deleted(request, delete):
    session = make_session(range(3))
    delete(session, request)
    assert not TeleopSession.objects.exists()
    assert remembered() == [(session.robot_id, session.key)]


def test_it_remembers_nothing_if_the_deletion_fails():
    session = make_session(range(3))
    with pytest.raises(RuntimeError), transaction.atomic():
        session.delete()
        raise RuntimeError
    TeleopSession.objects.update(end_time=None)
    with pytest.raises(SessionIsLive):
        TeleopSession.objects.get().delete()
    assert remembered() == []


def test_a_key_that_is_deleted_again_is_remembered_from_then_on():
    make_session(range(1)).delete()
    DeletedSession.objects.update(deleted_at=Now() - timedelta(days=300))
    make_session(range(1)).delete()
    assert DeletedSession.objects.filter(deleted_at__gt=Now() - timedelta(hours=1)).count() == 1
    assert DeletedSession.objects.count() == 1


def test_the_second_of_two_deletions_remembers_nothing():
    session = make_session(range(1))
    other = TeleopSession.objects.get()
    session.delete()
    DeletedSession.objects.all().delete()
    other.delete()
    assert remembered() == []


def test_prune_forgets_sessions_that_were_deleted_long_ago():
    for key, age in (("old-run", REMEMBERED + timedelta(days=1)), ("new-run", REMEMBERED - timedelta(days=1))):
        DeletedSession.objects.create(robot_id="arm", key=key, deleted_at=Now() - age)
    call_command("prune", "--older-than", "1h", "--dry-run")
    assert len(remembered()) == 2
    call_command("prune", "--older-than", "1h")
    assert remembered() == [("arm", "new-run")]


def test_a_robot_that_expects_a_deleted_session_is_refused():
    opened = opens()
    releases(opened)
    TeleopSession.objects.all().delete()
    Robot.objects.update(status=Robot.Status.OFFLINE)
    refusal = expecting(opened.session_id)
    assert (refusal.status, refusal.code) == (410, "session_gone")
    assert refusal.detail == "session morning-run was deleted"
    assert not TeleopSession.objects.exists()
    assert Robot.objects.get().status == Robot.Status.OFFLINE


def test_a_robot_that_expects_another_id_is_refused_and_the_session_stays_as_it_is():
    releases(opened := opens())
    refusal = expecting(opened.session_id + 1)
    assert (refusal.status, refusal.code) == (410, "session_gone")
    assert refusal.detail == f"session morning-run has the id {opened.session_id}; {opened.session_id + 1} expected"
    session = TeleopSession.objects.get()
    assert (session.holder, session.is_live) == ("", False)


def test_a_robot_gets_the_session_that_it_expects():
    releases(opened := opens())
    DeletedSession.objects.create(robot_id="arm", key="morning-run")  # an earlier session with the key
    assert expecting(opened.session_id).lease.session_id == opened.session_id


def test_a_robot_begins_a_new_session_with_the_key_of_a_deleted_one():
    releases(opens())
    TeleopSession.objects.all().delete()
    claim = expecting(None)
    assert claim.is_new
    assert expecting(claim.lease.session_id, "worker.3").previous == "worker.2"


def test_an_expected_session_that_the_server_never_had_is_begun():
    DeletedSession.objects.create(robot_id="leg", key="morning-run")
    DeletedSession.objects.create(robot_id="arm", key="evening-run")
    assert expecting(17).is_new


@pytest.mark.parametrize("auth", ["key", "open"])
def test_a_refused_handshake_leaves_the_others_of_its_group_alone(settings, auth):
    settings.ROBOT_AUTH = auth
    robots = ["arm", "leg", "wheel"]
    Robot.objects.bulk_create(Robot(pk=robot) for robot in robots if auth == "key" or robot != "arm")
    DeletedSession.objects.create(robot_id="arm", key="morning-run")
    expected = {"arm": 17, "leg": None, "wheel": 17}
    group = [Handshake(robot, None, "morning-run", robot, None, expected_id=expected[robot]) for robot in robots]
    refusal, leg, wheel = admission.claim(group, [""] * 3)
    assert (refusal.code, leg.is_new, wheel.is_new) == ("session_gone", True, True)
    assert set(TeleopSession.objects.values_list("robot_id", flat=True)) == {"leg", "wheel"}
    assert Robot.objects.filter(pk="arm", status=Robot.Status.ONLINE).count() == 0
    assert Robot.objects.filter(pk="arm").count() == (auth == "key")


def test_fifty_handshakes_that_expect_a_session_need_one_more_statement():
    counts = []
    for expected_id in (None, 17):
        handshakes = [
            Handshake(f"arm-{number}-{expected_id}", None, "morning-run", f"worker.{number}", None, True, expected_id)
            for number in range(50)
        ]
        Robot.objects.bulk_create(Robot(pk=handshake.robot_id) for handshake in handshakes)
        with CaptureQueriesContext(connection) as statements:
            admission.claim(handshakes, [""] * 50)
        counts.append(len(statements))
    assert counts[1] == counts[0] + 1
