"""Events that robots reported, and their marks beside those of people."""

from datetime import UTC, datetime

import pytest

from teleop.models import TeleopEvent, TeleopSession
from teleop.tests.recordings import T0_S, make_session

pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def session() -> TeleopSession:
    return make_session([0, 600])


def report(session: TeleopSession, event_id: str, kind: str, after_s: float, detail) -> TeleopEvent:
    timestamp = datetime.fromtimestamp(T0_S + after_s, UTC)
    return TeleopEvent.objects.create(session=session, event_id=event_id, kind=kind, timestamp=timestamp, detail=detail)


def listed(client, session: TeleopSession, query: str = "") -> list[str]:
    return [event["event_id"] for event in client.get(f"/sessions/{session.pk}/events{query}").json()["results"]]


def test_it_lists_the_events_of_a_session_oldest_first(viewer, session):
    report(session, "b", "clock_step", 2.5, {"step_s": -7200.0, "applied": True})
    report(session, "a", "camera", 1, {"camera": "front", "fault": "frozen"})
    report(make_session(key="other"), "c", "mark", 0, {})
    answer = viewer.get(f"/sessions/{session.pk}/events").json()
    assert (answer["count"], [event["event_id"] for event in answer["results"]]) == (2, ["a", "b"])
    step = answer["results"][1]
    assert (step["kind"], step["timestamp"]) == ("clock_step", T0_S + 2.5)
    assert step["detail"] == {"step_s": -7200.0, "applied": True}
    assert step["created_at"].endswith("Z")


@pytest.mark.parametrize("query, found", [("?kind=mark", ["a"]), ("?kind=restart", []), ("", ["a", "b"])])
def test_it_filters_events_by_kind(viewer, session, query, found):
    report(session, "a", "mark", 1, {"note": "slip"})
    report(session, "b", "camera", 2, {"camera": "front", "fault": "slow"})
    assert listed(viewer, session, query) == found


def test_it_pages_through_1000_events_by_offset_and_by_id(viewer, session):
    timestamp = datetime.fromtimestamp(T0_S, UTC)
    TeleopEvent.objects.bulk_create(
        TeleopEvent(session=session, event_id=str(number), kind="camera", timestamp=timestamp) for number in range(1000)
    )
    everything = [str(number) for number in range(1000)]
    assert listed(viewer, session, "?limit=1000") == everything
    assert listed(viewer, session, "?limit=1&offset=999") == ["999"]
    assert listed(viewer, session, f"?after_id={TeleopEvent.objects.get(event_id='997').pk}") == ["998", "999"]


@pytest.mark.parametrize("query, says", [("kind=lost", "lost"), ("kinds=mark", "unknown parameter kinds; kind, limit")])
def test_it_returns_400_for_an_invalid_query_of_events(viewer, session, query, says):
    answer = viewer.get(f"/sessions/{session.pk}/events?{query}")
    assert answer.status_code == 400 and says in str(answer.json())


@pytest.mark.parametrize("pk", ["4711", "9" * 18])
def test_it_returns_404_for_events_and_marks_of_an_unknown_session(viewer, pk):
    assert [viewer.get(f"/sessions/{pk}/{name}").status_code for name in ("events", "marks")] == [404, 404]


@pytest.mark.parametrize("detail", [True, 1.5, "text", [1, {"deep": [SCRIPT]}], {}, {"step_s": SCRIPT}])
def test_it_returns_a_detail_of_any_type_as_the_robot_sent_it(viewer, session, detail):
    for kind in TeleopEvent.Kind.values:
        report(session, kind, kind, 1, detail)
    answer = viewer.get(f"/sessions/{session.pk}/events")
    assert [event["detail"] for event in answer.json()["results"]] == [detail] * 4
    assert viewer.get(f"/sessions/{session.pk}/marks").status_code == 200


def test_the_session_counts_skipped_frames_and_dropped_events(viewer, session):
    TeleopSession.objects.filter(pk=session.pk).update(skipped_frames=590, events_dropped=3, frame_count=2)
    answer = viewer.get(f"/sessions/{session.pk}").json()
    assert (answer["skipped_frames"], answer["events_dropped"], answer["missing_frames"]) == (590, 3, 9)


def test_it_returns_marks_of_the_robot_and_of_people_by_time(curator, viewer, session):
    report(session, "e-1", "mark", 2, {"note": "cube lifted"})
    report(session, "e-2", "camera", 1.5, {"camera": "front", "fault": "frozen"})
    path = f"/sessions/{session.pk}/marks"
    curator.post(path, {"timestamp": T0_S + 3})
    answer = curator.post(path, {"timestamp": T0_S + 1, "note": "slips"})
    assert answer.json() == [
        {"timestamp": T0_S + 1, "note": "slips", "kind": None, "by": "curator"},
        {"timestamp": T0_S + 2, "note": "cube lifted", "kind": None, "by": "arm", "event": "e-1"},
        {"timestamp": T0_S + 3, "note": "", "kind": None, "by": "curator"},
    ]
    assert viewer.get(path).json() == answer.json()


@pytest.mark.parametrize(
    "detail, note",
    [
        ({}, ""),
        ({"note": SCRIPT}, SCRIPT),
        ({"note": None}, "null"),
        ({"note": ["ü", 1]}, '["ü", 1]'),
        ({"note": "x" * 900}, "x" * 500),
        ("text", "text"),
        ([7], "[7]"),
    ],
)
def test_the_note_of_a_robots_mark_is_always_text(viewer, session, detail, note):
    report(session, "e-1", "mark", 2, detail)
    assert viewer.get(f"/sessions/{session.pk}/marks").json()[0]["note"] == note


def test_people_cannot_remove_a_mark_of_the_robot(curator, session):
    report(session, "e-1", "mark", 2, {"note": "cube lifted"})
    path = f"/sessions/{session.pk}/marks"
    moment = f"{path}/{T0_S + 2}"
    answer = curator.delete(moment)
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        f"session {session.pk} has no mark of a person at {T0_S + 2}",
    )
    curator.post(path, {"timestamp": T0_S + 2, "note": "mine"})
    assert [mark["by"] for mark in curator.delete(moment).json()] == ["arm"]
