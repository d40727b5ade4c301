"""/sessions: finding, reading, labelling and deleting recordings over REST."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from robots.models import Robot
from teleop.api import views
from teleop.models import TeleopFrame, TeleopSession
from teleop.tests.recordings import record
from videos.models import VideoChunk

pytestmark = pytest.mark.django_db

T0 = datetime(2026, 1, 5, 8, tzinfo=UTC)
DATA = {"observation": {"shoulder_pan.pos": 1.5, "gripper.pos": 0, "note": "x"}, "action": {"joint_positions": [1, 2]}}


def make(key, robot="arm", start=T0, seconds=60, **fields):
    """Make an ended session; `seconds=None`: a live one."""
    end = None if seconds is None else start + timedelta(seconds=seconds)
    owner = Robot.objects.get_or_create(pk=robot)[0]
    return TeleopSession.objects.create(robot=owner, key=key, start_time=start, end_time=end, **fields)


def add_frames(session, *indexes, fps=10):
    record(session, indexes, lambda index: DATA, fps)


def add_video(session, camera, start=0.0):
    VideoChunk.objects.create(
        session=session,
        robot_id=session.robot_id,
        camera_key=camera,
        start_timestamp=start,
        end_timestamp=start + 1,
        size=1,
    )


@pytest.fixture
def recorded():
    session = make("recorded", seconds=1, frame_count=9)
    add_frames(session, 2, 3, 4, 6, 7, 8, 9, 10, 12)
    return session


def keys(client, query=""):
    answer = client.get(f"/sessions?{query}")
    assert answer.status_code == 200, answer.json()
    return [each["key"] for each in answer.json()["results"]]


def test_the_list_is_newest_first_and_stable(viewer):
    for number, start in enumerate([T0, T0 + timedelta(1), T0]):
        make(f"session-{number}", start=start)
    assert keys(viewer) == ["session-1", "session-2", "session-0"]
    assert keys(viewer, "limit=1&offset=1") == ["session-2"]


def test_the_list_shows_the_duration_of_ended_sessions(viewer):
    make("ended", seconds=90)
    make("live", seconds=None)
    shown = {each["key"]: (each["live"], each["duration_s"]) for each in viewer.get("/sessions").json()["results"]}
    assert shown == {"ended": (False, 90.0), "live": (True, None)}


def test_times_are_iso_8601_in_utc(viewer):
    make("ended")
    assert viewer.get("/sessions").json()["results"][0]["start_time"] == "2026-01-05T08:00:00Z"


@pytest.mark.parametrize(("path", "queries"), [("/sessions", 1), ("/sessions/review", 3)])
def test_a_list_needs_few_queries_and_three_for_authentication(viewer, django_assert_num_queries, path, queries):
    for number in range(20):
        add_video(make(f"session-{number}", robot=f"robot_{number}", meta_info={"task": f"Task {number}"}), "front")
    with django_assert_num_queries(queries + 3):  # the sessions; their videos, and the ranges of their tasks
        assert viewer.get(path).json()["count"] == 20


def test_the_detail_runs_four_queries_and_three_for_authentication(viewer, recorded, django_assert_num_queries):
    with django_assert_num_queries(7):
        viewer.get(f"/sessions/{recorded.pk}")


def test_it_shows_frame_counts_rate_and_joints(viewer, recorded):
    shown = viewer.get(f"/sessions/{recorded.pk}").json()
    assert (shown["frame_count"], shown["missing_frames"], shown["effective_fps"]) == (9, 2, 8.0)
    assert shown["joints"] == {
        "observation": ["shoulder_pan.pos", "gripper.pos"],
        "action": ["joint_positions.0", "joint_positions.1"],
    }


def test_it_shows_numbers_as_joints_if_no_name_tells_a_position(viewer):
    session = make("other-names")
    data = {"observation": {"left": {"pan": 1, "load": 2}, "mode": "hold", "held": True}, "action": {"pan": 0.5}}
    record(session, [0], lambda index: data)
    shown = viewer.get(f"/sessions/{session.pk}").json()
    assert shown["joints"] == {"observation": ["left.pan"], "action": ["pan"]}


def test_it_shows_each_camera_once(viewer, recorded):
    for camera, start in (("wrist", 0), ("front", 0), ("front", 1)):
        add_video(recorded, camera, start)
    assert viewer.get(f"/sessions/{recorded.pk}").json()["cameras"] == ["front", "wrist"]


def test_it_shows_a_session_without_frames(viewer):
    shown = viewer.get(f"/sessions/{make('empty', seconds=0).pk}").json()
    assert (shown["missing_frames"], shown["effective_fps"]) == (0, None)
    assert shown["joints"] == {"observation": [], "action": []}


def test_it_shows_no_duration_or_missing_frames_of_a_live_session(viewer):
    session = make("live", seconds=None, frame_count=1)
    add_frames(session, 0, 9)
    shown = viewer.get(f"/sessions/{session.pk}").json()
    assert (shown["duration_s"], shown["missing_frames"], shown["effective_fps"]) == (None, None, None)
    assert shown["joints"]["action"]


@pytest.mark.parametrize("pk", ["0", "99999999999999999", "x", "1.5", "-1", "1%00"])
def test_it_returns_404_for_an_invalid_or_unknown_session_id(viewer, pk):
    assert viewer.get(f"/sessions/{pk}").status_code == 404


def test_it_lists_sessions_with_deep_meta_or_large_integers(viewer):
    deep = {}
    for _ in range(252):
        deep = {"x": deep}
    make("deep", meta_info=deep)
    make("big", meta_info={"x": 2**64})
    assert sorted(keys(viewer)) == ["big", "deep"]


@pytest.mark.parametrize(
    "query, found",
    [
        ("robot=arm", "early"),
        ("robot=nobody", ""),
        ("live=true", "live"),
        ("live=false", "early late"),
        ("task=Fold", "early"),
        ("success=true", "early"),
        ("success=false", "late"),
        ("tag=towel", "early late"),
        ("operator=Eve+%C3%89", "late"),
        ("operator=eve", ""),
        ("tag=tow", ""),
        ("tag=%C3%A9%22%5C", "late"),
        ("min_duration=60", "early late"),
        ("min_duration=60.5", "late"),
        ("from=2026-01-05T08:01:00Z", "early late live"),
        ("from=2026-01-05T08:01:01Z", "late live"),
        ("to=2026-01-05T08:00:00Z", ""),
        ("to=2026-01-05T08:00:01%2B00:00", "early"),
        ("from=2026-01-05T09:30:00%2B01:00&to=2026-01-05T12:00:00", "late"),
        ("from=0001-01-01T00:00:00%2B14:00&to=9999-12-31T23:59:59-14:00", "early late live"),
        ("robot=leg&live=true&success=false", ""),
    ],
)
def test_it_finds_sessions(viewer, query, found):
    make("early", meta_info={"task": "Fold", "success": True, "tags": ["towel", "a"]})
    late = {"task": "Sort", "success": False, "operator": "Eve É", "tags": ["towel", 'é"\\']}
    make("late", "leg", start=T0 + timedelta(hours=1), seconds=3600, meta_info=late)
    make("live", "leg", start=T0 + timedelta(hours=5), seconds=None)
    assert sorted(keys(viewer, query)) == found.split()


def test_it_finds_sessions_changed_since_a_time(viewer):
    make("old", updated_at=T0)
    make("new", updated_at=T0 + timedelta(hours=1))
    assert keys(viewer, "updated_since=2026-01-05T09:00:00Z") == ["new"]


@pytest.mark.parametrize(
    "query, says",
    [
        ("robto=arm", "unknown parameter robto; robot, live, task"),
        ("live=", "live is empty"),
        ("updated_since=", "updated_since is empty"),
        ("live=yes", "yes is not one of the available choices"),
        ("success=1", "1 is not one of the available choices"),
        ("min_duration=-1", "greater than or equal to 0"),
        ("min_duration=1e400", "less than or equal to 1000000000"),
        ("min_duration=nan", "Enter a number"),
        ("from=yesterday", "Enter a valid date/time"),
        ("updated_since=0", "Enter a valid date/time"),
        ("task=%00", "Null characters are not allowed"),
        ("to=2026-01-05&from=2026-01-06", "to is 2026-01-05T00:00:00+00:00; later than from"),
        ("limit=1001", "limit is 1001; an integer between 1 and 1000 expected"),
        ("max_idle_share=1.1", "less than or equal to 1"),
        ("max_idle_share=-0.1", "greater than or equal to 0"),
        ("max_jerk=nan", "Enter a number"),
        ("max_jerk=1e400", "less than or equal to 1000000000000000"),
        ("max_fps_jitter=", "max_fps_jitter is empty"),
        ("max_missing_frames=-1", "greater than or equal to 0"),
        ("min_duration_ratio=much", "Enter a number"),
        ("min_jerk=1", "unknown parameter min_jerk"),
    ],
)
def test_it_refuses_an_invalid_parameter_and_names_it(viewer, query, says):
    answer = viewer.get(f"/sessions?{query}")
    name = query.partition("=")[0]
    assert (answer.status_code, list(answer.json())) == (400, [name])
    assert says in answer.json()[name][0]


def test_it_merges_labels_and_removes_null_keys(curator):
    session = make("labelled", meta_info={"site": "Ulm", "draft": 1})
    answer = curator.patch(f"/sessions/{session.pk}", {"meta_info": {"success": True, "draft": None}})
    session.refresh_from_db()
    assert session.meta_info == answer.json()["meta_info"] == {"site": "Ulm", "success": True}
    assert answer.json()["staff_labels"] == ["success"]


def test_it_returns_409_if_a_label_changed_since_it_was_seen(curator):
    session = make("labelled", meta_info={"task": "Fold"})
    path, seen = f"/sessions/{session.pk}", {"task": "Fold", "success": None}
    assert curator.patch(path, {"meta_info": {"success": True}, "seen": seen}).status_code == 200
    answer = curator.patch(path, {"meta_info": {"success": False}, "seen": seen})
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(f"session {session.pk}: someone else has changed success")
    session.refresh_from_db()
    assert session.meta_info == {"task": "Fold", "success": True}


def test_it_advances_updated_at_when_a_label_is_set(curator):
    session = make("labelled", updated_at=T0)
    answer = curator.patch(f"/sessions/{session.pk}", {"meta_info": {"tags": ["x"]}})
    session.refresh_from_db()
    assert session.updated_at > T0 + timedelta(1)
    assert datetime.fromisoformat(answer.json()["updated_at"]) == session.updated_at


def test_a_robot_does_not_overwrite_staff_labels(curator, arm):
    path = f"/sessions/{make('labelled').pk}"
    arm.patch(path, {"meta_info": {"success": True, "operator": "ada", "site": "Ulm"}})
    curator.patch(path, {"meta_info": {"success": False, "operator": "eve"}})
    arm.patch(path, {"meta_info": {"success": True, "operator": "bob", "site": "Bonn"}})
    assert curator.get(path).json()["meta_info"] == {"success": False, "operator": "eve", "site": "Bonn"}


@pytest.mark.parametrize(
    "body, says",
    [
        ({"meta_info": None}, "meta_info"),
        ({"meta_info": []}, "meta_info"),
        ({"meta_info": {}, "fps": 1}, "unknown field fps; meta_info, seen expected"),
        ({"meta_info": {"task": 5}}, "task"),
        ({"meta_info": {"success": "yes"}}, "'yes' is not a boolean; true or false expected"),
        ({"meta_info": {"tags": "towel"}}, "tags"),
        ({"meta_info": {"tags": [5]}}, "tags"),
        ({"meta_info": {"tags": ["x"] * 51}}, "51 values; at most 50 expected"),
        ({"meta_info": {"operator": 5}}, "operator"),
        ({"meta_info": {"operator": "x" * 151}}, "(151 characters); a text of 1 to 150 characters expected"),
        ({"meta_info": {"note": "x" * 10_001}}, "(10,001 characters); a text of 1 to 10,000 characters expected"),
        ({"meta_info": {"x": "y" * 65_536}}, "bytes as compact JSON; at most 65536 expected"),
    ],
)
def test_it_returns_400_for_an_invalid_label_and_changes_nothing(curator, body, says):
    session = make("labelled", meta_info={"task": "Fold"})
    answer = curator.patch(f"/sessions/{session.pk}", body)
    session.refresh_from_db()
    assert answer.status_code == 400 and says in str(answer.json())
    assert session.meta_info == {"task": "Fold"}


def test_it_sets_a_label_if_meta_has_integers_past_64_bits(curator):
    session = make("labelled", meta_info={"x": 2**70})
    answer = curator.patch(f"/sessions/{session.pk}", {"meta_info": {"success": True}})
    assert answer.json()["meta_info"] == {"x": 2**70, "success": True}


@pytest.mark.postgresql
def test_it_locks_the_row_while_setting_a_label(curator):
    path = f"/sessions/{make('labelled').pk}"
    with CaptureQueriesContext(connection) as queries:
        curator.patch(path, {"meta_info": {"success": True}})
    assert any("FOR NO KEY UPDATE" in query["sql"] for query in queries)


def test_it_returns_400_if_merged_meta_exceeds_its_bound(curator):
    path = f"/sessions/{make('labelled').pk}"
    statuses = [curator.patch(path, {"meta_info": {f"x{n}": "y" * 30_000}}).status_code for n in range(3)]
    assert statuses == [200, 200, 400]


def test_it_deletes_a_session_with_its_frames_and_videos(curator, recorded):
    add_video(recorded, "front")
    kept = make("kept")
    add_frames(kept, 0)
    assert curator.delete(f"/sessions/{recorded.pk}").status_code == 204
    assert (TeleopSession.objects.get(), TeleopFrame.objects.get().session) == (kept, kept)
    assert not VideoChunk.objects.exists()


def test_it_returns_409_for_deleting_a_live_session(curator):
    session = make("live", seconds=None)
    answer = curator.delete(f"/sessions/{session.pk}")
    assert (answer.status_code, answer.json()) == (409, {"detail": f"session {session.pk} is live; end it first"})
    assert TeleopSession.objects.exists()


def test_it_closes_the_connections_of_a_live_session_that_is_ended(curator, monkeypatch):
    asked = []
    monkeypatch.setattr(views, "close_connections", lambda code, **of: asked.append((code, of)))
    session = make("live", seconds=None)
    assert curator.post(f"/sessions/{session.pk}/end").status_code == 202
    assert asked == [(1000, {"session_id": session.pk})]


def test_it_returns_409_for_ending_an_ended_session(curator):
    answer = curator.post(f"/sessions/{make('ended').pk}/end")
    assert answer.status_code == 409 and "has already ended, at 2026-01-05T08:01:00+00:00" in answer.json()["detail"]


@pytest.mark.parametrize("method, path", [("post", "/sessions"), ("put", "/sessions/1"), ("delete", "/sessions")])
def test_it_returns_405_for_unsupported_methods(admin, method, path):
    assert getattr(admin, method)(path, {}).status_code == 405
