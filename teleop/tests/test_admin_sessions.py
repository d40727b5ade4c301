"""The admin's pages of sessions: finding, reading, labelling and deleting them."""

from datetime import timedelta

import pytest

from robots.models import Robot
from robots.tests.admin_clients import shown
from teleop.models import STAFF_LABELS, TeleopSession
from teleop.tests.recordings import T0, make_session
from teleop.tests.test_rest_sessions import add_video

pytestmark = pytest.mark.django_db
LIST = "/admin/teleop/teleopsession/"
SCRIPT = "<script>alert(1)</script>"
SEEN = {f"initial-{name}": "" for name in STAFF_LABELS}


def labelled(key="labelled", **meta) -> TeleopSession:
    session = make_session(range(3), key=key)
    TeleopSession.objects.filter(pk=session.pk).update(meta_info=meta, frame_count=3)
    session.refresh_from_db()
    return session


def page_of(session) -> str:
    return f"{LIST}{session.pk}/change/"


def act(client, action, *sessions, **more):
    chosen = [session.pk for session in sessions]
    return client.post(LIST, {"action": action, "_selected_action": chosen} | more, follow=True)


def found(client, query="") -> list[str]:
    page = shown(client.get(f"{LIST}?{query}"))
    pks = [part.partition("/")[0] for part in page.split('<th class="field-id"><a href="/admin/teleop/teleopsession/')]
    return [TeleopSession.objects.get(pk=pk).key for pk in pks[1:]]


@pytest.mark.parametrize("count", [1, 100])
def test_the_list_takes_a_constant_number_of_queries(staff_viewer, django_assert_num_queries, count):
    for number in range(count):
        session = make_session(range(2), key=f"session-{number}")
        add_video(session, "front")
        add_video(session, "wrist")
    with django_assert_num_queries(7):
        assert shown(staff_viewer.get(LIST)).count(">front, wrist<") == count


def test_it_shows_the_frame_rate_the_missing_frames_and_the_quality(staff_viewer):
    session = make_session([0, 1, 2, 5, 6], key="recorded")
    quality = {"idle_share": 0.123, "jerk": 1234.5, "fps_jitter": None, "duration_ratio": 1.5, "missing_frames": 2}
    quality["servo_health"] = {"temperature": {"frames_over": 3, "max": 70}, "load": {"frames_over": 0, "max": 70}}
    TeleopSession.objects.filter(pk=session.pk).update(frame_count=5, quality=quality)
    for page in (shown(staff_viewer.get(LIST)), shown(staff_viewer.get(page_of(session)))):
        assert '<span class="number">40.0</span>' in page  # frames a second
        assert '<span class="number">2</span>' in page  # missing frames
        assert "idle 12%, jerk 1.23e+03, 1.5 x median duration, temperature over its limit in 3 frames" in page
        assert f"?session={session.pk}" in page and f"/sessions/{session.pk}/replay" in page


@pytest.mark.parametrize(
    "query, of_replay",
    [
        ("", ""),
        ("robot=arm&q=fold&trash=", "?robot=arm&search=fold"),
        ("search=blue&q=fold", "?search=blue+fold"),
        ("success=false&o=-4", "?success=false&ordering=longest"),  # columns 3 to 5: start, duration, task
        ("o=3.-4", "?ordering=oldest"),
        ("o=5", ""),
        ("o=99", ""),
        ("o=x", ""),
    ],
)
def test_it_links_the_replay_with_the_selection_of_the_list(staff_viewer, query, of_replay):
    session = labelled(task="fold blue", success=False)
    link = f'href="/sessions/{session.pk}/replay{of_replay}"'.replace("&", "&amp;")
    assert link in shown(staff_viewer.get(f"{LIST}?{query}"))
    assert link in shown(staff_viewer.get(page_of(session), {"_changelist_filters": query}))


def test_it_links_the_replay_with_the_order_of_a_list_with_actions(staff_curator):
    session = labelled()
    for page in (
        staff_curator.get(f"{LIST}?o=-5"),
        staff_curator.get(page_of(session), {"_changelist_filters": "o=-5"}),
    ):
        assert f'href="/sessions/{session.pk}/replay?ordering=longest"' in shown(page)


def test_the_replay_stays_in_the_list_of_the_admin(staff_viewer):
    sessions = [labelled(f"session-{number}", task=task) for number, task in enumerate(["Fold", "Sew", "fold it"])]
    for session in sessions:
        TeleopSession.objects.filter(pk=session.pk).update(start_time=T0 + timedelta(days=session.pk))
    page = shown(staff_viewer.get(f"{LIST}?q=fold"))
    path = f"/sessions/{sessions[0].pk}/replay?search=fold"
    assert f'href="{path}"' in page
    replay = shown(staff_viewer.get(path))
    assert ">2 of 2<" in replay and f'rel="prev" href="/sessions/{sessions[2].pk}/replay?search=fold"' in replay


def test_a_live_session_links_to_the_live_page_of_its_robot(staff_viewer):
    session = make_session(range(3), is_live=True)
    for page in (shown(staff_viewer.get(LIST)), shown(staff_viewer.get(page_of(session)))):
        assert "status-live" in page and 'href="/robots/arm/live"' in page


ODD = [
    {"task": ["a", 1], "success": "maybe", "tags": "x", "operator": [SCRIPT], "note": {"deep": SCRIPT}},
    {"task": SCRIPT, "success": SCRIPT, "tags": [SCRIPT, 5], "operator": SCRIPT, "note": SCRIPT},
    {"task": 2**70, "success": 1, "tags": {}, "note": False},
    {},
    None,
    [1],
    "text",
]


@pytest.mark.once
@pytest.mark.parametrize("meta", ODD)
def test_it_escapes_text_from_a_robot(staff_viewer, staff_curator, meta):
    Robot.objects.create(pk="arm", name=SCRIPT)
    session = labelled()
    TeleopSession.objects.filter(pk=session.pk).update(meta_info=meta)
    for client in (staff_viewer, staff_curator):
        for path in (LIST, page_of(session), f"{LIST}?q=x"):
            assert SCRIPT not in shown(client.get(path))


@pytest.mark.parametrize(
    "query, keys",
    [
        ("robot=leg", "late"),
        ("live=true", "live"),
        ("task=Fold", "early"),
        ("success=false", "late"),
        ("tag=towel", "early"),
        ("operator=ada", "early"),
        ("camera=front", "late"),
        ("min_duration=60&max_duration=60", "late"),
        ("max_duration=59", "early"),
        ("from=2023-12-23T10:00:00Z&live=false", "late"),
        ("q=leg", "late"),
        ("q=fold", "early"),
        ("q=towel", "early"),
        ("q=ada", "early"),
        ("q=scratch", "late"),
        ("robot=&live=&task=Fold", "early"),
        ("success=true&o=-4&q=arm", "early"),
        ("robot=nobody", ""),
    ],
)
def test_it_finds_sessions(staff_viewer, query, keys):
    early = {"task": "Fold", "success": True, "tags": ["towel", "b"], "operator": "ada"}
    make_session(key="early")
    late = make_session(robot="leg", start=T0 + timedelta(hours=5), key="late")
    make_session(key="live", start=T0 - timedelta(days=1), is_live=True)
    TeleopSession.objects.filter(key="early").update(meta_info=early)
    later = late.start_time + timedelta(seconds=60)
    TeleopSession.objects.filter(key="late").update(meta_info={"success": False, "note": "A scratch"}, end_time=later)
    add_video(late, "front")
    assert found(staff_viewer, query) == keys.split()


@pytest.mark.parametrize("column", range(1, 14))
def test_it_sorts_by_every_sortable_column(staff_viewer, column):
    labelled(task=["odd"], success="maybe")
    make_session(is_live=True, key="other")
    for order in (column, -column):
        assert len(found(staff_viewer, f"o={order}")) == 2


@pytest.mark.parametrize(
    "query, says",
    [
        ("live=yes", "yes is not one of the available choices"),
        ("min_duration=nan", "Enter a number"),
        ("from=yesterday", "Enter a valid date/time"),
        ("from=2026-01-06&to=2026-01-05", "later than from"),
        ("task=%00", "Null characters"),
        ("robot=%3Cscript%3Ealert(1)%3C/script%3E&live=x", "x is not one"),
    ],
)
def test_an_invalid_filter_matches_nothing_and_shows_an_error(staff_viewer, query, says):
    make_session()
    page = shown(staff_viewer.get(f"{LIST}?{query}"))
    assert says in page and SCRIPT not in page and "0 teleop sessions" in page


def test_search_keeps_the_filters_and_filters_keep_the_search(staff_viewer):
    page = shown(staff_viewer.get(f"{LIST}?q=fold&robot=arm&o=-1"))
    assert page.count('<input type="hidden" name="robot" value="arm">') == 1
    assert page.count('<input type="hidden" name="q" value="fold">') == 1


WORDS = ["mark_success", "mark_failure", "set_task", 'value="end"', "delete_selected", "_save", "deletelink", "addlink"]


def test_a_viewer_sees_no_edit_controls_and_is_refused(staff_viewer):
    session = labelled()
    page = shown(staff_viewer.get(LIST)) + shown(staff_viewer.get(page_of(session)))
    assert [word for word in WORDS if word in page] == []
    assert staff_viewer.post(page_of(session), SEEN | {"task": "x"}).status_code == 403
    assert staff_viewer.post(f"{LIST}{session.pk}/delete/", {"post": "yes"}).status_code == 403
    for action in ("mark_success", "set_task", "end", "delete_selected"):
        act(staff_viewer, action, session, post="yes", apply="1", task="x")
    assert TeleopSession.objects.get().meta_info == {}


def test_a_curator_sees_edit_controls(staff_curator):
    page = shown(staff_curator.get(LIST)) + shown(staff_curator.get(page_of(labelled())))
    assert [word for word in WORDS if word not in page] == ["addlink"]


def test_staff_without_a_group_see_no_sessions(staff_outsider):
    session = labelled()
    for path in (LIST, page_of(session), f"{LIST}{session.pk}/delete/"):
        assert staff_outsider.get(path).status_code == 403


def test_it_returns_403_for_the_add_page(staff_admin):
    assert staff_admin.get(f"{LIST}add/").status_code == 403
