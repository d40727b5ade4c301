"""The audit log: users and their changes over REST, in the admin and by commands."""

from importlib import import_module
from io import StringIO
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.authtoken.models import Token

from robots import audit
from robots.models import AuditEntry, Robot
from robots.tests.admin_clients import shown
from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session
from teleop.tests.test_admin_sessions import SEEN, act, page_of
from teleop.tests.test_rest_sessions import add_video
from videos.models import VideoChunk
from videos.tests.video_files import upload

pytestmark = pytest.mark.django_db
ROBOTS, ENTRIES = "/admin/robots/robot/", "/admin/robots/auditentry/"


@pytest.fixture(autouse=True)
def closed(monkeypatch) -> None:
    """Replace the requests to close connections, so that no channel layer is needed."""
    for module in ("robots.admin", "robots.worker_messages", "teleop.api.views", "teleop.admin.sessions"):
        monkeypatch.setattr(f"{module}.close_connections", lambda code, **of: None)


def entries() -> list[tuple]:
    """Return the user, action, object and changes of each entry."""
    return [
        (each.who, each.action, each.model, each.object_id, each.changes) for each in AuditEntry.objects.order_by("pk")
    ]


# REST


def test_it_records_a_label_with_the_values_before_and_after(curator):
    session = make_session()
    path = f"/sessions/{session.pk}"
    curator.patch(path, {"meta_info": {"task": "Fold"}})
    curator.patch(path, {"meta_info": {"task": "Sort"}})
    first, second = entries()
    session_id = str(session.pk)
    labelled = {"meta_info.task": [None, "Fold"], "staff_labels": [[], ["task"]]}
    assert first == ("curator", "changed", "teleop.teleopsession", session_id, labelled)
    assert second[-1] == {"meta_info.task": ["Fold", "Sort"]}
    assert AuditEntry.objects.first().user == User.objects.get(username="curator")


@pytest.mark.parametrize("body", [{}, {"meta_info": {}}, {"meta_info": {"task": "Fold"}}])
def test_it_records_nothing_if_nothing_changed(curator, body):
    session = make_session()
    session.merge_meta({"task": "Fold"}, by_staff=True)
    session.save_meta()
    assert curator.patch(f"/sessions/{session.pk}", body).status_code == 200
    assert entries() == []


def test_it_records_a_change_from_1_to_true(curator):
    session = make_session()
    TeleopSession.objects.update(meta_info={"success": 1}, staff_labels=["success"])
    curator.patch(f"/sessions/{session.pk}", {"meta_info": {"success": True}})
    assert AuditEntry.objects.get().changes == {"meta_info.success": [1, True]}


def test_it_records_the_robot_as_actor_of_its_own_labels(arm):
    session = make_session()
    arm.patch(f"/sessions/{session.pk}", {"meta_info": {"operator": "Bob"}})
    assert [entry[:2] for entry in entries()] == [("robot arm", "changed")]


def test_it_records_a_mark_and_its_removal_without_the_other_marks(curator):
    session = make_session()
    for second in (1, 2):
        curator.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S + second})
    curator.delete(f"/sessions/{session.pk}/marks/{T0_S + 1}")
    first, second = ({"timestamp": float(T0_S + number), "note": "", "by": "curator"} for number in (1, 2))
    assert [entry[-1]["meta_info.marks"] for entry in entries()] == [[[], [first]], [[], [second]], [[first], []]]


def test_it_records_the_end_and_the_deletion_of_a_session(curator):
    live = make_session(is_live=True)
    curator.post(f"/sessions/{live.pk}/end")
    TeleopSession.objects.update(end_time=live.start_time, meta_info={"task": "Fold"})
    session_id = str(live.pk)
    assert curator.delete(f"/sessions/{session_id}").status_code == 204
    ended, deleted = entries()
    assert ended == ("curator", "ended", "teleop.teleopsession", session_id, {})
    assert deleted[:4] == ("curator", "deleted", "teleop.teleopsession", session_id)
    assert deleted[-1]["meta_info.task"] == ["Fold", None] and deleted[-1]["robot_id"] == ["arm", None]


def test_it_records_nothing_for_a_refused_request(curator, admin):
    live = make_session(is_live=True)
    assert curator.delete(f"/sessions/{live.pk}").status_code == 409
    assert curator.patch(f"/sessions/{live.pk}", {"meta_info": {"x": 1}, "seen": {"x": 0}}).status_code == 409
    assert admin.delete("/robots/arm").status_code == 409
    assert admin.post("/robots", {"id": "arm"}).status_code == 409
    assert entries() == []


def test_it_records_every_change_of_a_robot(admin):
    admin.post("/robots", {"id": "leg", "name": "Leg", "meta_info": {"arms": 2}})
    admin.put("/robots/leg", {"id": "leg", "name": "Leg", "meta_info": {"arms": 1}})
    admin.patch("/robots/leg", {"name": "Leg"})  # no change
    key = admin.post("/robots/leg/key").json()["key"]
    admin.delete("/robots/leg")
    assert [entry[1] for entry in entries()] == ["added", "changed", "key issued", "deleted"]
    assert [entry[-1] for entry in entries()] == [
        {"name": [None, "Leg"], "meta_info.arms": [None, 2]},
        {"meta_info.arms": [2, 1]},
        {},
        {"name": ["Leg", None], "meta_info.arms": [1, None]},
    ]
    assert key not in str(list(AuditEntry.objects.values()))


def test_it_records_one_deletion_if_two_requests_delete_the_same_session():
    session = make_session()
    actors = [audit.command(name) for name in ("first", "second")]
    copies = [TeleopSession.objects.get(pk=session.pk) for _ in actors]
    for copy, actor in zip(copies, actors, strict=True):
        copy.delete(actor=actor)
    assert [entry.actor for entry in AuditEntry.objects.filter(action=audit.Action.DELETED)] == ["first"]


def test_it_records_video_uploads_and_deletions_by_users(admin, arm, media):
    session = make_session()
    upload(arm, session, camera_key="wrist")
    number = upload(admin, session).json()["id"]
    upload(admin, session)  # stored already
    admin.delete(f"/videos/{number}")
    assert [entry[:4] for entry in entries()] == [
        ("admin", action, "videos.videochunk", str(number)) for action in ("added", "deleted")
    ]
    assert AuditEntry.objects.last().changes["camera_key"] == ["front", None]


def test_it_records_a_new_token_without_its_value(anonymous):
    User.objects.create_user("ada", password="a long one")
    for _ in range(2):
        token = anonymous.post("/auth/token", {"username": "ada", "password": "a long one"}).json()["token"]
    [entry] = AuditEntry.objects.all()
    assert (entry.who, entry.action, entry.object_repr) == ("ada", "added", "token of ada")
    assert token not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("patch", "/sessions/{}", {"meta_info": {"task": "Sort"}}),
        ("post", "/sessions/{}/marks", {"timestamp": T0_S}),
        ("delete", "/sessions/{}", None),
        ("post", "/robots", {"id": "leg"}),
        ("put", "/robots/arm", {"id": "arm", "name": "Arm"}),
        ("post", "/robots/arm/key", None),
        ("delete", "/videos/{}", None),
        ("delete", "/robots/foot", None),
    ],
)
def test_it_rolls_back_the_change_if_the_entry_fails(admin, monkeypatch, method, path, body):
    def fail(*args, **kwargs):
        raise RuntimeError("the entry cannot be written")

    session = make_session()
    Robot.objects.create(pk="foot")
    add_video(session, "front")
    number = VideoChunk.objects.get().pk if "videos" in path else session.pk
    before = stored()
    monkeypatch.setattr(AuditEntry.objects, "bulk_create", fail)
    answer = getattr(admin, method)(path.format(number), body)
    assert (answer.status_code, stored()) == (500, before)


@pytest.mark.parametrize("path", ["/sessions/{}", "/robots/foot", "/videos/{}"])
def test_it_rolls_back_the_entry_if_the_change_fails(admin, monkeypatch, path):
    def fail(*args, **kwargs):
        raise RuntimeError("the row cannot be deleted")

    session = make_session()
    Robot.objects.create(pk="foot")
    add_video(session, "front")
    monkeypatch.setattr("django.db.models.Model.delete", fail)
    number = VideoChunk.objects.get().pk if "videos" in path else session.pk
    assert (admin.delete(path.format(number)).status_code, entries()) == (500, [])


def stored() -> list:
    sessions = TeleopSession.objects.values("pk", "meta_info", "staff_labels")
    return [list(sessions), list(Robot.objects.values()), list(VideoChunk.objects.values())]


def test_it_truncates_long_values(arm):
    session = make_session()
    arm.patch(f"/sessions/{session.pk}", {"meta_info": {"x": "y" * 40_000, "note": "é" * 10_000}})
    changes = AuditEntry.objects.get().changes
    assert changes["meta_info.x"][1].endswith("… (40002 characters; an entry stores at most 10240)")
    assert len(changes["meta_info.x"][1]) < 1100 and changes["meta_info.note"] == [None, "é" * 10_000]


# a key that is issued while a robot's description is being saved


def test_put_does_not_overwrite_a_concurrently_issued_key(admin, monkeypatch):
    robot, keys = Robot.objects.create(pk="arm"), []
    robot.issue_key()
    # After the request has read the robot and before it saves.
    monkeypatch.setattr(
        "robots.api.serializers.RobotSerializer.validate",
        lambda serializer, values: keys.append(Robot.objects.get(pk="arm").issue_key()) or values,
    )
    assert admin.put("/robots/arm", {"id": "arm", "name": "Arm"}).status_code == 200
    robot.refresh_from_db()
    assert robot.name == "Arm" and robot.has_key(keys[0])


def test_the_admin_form_does_not_overwrite_a_concurrently_issued_key(staff_admin, monkeypatch):
    robot, keys = Robot.objects.create(pk="arm"), []
    robot.issue_key()
    monkeypatch.setattr(
        "robots.admin_tools.forms.RobotForm.clean", lambda form: keys.append(Robot.objects.get(pk="arm").issue_key())
    )
    staff_admin.post(f"{ROBOTS}arm/change/", {"name": "Arm", "meta_info": "null"})
    robot.refresh_from_db()
    assert robot.name == "Arm" and robot.has_key(keys[0])


# the admin


def test_it_records_changes_made_in_the_admin(staff_admin):
    staff_admin.post(f"{ROBOTS}add/", {"id": "leg", "name": "Leg", "meta_info": "null"})
    staff_admin.post(f"{ROBOTS}leg/change/", {"name": "Foot", "meta_info": '{"arms": 2}'})
    staff_admin.post(f"{ROBOTS}leg/change/", {"name": "Foot", "meta_info": '{"arms": 2}'})  # no change
    staff_admin.post(f"{ROBOTS}leg/key/")
    staff_admin.post(ROBOTS, {"action": "disconnect", "_selected_action": ["leg"]})
    staff_admin.post(ROBOTS, {"action": "delete_selected", "_selected_action": ["leg"], "post": "yes"})
    assert [entry[:2] for entry in entries()] == [
        ("admin", action) for action in ("added", "changed", "key issued", "disconnected", "deleted")
    ]
    assert entries()[0][-1] == {"id": [None, "leg"], "name": [None, "Leg"]}
    assert entries()[1][-1] == {"name": ["Leg", "Foot"], "meta_info.arms": [None, 2]}
    assert not LogEntry.objects.exists()


def test_it_records_labels_set_in_the_admin_once(staff_curator):
    session = make_session()
    staff_curator.post(page_of(session), SEEN | {"task": "Fold"})
    act(staff_curator, "mark_success", session)
    staff_curator.post(
        page_of(session), SEEN | {"initial-task": "Fold", "task": "Fold", "initial-success": "True", "success": "true"}
    )
    assert [entry[-1] for entry in entries()] == [
        {"meta_info.task": [None, "Fold"], "staff_labels": [[], ["task"]]},
        {"meta_info.success": [None, True], "staff_labels": [["task"], ["success", "task"]]},
    ]


@pytest.mark.parametrize("path, data", [("{}/delete/", {}), ("", {"action": "delete_selected"})])
def test_it_records_deletions_of_sessions_in_the_admin(staff_curator, path, data):
    session = make_session()
    data = {"post": "yes", "_selected_action": [session.pk]} | data
    staff_curator.post("/admin/teleop/teleopsession/" + path.format(session.pk), data)
    assert [entry[:4] for entry in entries()] == [("curator", "deleted", "teleop.teleopsession", str(session.pk))]


def test_it_records_account_changes_without_passwords(staff_admin):
    staff_admin.post("/admin/auth/user/add/", {"username": "ada", "role": "curator"})
    ada = User.objects.get(username="ada")
    viewers = Group.objects.get_or_create(name="viewer")[0]
    form = {
        "username": "ada",
        "is_active": "on",
        "groups": [viewers.pk],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "08:00:00",
    }
    staff_admin.post(f"/admin/auth/user/{ada.pk}/change/", form)
    new = {"password1": "another 1", "password2": "another 1", "usable_password": "true"}
    staff_admin.post(f"/admin/auth/user/{ada.pk}/password/", new | {"set-password": "1"})
    assert [entry[1:4] for entry in entries()] == [
        (action, "auth.user", str(ada.pk)) for action in ("added", "link issued", "changed", "changed")
    ]
    added, _, changed, password = (entry[-1] for entry in entries())
    assert added == {"username": [None, "ada"], "role": [None, "curator"]}
    assert changed["groups"] == [["curator"], ["viewer"]]
    assert password == {"password": ["***", "***"]}
    assert "another 1" not in str(entries()) and "pbkdf2" not in str(entries())


def test_it_records_a_deleted_token_without_its_value(staff_admin):
    token = Token.objects.create(user=User.objects.create_user("ada"))
    staff_admin.post(f"/admin/robots/apitoken/{token.user_id}/delete/", {"post": "yes"})
    [entry] = AuditEntry.objects.all()
    assert (entry.action, entry.object_repr, entry.object_id) == ("deleted", "token of ada", str(token.user_id))
    assert not Token.objects.exists() and token.key not in str(list(AuditEntry.objects.values()))


def test_the_history_page_shows_changes_from_rest_and_admin(staff_viewer, curator, staff_admin):
    session = make_session()
    curator.patch(f"/sessions/{session.pk}", {"meta_info": {"note": "<script>alert(1)</script>"}})
    act(staff_admin, "mark_failure", session)
    page = shown(staff_viewer.get(f"/admin/teleop/teleopsession/{session.pk}/history/"))
    assert "curator" in page and "admin" in page and "meta_info.success: null → false" in page
    assert "<script>alert" not in page


def test_superusers_filter_entries_in_a_read_only_list(
    staff_admin, staff_viewer, curator, django_assert_max_num_queries
):
    first, second = make_session(), make_session()
    curator.patch(f"/sessions/{first.pk}", {"meta_info": {"note": "the first"}})
    curator.patch(f"/sessions/{second.pk}", {"meta_info": {"note": "the second"}})
    audit.record(audit.command("prune"), audit.Action.DELETED, [first])
    for query, count in {
        "": 3,
        "actor=curator": 2,
        "actor_type=command": 1,
        "action=deleted": 1,
        f"model=teleop.teleopsession&object_id={second.pk}": 1,
        "since=2020-01-01&until=9999-12-31": 3,
        "until=2020-01-01": 0,
    }.items():
        with django_assert_max_num_queries(8):
            assert shown(staff_admin.get(f"{ENTRIES}?{query}")).count('class="field-id"') == count, query
    entry = AuditEntry.objects.first()
    assert "the first" in shown(staff_admin.get(f"{ENTRIES}{entry.pk}/change/"))
    assert staff_admin.post(f"{ENTRIES}{entry.pk}/change/", {"actor": "x"}).status_code == 403
    assert staff_admin.post(f"{ENTRIES}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff_admin.get(f"{ENTRIES}add/").status_code == 403
    assert staff_viewer.get(ENTRIES).status_code == 403


def test_it_keeps_entries_after_their_user_is_deleted(curator, staff_admin):
    session = make_session()
    curator.patch(f"/sessions/{session.pk}", {"meta_info": {"note": "x"}})
    user = User.objects.get(username="curator")
    staff_admin.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=user.pk).exists()
    labelled, deleted = AuditEntry.objects.order_by("pk")
    assert (labelled.actor, labelled.user) == ("curator", None)
    assert (deleted.who, deleted.object_repr) == ("admin", "curator")


# commands, and many at once


def test_it_records_the_command_as_actor():
    make_session()
    call_command("prune", "--older-than", "1h", stdout=StringIO())
    call_command("robot_key", "leg", stdout=StringIO(), stderr=StringIO())
    assert [entry[:4] for entry in entries()] == [
        ("command prune", "deleted", "teleop.teleopsession", entries()[0][3]),
        ("command robot_key", "added", "robots.robot", "leg"),
        ("command robot_key", "key issued", "robots.robot", "leg"),
    ]


def test_it_inserts_entries_in_batches():
    Robot.objects.bulk_create(Robot(pk=f"robot_{number}") for number in range(1500))
    with CaptureQueriesContext(connection) as queries:
        audit.record(audit.command("test"), audit.Action.DELETED, Robot.objects.all())
    assert len(queries) < 25
    assert AuditEntry.objects.count() == 1500


def test_the_migration_copies_the_admin_log():
    user = User.objects.create_user("ada")
    kinds = [ContentType.objects.get_for_model(model) for model in (Robot, Token)]
    for kind, text in zip(kinds, ("arm", "9944b09199c62bcf"), strict=True):
        LogEntry.objects.create(
            user=user,
            content_type=kind,
            object_id="arm",
            object_repr=text,
            action_flag=ADDITION,
            change_message="Issued a new key.",
        )
    editor = SimpleNamespace(connection=connection)
    import_module("robots.migrations.0004_auditentry").copy_log(apps, editor)
    assert entries()[0] == ("ada", "added", "robots.robot", "arm", {"message": [None, "Issued a new key."]})
    assert AuditEntry.objects.last().object_repr == "token"
    assert list(AuditEntry.objects.values_list("at")) == list(
        LogEntry.objects.order_by("pk").values_list("action_time")
    )
