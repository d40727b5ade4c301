"""Frames of all kinds of robots as columns."""

from datetime import timedelta

import numpy as np
import pytest
from django.db import connection

from datasets.recording import columns
from datasets.recording.frames import read, values_sha256
from datasets.tests.entries import BEGIN_US, entry_of, session_of
from datasets.types import Recording, Refused
from teleop.frames import sql
from teleop.models import TeleopFrame

pytestmark = pytest.mark.django_db

SO101 = {
    "observation": {"shoulder_pan.pos": 1.5, "gripper.pos": -2},
    "action": {"shoulder_pan.pos": 1, "gripper.pos": 0},
}


def columns_of(*data: dict) -> dict[str, list]:
    recording = read(entry_of(session_of(list(data))))
    return {name: values.tolist() for name, values in recording.columns.items()}


def test_it_reads_the_joints_of_an_arm_in_their_order():
    data = [{"observation": {"b.pos": n / 4, "a.pos": -n}, "action": {"b.pos": 1}} for n in range(100)]
    recording = read(entry_of(session_of(data)))
    assert list(recording.columns) == ["observation.b.pos", "observation.a.pos", "action.b.pos"]
    assert recording.columns["observation.b.pos"].tolist() == [n / 4 for n in range(100)]
    assert recording.indexes.tolist() == list(range(100))


def test_it_reads_times_to_the_microsecond():
    times_us = [0, 1, 33_333, 66_667, 999_999, 1_000_001]
    recording = read(entry_of(session_of([SO101] * 6, times_us=times_us)))
    assert (recording.times_us - BEGIN_US).tolist() == times_us


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"observation": {"left_a.pos": 1, "right_a.pos": 2}}, {"left_a.pos": 1.0, "right_a.pos": 2.0}),
        ({"observation": {"arm_a.pos": 1, "theta.vel": -9}}, {"arm_a.pos": 1.0, "theta.vel": -9.0}),
        ({"observation": {"joint_positions": [1, 2.5]}}, {"joint_positions.0": 1.0, "joint_positions.1": 2.5}),
        ({"observation.state": [1, 2]}, {"state.0": 1.0, "state.1": 2.0}),
        ({"observation.shoulder_pan.pos": 7}, {"shoulder_pan.pos": 7.0}),
        ({"observation": {"arm": {"wrist": {"pos": 4}}}}, {"arm.wrist.pos": 4.0}),
        ({"observation": [3]}, {"0": 3.0}),
        ({"observation": {"pose": [[1, 2], [3]]}}, {"pose.0.0": 1.0, "pose.0.1": 2.0, "pose.1.0": 3.0}),
        ({"observation": {"a": 1, "is_on": True, "mode": "x"}}, {"a": 1.0, "is_on": True, "mode": "x"}),
    ],
)
def test_it_names_values_by_their_paths(data: dict, expected: dict):
    assert columns_of(data, data) == {f"observation.{name}": [value] * 2 for name, value in expected.items()}


def test_it_reads_one_joint_without_a_name():
    assert columns_of({"observation": 0.5, "action": [0.25]}) == {"observation": [0.5], "action.0": [0.25]}


def test_a_missing_value_is_nan_or_none():
    data = [{"observation": {"a": 1, "ok": True, "mode": "x"}}, {"observation": {"a": None}}, {"observation": {"a": 3}}]
    found = columns_of(*data)
    assert np.array_equal(found.pop("observation.a"), [1, np.nan, 3], equal_nan=True)
    assert found == {"observation.ok": [True, None, None], "observation.mode": ["x", None, None]}


def test_a_list_may_grow():
    found = columns_of({"action": [1]}, {"action": [2, 3]}, {"action": []})
    assert np.array_equal(found["action.0"], [1, 2, np.nan], equal_nan=True)
    assert np.array_equal(found["action.1"], [np.nan, 3, np.nan], equal_nan=True)


def test_the_first_frame_orders_the_columns_even_where_it_has_no_value():
    first = {"observation": {"b": None, "a": 1}}
    later = {"observation": {"d": 1, "c": 1, "a": 1, "b": 1}}
    assert list(columns_of(first, later)) == [f"observation.{name}" for name in "bacd"]


@pytest.mark.parametrize("values", [[True, 2, False], [0.5, True, None], [None, 1, True]])
def test_numbers_beside_true_and_false_are_numbers(values: list):
    expected = [np.nan if value is None else float(value) for value in values]
    found = columns_of(*({"action": {"grip": value, "x": 1}} for value in values))["action.grip"]
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.fixture
def small_blocks(monkeypatch):
    """Let a block have one frame."""
    monkeypatch.setattr(sql, "BLOCK_BYTES", 10)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("values", [[True, 0.5, False], [0.5, True, False]])
def test_it_makes_numbers_of_true_and_false_of_other_blocks(values: list):
    found = read(entry_of(session_of([{"action": {"grip": value}} for value in values]))).columns["action.grip"]
    assert found.dtype == float and found.tolist() == values


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("values", [[1, "open"], ["open", 1], [True, "open"], ["open", False]])
def test_it_refuses_a_text_beside_numbers_of_other_blocks(values: list):
    with pytest.raises(Refused, match=r"action.grip is a text in some frames"):
        columns_of(*({"action": {"grip": value}} for value in values))


@pytest.mark.parametrize("values", [[1, "open"], ["open", 1], [True, "open"], ["open", False]])
def test_it_refuses_a_text_beside_numbers(values: list):
    with pytest.raises(Refused, match=r"session \d+ \(arm, .*action.grip is a text in some frames"):
        columns_of(*({"action": {"grip": value}} for value in values))


@pytest.mark.usefixtures("small_blocks")
def test_equal_texts_are_one_object():
    recording = read(entry_of(session_of([{"observation": {"mode": "grasp the cube"}}] * 3)))
    assert len(set(map(id, recording.columns["observation.mode"]))) == 1


def test_a_text_that_is_not_in_a_frame_is_none():
    data = [{"action": {"a": n} | ({} if n % 3 else {"mode": f"m{n % 2}"})} for n in range(300)]
    assert columns_of(*data)["action.mode"] == [None if n % 3 else f"m{n % 2}" for n in range(300)]


@pytest.mark.parametrize("value", [0.1, 1e-300, 1.7976931348623157e308, -0.0, 123456789.123456789, 2**53, 1 / 3])
def test_it_keeps_every_bit_of_a_number(value: float):
    found = columns_of({"action": {"a": value}})["action.a"]
    assert np.array(found).tobytes() == np.array([value], float).tobytes()


def test_arrow_and_python_read_the_same(monkeypatch):
    data = [{"observation": {"a": n / 7, "list": [n, 0.1], "ok": n % 2 == 0, "mode": f"m{n % 3}"}} for n in range(200)]
    by_arrow = columns_of(*data)
    monkeypatch.setattr(columns, "pieces", lambda block: [(block, None)])
    monkeypatch.setattr(columns, "MAX_PENDING", 100)
    assert columns_of(*data) == by_arrow


@pytest.mark.usefixtures("small_blocks")
def test_it_reads_block_by_block():
    data = [{"observation": {"a": n}} for n in range(50)]
    assert columns_of(*data)["observation.a"] == list(range(50))


def test_it_sorts_by_time_where_the_clock_stepped_back():
    times_us = [0, 33_000, 66_000, 20_000, 33_000]
    data = [{"observation": {"a": n, "mode": str(n)}} for n in range(5)]
    recording = read(entry_of(session_of(data, times_us=times_us)))
    assert recording.indexes.tolist() == [0, 3, 1, 4, 2]
    assert (recording.times_us - BEGIN_US).tolist() == sorted(times_us)
    assert recording.columns["observation.a"].tolist() == [0, 3, 1, 4, 2]
    assert recording.columns["observation.mode"].tolist() == ["0", "3", "1", "4", "2"]


def test_it_refuses_a_session_with_more_frames_than_its_manifest():
    session = session_of([SO101] * 3)
    entry = entry_of(session)
    TeleopFrame.objects.create(
        session=session, robot=session.robot, frame_index=3, timestamp=session.end_time + timedelta(1), data=SO101
    )
    with pytest.raises(Refused, match=f"session {session.pk} .*more than the 3 frames of the manifest"):
        read(entry)


def test_it_refuses_a_session_whose_frames_were_deleted():
    session = session_of([SO101] * 3)
    entry = entry_of(session)
    session.frames.delete_in_batches()
    with pytest.raises(Refused, match=f"session {session.pk} .* has 0 frames, but 3 in the manifest"):
        read(entry)


@pytest.mark.parametrize(("limit", "value"), [("MAX_VALUES", 5), ("MAX_COLUMNS", 1), ("MAX_TEXT_BYTES", 2)])
def test_it_refuses_more_values_than_fit_in_memory(monkeypatch, limit: str, value: int):
    monkeypatch.setattr(columns, limit, value)
    with pytest.raises(Refused, match=r"session \d+"):
        columns_of(*[{"observation": {"a": 1, "b": "text"}}] * 3)


def test_it_refuses_too_many_names():
    data = {"observation": {f"joint_{n}.pos": n for n in range(5000)}}
    with pytest.raises(Refused, match="5000 names of values; at most 4096"):
        columns_of(data, data)


@pytest.mark.usefixtures("small_blocks")
def test_it_holds_no_connection_between_blocks(monkeypatch):
    released = []
    monkeypatch.setattr(sql, "release_connection", lambda: released.append(connection.in_atomic_block))
    read(entry_of(session_of([SO101] * 5)))
    assert len(released) == 5


def recording_of(**given: list) -> Recording:
    arrays = {name: np.array(values, float if type(values[0]) is float else object) for name, values in given.items()}
    return Recording(1, np.arange(2), np.arange(2) * 1000, arrays)


def test_the_hash_is_of_the_values_and_not_of_the_order_of_columns():
    given = {"a": [0.5, 1.0], "b": ["x", None]}
    digest = values_sha256(recording_of(**given))
    assert digest == values_sha256(recording_of(**dict(reversed(given.items()))))
    others = [{"a": [0.5, np.nextafter(1, 2)], "b": ["x", None]}, {"a": [0.5, 1.0], "b": ["x", "y"]}, {"a": [0.5, 1.0]}]
    assert digest not in [values_sha256(recording_of(**other)) for other in others]
    assert digest != values_sha256(recording_of(**given)._replace(times_us=np.array([0, 1001])))


def test_the_hash_is_the_same_on_both_databases():
    data = [{"observation": {"a": n / 3, "mode": "ü"}, "action": [True, n]} for n in range(10)]
    found = values_sha256(read(entry_of(session_of(data))))
    assert found == "5e0a4bfededd6ad1a71a0ddf7178d12baf414b919e3da464a6a739aec2e1dae9"
