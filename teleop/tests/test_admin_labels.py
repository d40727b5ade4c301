"""Changes to sessions by staff in the admin: labels, actions, deletion."""

import pytest
from django.db import connection

from robots.models import AuditEntry
from robots.tests.admin_clients import shown
from teleop.admin import sessions as sessions_admin
from teleop.models import SessionIsLive, TeleopFrame, TeleopSession
from teleop.querysets import TeleopFrameQuerySet, TeleopSessionQuerySet
from teleop.tests.recordings import make_session
from teleop.tests.test_admin_sessions import LIST, ODD, SEEN, act, labelled, page_of
from teleop.tests.test_rest_sessions import add_video
from videos.models import VideoChunk

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.mark.parametrize("meta", ODD[:4])
def test_saving_without_a_change_leaves_odd_labels_alone(staff_curator, meta):
    session = labelled(**meta)
    form = staff_curator.get(page_of(session)).context["adminform"].form
    shown_now = {name: form[name].value() for name in form.fields}
    seen = {f"initial-{name}": value for name, value in shown_now.items()}
    answer = staff_curator.post(page_of(session), {k: v for k, v in (shown_now | seen).items() if v is not None})
    session.refresh_from_db()
    assert (answer.status_code, session.meta_info, session.staff_labels) == (302, meta, [])


def test_it_saves_labels_and_records_them_as_staff_labels(staff_curator):
    session = labelled(task="Fold", operator="ada", site="Ulm")
    form = SEEN | {
        "initial-task": "Fold",
        "initial-operator": "ada",
        "operator": "bob",
        "task": "Sort",
        "success": "false",
        "tags": "a, b\r\nc\r\n",
        "note": "x\r\ny",
    }
    assert staff_curator.post(page_of(session), form).status_code == 302
    session.refresh_from_db()
    labels = {"task": "Sort", "success": False, "tags": ["a, b", "c"], "operator": "bob", "note": "x\ny"}
    assert session.meta_info == labels | {"site": "Ulm"}
    assert session.staff_labels == ["note", "operator", "success", "tags", "task"]


def test_saving_a_note_keeps_a_task_that_another_user_has_set(staff_curator):
    session = labelled(task="Set meanwhile")
    staff_curator.post(page_of(session), SEEN | {"initial-task": "Old", "task": "Old", "note": "Mine"})
    session.refresh_from_db()
    assert session.meta_info == {"task": "Set meanwhile", "note": "Mine"}


def test_it_refuses_and_reports_a_conflicting_edit(staff_curator):
    session = labelled(task="Set meanwhile")
    answer = staff_curator.post(page_of(session), SEEN | {"initial-task": "Old", "task": "Mine"})
    session.refresh_from_db()
    assert "Someone else has changed this value" in shown(answer)
    assert session.meta_info == {"task": "Set meanwhile"}


@pytest.mark.parametrize(
    "change", [{"task": "x" * 501}, {"tags": "\n".join("x" * 51)}, {"note": "x" * 10_001}, {"task": "\0"}]
)
def test_a_label_past_its_bounds_is_refused(staff_curator, change):
    session = labelled()
    page = shown(staff_curator.post(page_of(session), SEEN | change))
    assert "errorlist" in page and "ErrorDetail" not in page
    session.refresh_from_db()
    assert session.meta_info == {}


def test_labels_do_not_make_meta_info_too_large(staff_curator):
    session = labelled(x="y" * 65_300)
    for answer in (
        staff_curator.post(page_of(session), SEEN | {"note": "x" * 1000}),
        act(staff_curator, "set_task", session, apply="1", task="x" * 500),
    ):
        assert "at most 65536 expected" in shown(answer) and "ErrorDetail" not in shown(answer)


def test_an_empty_value_removes_the_label(staff_curator):
    session = labelled(task="Fold")
    staff_curator.post(page_of(session), SEEN | {"initial-task": "Fold", "task": ""})
    session.refresh_from_db()
    assert (session.meta_info, session.staff_labels) == ({}, ["task"])


@pytest.mark.parametrize("action, is_success", [("mark_success", True), ("mark_failure", False)])
def test_it_marks_the_selected_sessions(staff_curator, action, is_success):
    first, second, other = labelled("first"), labelled("second", task="Fold"), labelled("other")
    assert "Labelled 2 sessions." in shown(act(staff_curator, action, first, second))
    second.refresh_from_db()
    other.refresh_from_db()
    assert (second.meta_info, second.staff_labels) == ({"task": "Fold", "success": is_success}, ["success"])
    assert other.meta_info == {}
    assert AuditEntry.objects.count() == 2


def test_it_marks_sessions_that_then_stop_matching_the_filter(staff_curator):
    chosen = [labelled(f"session-{number}", success=False) for number in range(3)]
    data = {"action": "mark_success", "_selected_action": [session.pk for session in chosen]}
    staff_curator.post(f"{LIST}?success=false", data)
    assert TeleopSession.objects.filter(meta_info__success=True).count() == 3


def test_it_asks_for_a_task_and_sets_it(staff_curator):
    first, second = labelled("first"), labelled("second")
    page = shown(act(staff_curator, "set_task", first, second))
    assert "Set the task of 2 sessions" in page and 'name="task"' in page
    assert "This field is required" in shown(act(staff_curator, "set_task", first, second, apply="1", task=""))
    act(staff_curator, "set_task", first, second, apply="1", task="Fold <b>")
    assert TeleopSession.objects.filter(meta_info__task="Fold <b>").count() == 2


def test_ending_a_live_session_closes_its_connection(staff_curator, monkeypatch):
    told = []
    monkeypatch.setattr(sessions_admin, "close_connections", lambda code, **of: told.append((code, of)))
    live, ended = make_session(is_live=True, key="live"), make_session(key="ended")
    assert "Ending 1 live session." in shown(act(staff_curator, "end", live, ended))
    assert told == [(1000, {"session_id": live.pk})]


def test_it_summarizes_and_deletes_a_session_with_frames_and_videos(staff_curator):
    gone, kept = labelled("gone"), labelled("kept")
    add_video(gone, "front")
    for page in (
        shown(staff_curator.get(f"{LIST}{gone.pk}/delete/")),
        shown(act(staff_curator, "delete_selected", gone)),
    ):
        summary = page.partition("<h2>Summary</h2>")[2].partition("</ul>")[0]
        assert [word for word in ("Sessions: 1", "Frames: 3", "Videos: 1 (1\xa0byte)") if word not in summary] == []
    act(staff_curator, "delete_selected", gone, post="yes")
    assert (TeleopSession.objects.get(), TeleopFrame.objects.count()) == (kept, 3)
    assert not VideoChunk.objects.exists()


def test_it_deletes_a_session_from_its_page(staff_curator):
    session = labelled()
    staff_curator.post(f"{LIST}{session.pk}/delete/", {"post": "yes"})
    assert not TeleopSession.objects.exists() and not TeleopFrame.objects.exists()


@pytest.mark.parametrize("path, data", [("{}/delete/", {}), ("", {"action": "delete_selected"})])
def test_it_deletes_frames_in_batches_outside_a_transaction(staff_curator, monkeypatch, path, data):
    depths, outside = [], len(connection.atomic_blocks)
    note = lambda frames: depths.append(len(connection.atomic_blocks))  # noqa: E731
    monkeypatch.setattr(TeleopFrameQuerySet, "delete_in_batches", note)
    session = make_session()
    staff_curator.post(LIST + path.format(session.pk), {"post": "yes", "_selected_action": [session.pk]} | data)
    assert depths == [outside] and not TeleopSession.objects.exists()


def test_the_delete_confirmation_reads_no_frame_data(staff_curator, django_assert_num_queries):
    session = make_session(range(50))
    with django_assert_num_queries(8) as queries:
        staff_curator.get(f"{LIST}{session.pk}/delete/")
    assert not [each["sql"] for each in queries if '"data"' in each["sql"]]


def test_a_live_session_is_not_deleted(staff_curator):
    live, ended = make_session(is_live=True, key="live"), make_session(key="ended")
    says = f"session {live.pk} is live; end it first"
    assert says in shown(staff_curator.get(f"{LIST}{live.pk}/delete/"))
    assert says in shown(staff_curator.post(f"{LIST}{live.pk}/delete/", {"post": "yes"}))
    assert says in shown(act(staff_curator, "delete_selected", live, ended, post="yes"))
    assert TeleopSession.objects.count() == 2


def test_it_reports_a_session_that_became_live_before_its_deletion(staff_curator, monkeypatch):
    def is_live(*args, actor):
        raise SessionIsLive("session 17 is live; end it first")

    session = labelled()
    monkeypatch.setattr(TeleopSession, "delete", is_live)
    monkeypatch.setattr(TeleopSessionQuerySet, "delete", is_live)
    page = staff_curator.post(f"{LIST}{session.pk}/delete/", {"post": "yes"}, follow=True)
    for answer in (page, act(staff_curator, "delete_selected", session, post="yes")):
        assert "session 17 is live; end it first" in shown(answer).replace("Session", "session")
