"""Manifests: frozen selections that make the same export again."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from datasets.manifest import Manifest, check_unchanged, code_version, freeze, split
from datasets.options import Options
from datasets.tests.entries import entry_of, session_of
from datasets.types import FilmEntry, Refused
from teleop.models import TeleopSession
from videos.models import VideoChunk

pytestmark = pytest.mark.django_db

META = {
    "task": "Fold the towel",
    "success": False,
    "tags": ["night", "towel"],
    "operator": "ada",
    "note": "slow",
    "units": "degrees",
    "joint_names": ["pan", "lift"],
    "marks": [{"timestamp": 5.5, "kind": "trim_start"}, {"timestamp": 6.5, "note": "x", "by": "ada"}],
}
FRAME = {"action": [1]}


def recorded(count: int = 1, **fields: Any) -> list[TeleopSession]:
    return [session_of([FRAME, FRAME], **fields) for _ in range(count)]


def film(session: TeleopSession, camera="front", start=0.0) -> VideoChunk:
    return VideoChunk.objects.create(
        session=session,
        robot_id=session.robot_id,
        camera_key=camera,
        start_timestamp=start,
        end_timestamp=start + 1,
        size=1,
        sha256="f" * 64,
    )


def test_an_entry_has_the_labels_of_its_session():
    (session,) = recorded(meta_info=META, quality={"jerk": 2, "idle_share": None, "clock_steps": []})
    entry = entry_of(session)
    assert (entry.task, entry.success, entry.operator, entry.note) == ("Fold the towel", False, "ada", "slow")
    assert (entry.tags, entry.units, entry.joint_names) == (("night", "towel"), "degrees", ("pan", "lift"))
    assert entry.marks == (
        {"timestamp": 5.5, "kind": "trim_start", "note": None, "by": None},
        {"timestamp": 6.5, "kind": None, "note": "x", "by": "ada"},
    )
    assert entry.quality == {"jerk": 2.0}
    assert (entry.start_time, entry.end_time) == (
        "2026-01-05T08:00:00.000000+00:00",
        "2026-01-05T08:00:00.033333+00:00",
    )
    assert (entry.robot, entry.robot_type, entry.fps, entry.frame_count) == ("arm", "so_follower", 30, 2)


@pytest.mark.parametrize(
    "meta_info",
    [None, [], {}, {"task": 3, "success": "yes", "tags": "x", "operator": [], "joint_names": 2, "note": {}}],
)
def test_labels_of_wrong_types_are_left_out(meta_info):
    entry = entry_of(*recorded(meta_info=meta_info))
    assert (entry.task, entry.success, entry.tags, entry.operator) == (None, None, (), None)
    assert (entry.note, entry.units, entry.joint_names) == (None, None, ())


def test_units_that_are_no_text_become_json():
    entry = entry_of(*recorded(meta_info={"units": {"b": "rad", "a": "deg"}}))
    assert entry.units == '{"a":"deg","b":"rad"}'


def test_a_manifest_is_the_same_after_json():
    (session,) = recorded(meta_info=META)
    film(session)
    manifest = freeze("towels-1", [session], Options(fps=15, trim=("idle",)))
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest
    assert manifest.sessions[0].films[0].camera == "front" and manifest.code_version == code_version()


@pytest.mark.parametrize(
    "change",
    [
        {"manifest_format": 2},
        {"manifest_format": None},
        {"options": {"fps": 0}},
        {"options": {"speed": 1}},
        {"sessions": [{}]},
        {"sessions": None},
        {"sessions": [1]},
    ],
)
def test_it_refuses_a_manifest_that_cannot_be_used(change: dict):
    given = freeze("towels", recorded(), Options()).to_json() | change
    with pytest.raises(Refused, match="manifest"):
        Manifest.from_json(given)


def test_it_refuses_what_is_no_object():
    with pytest.raises(Refused, match="manifest"):
        Manifest.from_json([])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "ä", "a" * 101, "a\n"])
def test_it_refuses_a_name_that_is_no_name_of_a_folder(name: str):
    with pytest.raises(Refused, match="name is"):
        freeze(name, [], Options())


def test_it_refuses_to_freeze_nothing():
    with pytest.raises(Refused, match="no sessions are selected"):
        freeze("none", [], Options())


@pytest.mark.parametrize(("fields", "reason"), [({"end_time": None}, "is live"), ({"frame_count": 0}, "no frames")])
def test_it_refuses_a_session_that_cannot_be_exported(fields: dict, reason: str):
    (session,) = recorded()
    TeleopSession.objects.update(**fields)
    with pytest.raises(Refused, match=rf"session {session.pk} \(arm\) .*{reason}"):
        freeze("x", TeleopSession.objects.all(), Options())


def test_sessions_are_in_the_order_of_their_start():
    late, early = (recorded(start_time=session_start)[0] for session_start in _starts(2, 1))
    assert [entry.session_id for entry in freeze("x", [late, early], Options()).sessions] == [early.pk, late.pk]


def _starts(*hours: int):
    from datasets.tests.entries import BEGIN

    return [BEGIN - timedelta(hours=24 - hour) for hour in hours]


def test_the_validation_sessions_are_last_and_depend_on_the_name():
    sessions = recorded(20)
    entries = freeze("x", sessions, Options(validation=0.2)).sessions
    assert [entry.is_validation for entry in entries] == [False] * 16 + [True] * 4
    assert freeze("x", reversed(sessions), Options(validation=0.2)).sessions == entries
    assert freeze("y", sessions, Options(validation=0.2)).sessions != entries


@pytest.mark.parametrize(("count", "share", "expected"), [(1, 0.5, 0), (2, 0.01, 1), (3, 0.9, 2), (5, 0.0, 0)])
def test_there_are_always_training_sessions(count: int, share: float, expected: int):
    entries = freeze("x", recorded(count), Options(validation=share)).sessions
    assert sum(entry.is_validation for entry in entries) == expected


def test_each_robot_has_validation_sessions_if_it_gets_its_own_dataset():
    sessions = [*recorded(10), *recorded(2, robot="leg")]
    parts = split(freeze("x", sessions, Options(validation=0.2, split_by="robot")))
    assert {robot: [entry.is_validation for entry in part.sessions].count(True) for robot, part in parts.items()} == {
        "arm": 2,
        "leg": 1,
    }


def test_it_splits_a_manifest_by_robot():
    manifest = freeze("x", [*recorded(2, robot="leg"), *recorded(1)], Options(split_by="robot", fps=15))
    parts = split(manifest)
    assert list(parts) == ["arm", "leg"]
    assert parts["leg"].name == "x-leg" and parts["leg"].options == Options(fps=15)
    assert [entry.robot for entry in parts["leg"].sessions] == ["leg", "leg"]


def test_it_freezes_the_films_of_the_chosen_cameras():
    (session,) = recorded()
    for camera, start in (("wrist", 0), ("observation.images.front", 5), ("observation.images.front", 2)):
        film(session, camera, start)
    entry = entry_of(session, cameras=("front",))
    assert [(each.camera, each.start_timestamp) for each in entry.films] == [
        ("observation.images.front", 2),
        ("observation.images.front", 5),
    ]
    assert entry_of(session, cameras=()).films == ()
    assert len(entry_of(session).films) == 3


def test_it_refuses_an_unknown_camera_and_names_the_known_ones():
    (session,) = recorded()
    film(session, "wrist")
    with pytest.raises(Refused, match="no session has a film of camera top; cameras of these sessions: wrist"):
        entry_of(session, cameras=("top", "wrist"))


def test_it_freezes_many_sessions_with_few_queries(django_assert_max_num_queries):
    recorded(10)
    with django_assert_max_num_queries(2):
        freeze("x", TeleopSession.objects.select_related("robot"), Options())


def test_a_relabelled_session_is_unchanged():
    (session,) = recorded(meta_info=META)
    entry = entry_of(session)
    film(session)  # uploaded later
    TeleopSession.objects.update(meta_info={"task": "other"}, quality={"jerk": 1})
    check_unchanged(entry)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"end_time": None}, "was resumed since it was selected, and is live"),
        ({"frame_count": 3}, "was resumed since it was selected: it has 3 frames"),
        ({"fps": 60}, "2 frames at 60 fps"),
        ({"key": "other"}, "was deleted since it was selected"),
    ],
)
def test_it_refuses_a_session_that_was_resumed(fields: dict, reason: str):
    entry = entry_of(*recorded())
    TeleopSession.objects.update(**fields)
    with pytest.raises(Refused, match=rf"session {entry.session_id} \(arm, 2026-01-05 08:00:00 UTC\).*{reason}"):
        check_unchanged(entry)


def test_it_refuses_a_session_that_ends_at_another_time():
    entry = entry_of(*recorded())
    TeleopSession.objects.update(end_time=TeleopSession.objects.get().end_time + timedelta(microseconds=1))
    with pytest.raises(Refused, match="was resumed"):
        check_unchanged(entry)


def test_it_refuses_a_session_that_was_deleted():
    (session,) = recorded()
    entry = entry_of(session)
    session.delete()
    with pytest.raises(Refused, match=rf"session {entry.session_id} .*was deleted"):
        check_unchanged(entry)


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_it_refuses_a_session_that_lost_a_film(change: str):
    (session,) = recorded()
    chunk = film(session)
    entry = entry_of(session)
    if change == "deleted":
        VideoChunk.objects.all()._raw_delete("default")
    else:
        VideoChunk.objects.update(sha256="0" * 64)
    with pytest.raises(Refused, match=f"session {session.pk} .*: video {chunk.pk} of camera front was deleted"):
        check_unchanged(entry)


def test_an_entry_names_its_film_as_a_tuple():
    (session,) = recorded()
    chunk = film(session)
    assert entry_of(session).films == (FilmEntry(chunk.pk, "front", "f" * 64, 0.0),)
    assert replace(entry_of(session), films=()) != entry_of(session)


def test_events_that_came_later_change_an_mcap_only():
    (session,) = recorded()
    mcap, lerobot = entry_of(session, format="mcap"), entry_of(session)
    session.events.create(event_id="late", kind="mark", timestamp=session.start_time)
    check_unchanged(lerobot)
    with pytest.raises(Refused, match="has 1 events of its robot, and had 0"):
        check_unchanged(mcap)


def test_the_names_of_parts_are_checked_too():
    (session,) = recorded()
    with pytest.raises(Refused, match="1 to 100 letters"):
        freeze("n" * 99, [session], Options(split_by="robot"))
