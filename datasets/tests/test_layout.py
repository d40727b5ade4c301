"""What a session consists of, and how sessions differ."""

from dataclasses import replace

import numpy as np
import pytest

from datasets.options import Options
from datasets.recording.features import left_out
from datasets.recording.frames import read
from datasets.recording.layout import (
    check_layout,
    check_same_layout,
    differences,
    layout_of,
    sample_of,
)
from datasets.recording.names import name_of
from datasets.recording.rates import common_fps
from datasets.tests.entries import entry, entry_of, session_of
from datasets.types import CameraFeature, Feature, Layout, Recording, Refused

FRONT = CameraFeature("observation.images.front", 480, 640)
ENTRY = entry()
DEFAULTS = Options()
OTHER = replace(ENTRY, session_id=18, robot="leg")


def recording_of(**given) -> Recording:
    """Return four frames; the names have `__` in place of dots."""
    columns = {}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value] * 4
        columns[name.replace("__", ".")] = np.array(values, float if type(values[0]) is float else object)
    return Recording(17, np.arange(4), np.arange(4) * 33_333, columns)


def features(session=ENTRY, options=DEFAULTS, **given) -> dict[str, Feature]:
    return {feature.key: feature for feature in layout_of(recording_of(**given), [], session, options).features}


def test_numbers_are_the_state_and_the_action():
    found = features(observation__b__pos=1.0, observation__a__vel=1.0, action__b__pos=2.0)
    state, action = found["observation.state"], found["action"]
    assert state.names == ("b.pos", "a.vel") and state.columns == ("observation.b.pos", "observation.a.vel")
    assert action.names == ("b.pos",) and action.dtype == "float32"
    assert list(found) == ["observation.state", "action"]


def test_each_bool_and_each_text_is_a_feature():
    found = features(observation__a=1.0, observation__closed=True, action__mode="grasp")
    assert found["observation.closed"] == Feature("observation.closed", "bool", None, ("observation.closed",))
    assert found["action.mode"] == Feature("action.mode", "string", None, ("action.mode",))


def test_values_of_motors_are_no_state():
    given = {"observation__pan__pos": 1.0, "observation__pan__temperature": 30.0, "observation__pan__Present_Load": 5.0}
    assert features(**given)["observation.state"].names == ("pan.pos",)
    (warning,) = left_out(recording_of(**given), ENTRY, Options())
    assert "observation.pan.temperature, observation.pan.Present_Load left out: reported by motors" in warning


def test_it_warns_of_values_outside_observation_and_action():
    (warning,) = left_out(recording_of(observation__a=1.0, reward=1.0), ENTRY, Options())
    assert warning == "session 17 (arm, 2026-01-05 08:00:00 UTC): reward left out: not in observation or action"


def test_a_list_has_the_names_that_the_robot_gave():
    named = replace(ENTRY, joint_names=("pan", "lift"))
    given = {"observation__joint_positions__0": 1.0, "observation__joint_positions__1": 1.0, "action__0": 1.0}
    found = features(named, **given)
    assert found["observation.state"].names == ("pan", "lift")
    assert found["action"].names == ("0",)
    assert features(**given)["observation.state"].names == ("joint_positions.0", "joint_positions.1")


def test_equal_names_of_joints_are_not_used():
    named = replace(ENTRY, joint_names=("pan", "pan"))
    assert features(named, action__0=1.0, action__1=1.0)["action"].names == ("0", "1")


def test_a_text_that_has_the_key_of_the_state_gets_another_key():
    found = features(observation__state="idle", observation__a=1.0)
    assert found["observation.state_string"].columns == ("observation.state",)
    assert found["observation.state"].names == ("a",)


def test_a_text_that_has_the_key_of_a_camera_gets_another_key():
    recording = recording_of(observation__images__front="front.png")
    assert layout_of(recording, [FRONT], ENTRY, Options()).features[0].key == "observation.images.front_string"


def test_a_key_has_no_slash():
    assert list(features(**{"observation__tool/state": "open"})) == ["observation.tool.state"]


def test_one_joint_without_a_name_is_a_vector_of_one():
    assert features(action=0.5)["action"] == Feature("action", "float32", ("action",), ("action",))


def test_a_column_with_fewer_values_than_max_gap_needs_is_left_out():
    rare = {"observation__a": 1.0, "observation__event": ["start", None, None, None]}
    slow = replace(ENTRY, fps=10)
    assert list(features(slow, **rare)) == ["observation.state"]  # one of 4 frames, where 1 of 2.5 is needed
    assert "event left out: too few values for max_gap (0.25 s)" in left_out(recording_of(**rare), slow, Options())[0]
    assert "observation.event" in features(slow, Options(max_gap_s=0.5), **rare)


def test_it_refuses_frames_without_a_value():
    with pytest.raises(Refused, match=r"session 17 \(arm, .*no value in observation or action"):
        features(reward=1.0)


def layout(*names: str, cameras=(FRONT,), robot_type="so_follower", units=None, dtype="float32") -> Layout:
    columns = tuple(f"observation.{name}" for name in names)
    return Layout((Feature("observation.state", dtype, names, columns),), cameras, robot_type, units)


def test_equal_layouts_have_no_differences_in_any_order_of_joints():
    assert differences(layout("a", "b"), layout("b", "a"), ENTRY, OTHER) == []


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (layout("a"), "HERE has no value observation.b, which THERE has"),
        (layout("a", "b", "c"), "HERE has the value observation.c, which THERE lacks"),
        (layout("a", "b", cameras=()), "HERE has no camera observation.images.front, which THERE has"),
        (
            layout("a", "b", cameras=(CameraFeature(FRONT.key, 48, 64),)),
            "observation.images.front is 64 x 48 in HERE, but 640 x 480 in THERE",
        ),
        (layout("a", "b", units="degrees"), "units is degrees in HERE, but not given in THERE"),
        (layout("a", "b", robot_type="koch"), "robot_type is koch in HERE, but so_follower in THERE"),
    ],
)
def test_a_difference_is_a_sentence_with_both_sessions(other: Layout, sentence: str):
    here, there = (f"session {pk} ({robot}, 2026-01-05 08:00:00 UTC)" for pk, robot in ((18, "leg"), (17, "arm")))
    expected = sentence.replace("THERE", there).replace("HERE", here)
    assert differences(layout("a", "b"), other, ENTRY, OTHER) == [expected]


def test_a_difference_of_types_names_both():
    number = layout("a")
    other = number._replace(features=(Feature("observation.a", "bool", None, ("observation.a",)),))
    assert "observation.a is bool in session 18" in differences(number, other, ENTRY, OTHER)[0]


@pytest.mark.parametrize(("asked", "rates", "expected"), [(None, [30, 30], 30), (15, [30, 60], 15), (30, [30, 60], 30)])
def test_the_rate_of_a_dataset(asked, rates, expected: int):
    assert common_fps([replace(ENTRY, fps=rate) for rate in rates], Options(fps=asked)) == expected


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [(None, "fps is 30 in session 17 .*, 60 in session 18 .*; one rate expected"), (31, "fps is 31; at most 30 exp")],
)
def test_it_refuses_sessions_of_other_rates(asked, sentence: str):
    with pytest.raises(Refused, match=sentence):
        common_fps([ENTRY, replace(OTHER, fps=60)], Options(fps=asked))


ARM = {"observation": {"a.pos": 1, "b.pos": 2}, "action": {"a.pos": 3}}


@pytest.mark.django_db
def test_it_finds_the_layout_of_all_sessions():
    entries = [entry_of(session_of([data] * 200)) for data in (ARM, {"observation": {"b.pos": 1, "a.pos": 1}} | ARM)]
    found, fps = check_same_layout(entries, Options())
    assert fps == 30 and found.robot_type == "so_follower"
    assert [feature.names for feature in found.features] == [("a.pos", "b.pos"), ("a.pos",)]


@pytest.mark.django_db
@pytest.mark.parametrize("data", [[ARM] * 150 + [{"observation": {"c.pos": 1}}] * 50, [{"observation": {"c.pos": 1}}]])
def test_it_names_a_session_of_other_joints_at_its_begin_or_end(data: list):
    entries = [entry_of(session_of([ARM] * 200)), entry_of(session_of(data, robot="leg"))]
    with pytest.raises(Refused, match=rf"session {entries[1].session_id} \(leg.*observation.c.pos, which session"):
        check_same_layout(entries, Options())


@pytest.mark.django_db
def test_it_names_three_sessions_and_counts_the_others():
    other = [entry_of(session_of([{"action": [1]}] * 3)) for _ in range(5)]
    with pytest.raises(Refused, match=r"2 more sessions differ$"):
        check_same_layout([entry_of(session_of([ARM] * 3)), *other], Options())


@pytest.mark.django_db
def test_it_refuses_a_session_that_is_deleted_by_then():
    session = session_of([ARM] * 3)
    deleted = entry_of(session)
    session.delete()
    with pytest.raises(Refused, match=f"session {deleted.session_id} .*was deleted"):
        check_same_layout([deleted], Options())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("count", "expected"), [(200, [*range(64), *range(136, 200)]), (3, [0, 1, 2]), (70, range(70))]
)
def test_a_sample_has_both_ends_of_a_session_once(count: int, expected):
    assert sample_of(entry_of(session_of([ARM] * count)), count).indexes.tolist() == list(expected)


@pytest.mark.django_db
def test_a_whole_session_may_have_more_than_the_layout_but_not_less():
    recorded = entry_of(session_of([ARM] * 70 + [{**ARM, "action": {"a.pos": 1, "b": 1}}] * 70 + [ARM] * 70))
    known, _ = check_same_layout([recorded], Options())
    whole = read(recorded)
    check_layout(known, recorded, whole, [], recorded)
    warnings = left_out(whole, recorded, Options(), known)
    assert warnings == [
        f"{name_of(recorded)}: action.b left out: neither at the beginning nor at the end of the session"
    ]
    del whole.columns["action.a.pos"]
    with pytest.raises(Refused, match=r"has no value action\.a\.pos"):
        check_layout(known, recorded, whole, [], recorded)
