"""Moments of a session that people mark."""

import threading

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection

from robots.models import AuditEntry
from robots.tests.api_clients import person
from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session
from teleop.tests.session_leases import beats, opens

pytestmark = pytest.mark.django_db


@pytest.fixture
def session() -> TeleopSession:
    return make_session([0, 600])


def marks_of(session: TeleopSession) -> list[dict]:
    session.refresh_from_db()
    return session.marks


def test_it_stores_a_mark_in_meta_info(curator, session):
    answer = curator.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S + 1.5, "note": "the gripper slips"})
    assert answer.status_code == 201
    mark = {"timestamp": T0_S + 1.5, "note": "the gripper slips", "by": "curator"}
    assert answer.json() == [mark | {"kind": None}]
    assert curator.get(f"/sessions/{session.pk}").json()["meta_info"] == {"marks": [mark]}


def test_it_returns_marks_sorted_by_time(curator, session):
    for seconds in (3, 1, 2):
        answer = curator.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S + seconds})
    assert [mark["timestamp"] - T0_S for mark in answer.json()] == [1, 2, 3]
    assert answer.json() == [mark | {"kind": None} for mark in marks_of(session)]


def test_it_advances_updated_at_when_a_mark_is_added(curator, session):
    before = session.updated_at
    curator.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S})
    session.refresh_from_db()
    assert session.updated_at > before


def test_it_deletes_a_mark_by_its_timestamp(curator, session):
    path = f"/sessions/{session.pk}/marks"
    for timestamp in (T0_S, T0_S + 1.5):
        curator.post(path, {"timestamp": timestamp})
    answer = curator.delete(f"{path}/{T0_S + 1.5}")
    assert (answer.status_code, [mark["timestamp"] for mark in answer.json()]) == (200, [T0_S])
    assert curator.delete(f"{path}/{T0_S + 1.5}").status_code == 404
    assert len(marks_of(session)) == 1


@pytest.mark.parametrize(
    "body, field, says",
    [
        ({}, "timestamp", "required"),
        ({"timestamp": 5}, "timestamp", "timestamp is 5; unix seconds between 2000 and 2100 expected"),
        ({"timestamp": 1e18}, "timestamp", "timestamp is 1e+18; unix seconds"),
        ({"timestamp": str(T0_S)}, "timestamp", "unix seconds between 2000 and 2100 expected"),
        ({"timestamp": True}, "timestamp", "timestamp is True"),
        ({"timestamp": None}, "timestamp", "null"),
        ({"timestamp": T0_S, "note": "x" * 501}, "note", "501 characters; at most 500 expected"),
        ({"timestamp": T0_S, "note": 5}, "note", "string"),
        ({"timestamp": T0_S, "colour": "red"}, "colour", "unknown field colour; timestamp, note, kind expected"),
        ({"timestamp": T0_S, "kind": "trim"}, "kind", "not a valid choice"),
    ],
)
def test_it_returns_400_for_an_invalid_mark(curator, session, body, field, says):
    answer = curator.post(f"/sessions/{session.pk}/marks", body)
    assert answer.status_code == 400 and says in answer.json()[field][0]
    assert marks_of(session) == []


def test_it_requires_change_permission_to_add_or_delete_marks(session, anonymous, outsider, viewer, arm):
    path = f"/sessions/{session.pk}/marks"
    statuses = [who.post(path, {"timestamp": T0_S}).status_code for who in (anonymous, outsider, viewer, arm)]
    assert statuses == [401, 403, 403, 403]
    assert [who.delete(f"{path}/{T0_S}").status_code for who in (anonymous, outsider, viewer, arm)] == statuses


def test_change_permission_suffices_to_delete_a_mark(session):
    changer = person("changer")
    User.objects.get(username="changer").user_permissions.add(Permission.objects.get(codename="change_teleopsession"))
    changer.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S})
    assert changer.delete(f"/sessions/{session.pk}/marks/{T0_S}").status_code == 200


def test_it_returns_409_past_1000_marks(curator, session):
    marks = [{"timestamp": T0_S, "note": "", "by": "a"}] * 1000
    TeleopSession.objects.update(meta_info={"marks": marks})
    answer = curator.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S})
    assert (answer.status_code, len(marks_of(session))) == (409, 1000)
    assert answer.json()["detail"] == f"session {session.pk} has 1000 marks, the maximum; remove one first"


def test_it_returns_400_if_a_mark_makes_meta_info_exceed_64_kib(curator, session):
    TeleopSession.objects.update(meta_info={"log": "x" * 65_000})
    answer = curator.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S, "note": "y" * 500})
    assert answer.status_code == 400 and "at most 65536 expected" in answer.json()["meta_info"][0]
    assert marks_of(session) == []


def trim(client, session, **seconds: float) -> list[tuple[str, float]]:
    """Set trim_start and trim_end, in the order given; return the kinds and the times of all marks."""
    for kind, second in seconds.items():
        answer = client.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S + second, "kind": kind})
        assert answer.status_code == 201, answer.json()
    return [(mark.get("kind"), mark["timestamp"] - T0_S) for mark in marks_of(session)]


def test_it_keeps_one_pair_of_trims_beside_other_marks(curator, session):
    path = f"/sessions/{session.pk}/marks"
    curator.post(path, {"timestamp": T0_S + 2, "kind": None})
    assert trim(curator, session, trim_end=8, trim_start=1) == [("trim_start", 1), (None, 2), ("trim_end", 8)]
    assert trim(curator, session, trim_start=3, trim_end=6) == [(None, 2), ("trim_start", 3), ("trim_end", 6)]
    curator.delete(f"{path}/{T0_S + 3}")
    assert [mark.get("kind") for mark in curator.get(path).json()] == [None, "trim_end"]


@pytest.mark.parametrize("kind, second", [("trim_start", 8), ("trim_start", 9), ("trim_end", 1), ("trim_end", 0)])
def test_it_returns_400_if_trim_start_is_not_before_trim_end(curator, session, kind, second):
    before = trim(curator, session, trim_start=1, trim_end=8)
    answer = curator.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S + second, "kind": kind})
    assert answer.status_code == 400 and "trim_start before trim_end expected" in answer.json()["timestamp"][0]
    assert trim(curator, session) == before


def test_moving_a_trim_is_one_change_in_the_audit_log(curator, session):
    trim(curator, session, trim_start=1)
    trim(curator, session, trim_start=2)
    (removed, added) = AuditEntry.objects.latest("pk").changes["meta_info.marks"]
    assert [[mark["timestamp"] - T0_S for mark in marks] for marks in (removed, added)] == [[1], [2]]


def test_a_session_with_1000_marks_can_still_move_its_trims(curator, session):
    trim(curator, session, trim_start=1)
    session.set_marks(session.marks + [{"timestamp": T0_S, "note": "", "by": "a"}] * 999)
    session.save_meta()
    assert ("trim_start", 2) in trim(curator, session, trim_start=2)


@pytest.mark.parametrize("value", [None, [], "none"])
def test_a_robots_meta_info_does_not_change_marks(curator, value, settings):
    settings.ROBOT_AUTH = "open"
    opened = opens()
    curator.post(f"/sessions/{opened.session_id}/marks", {"timestamp": T0_S})
    beats(opened, meta_info={"marks": value, "operator": "ada"})
    kept = TeleopSession.objects.get().meta_info
    assert (len(kept["marks"]), kept["operator"]) == (1, "ada")


def test_it_returns_400_for_a_patch_of_marks(curator, arm, session):
    curator.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S})
    for who in (curator, arm):
        answer = who.patch(f"/sessions/{session.pk}", {"meta_info": {"marks": None}})
        assert answer.status_code == 400 and "use POST /sessions/{id}/marks" in str(answer.json())
    assert len(marks_of(session)) == 1


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_it_stores_both_of_two_concurrent_marks(curator, session):
    together, answers = threading.Barrier(2), []

    def mark(timestamp: float) -> None:
        try:
            together.wait(5)
            answers.append(curator.post(f"/sessions/{session.pk}/marks", {"timestamp": timestamp}))
        finally:
            connection.close()

    for turn in range(10):
        both = [threading.Thread(target=mark, args=[T0_S + turn + half]) for half in (0, 0.5)]
        for each in both:
            each.start()
        for each in both:
            each.join(10)
    assert [answer.content for answer in answers if answer.status_code != 201] == []
    assert len(marks_of(session)) == 20
