"""The verification reads frames by SQL of its own."""

import numpy as np
import pytest

from datasets.tests.entries import BEGIN_US, session_of
from datasets.verification import database
from datasets.verification.database import OtherKind, read_frames

pytestmark = pytest.mark.django_db
NUMBER = np.float32


def columns_of(frames, **types):
    """Return the columns as lists, with None where a frame has no value."""
    session = session_of(frames)
    found, count = read_frames(session.pk, len(frames), {name.replace("_", "."): kind for name, kind in types.items()})
    assert count == len(frames)
    return {
        name: [None if value is None or value != value else value for value in column.tolist()]
        for name, column in found.columns.items()
    }


def test_it_reads_objects_lists_and_flat_keys():
    frames = [{"observation": {"a": {"b": 1.5}, "c": [2, 3.25]}, "action": [4], "observation.d": True}]
    found = columns_of(frames, observation_a_b=NUMBER, observation_c_1=NUMBER, action_0=NUMBER, observation_d=object)
    assert found == {"observation.a.b": [1.5], "observation.c.1": [3.25], "action.0": [4.0], "observation.d": [True]}


def test_it_reads_frames_of_different_shapes():
    frames = [
        {"observation": {"a": 1, "b": 2}},
        {"observation": {"b": 3}},
        {"observation": {"b": None, "a": 4}},
        {"observation.b": 5, "action": []},
        {"observation": "?"},
    ]
    found = columns_of(frames, observation_a=NUMBER, observation_b=NUMBER)
    assert found == {"observation.a": [1, None, 4, None, None], "observation.b": [2, 3, None, 5, None]}


def test_it_reads_true_and_false_among_numbers_as_one_and_zero():
    frames = [{"action": {"a": value}} for value in (True, 0.5, False)]
    assert columns_of(frames, action_a=NUMBER) == {"action.a": [1.0, 0.5, 0.0]}


def test_it_reads_texts_with_any_character():
    texts = ['"', "\\n\\x01 \\", "\n\t", "ü 机", "']}", ""]
    assert columns_of([{"action": {"a": text}} for text in texts], action_a=object) == {"action.a": texts}


def test_it_refuses_a_text_in_place_of_a_number():
    with pytest.raises(OtherKind, match="a frame has a text in place of a number"):
        columns_of([{"action": {"a": 1}}, {"action": {"a": "1.5"}}], action_a=NUMBER)


def test_it_reads_all_blocks(monkeypatch):
    monkeypatch.setattr(database, "BLOCK_FRAMES", 7)
    session = session_of([{"action": {"a": number}} for number in range(300)])
    frames, count = read_frames(session.pk, 300, {"action.a": NUMBER})
    assert count == 300
    assert frames.columns["action.a"].tolist() == frames.indexes.tolist() == list(range(300))


def test_it_reads_large_frames_in_small_blocks():
    session = session_of([{"action": {"a": "x" * 50_000}} for _ in range(50)])
    assert [len(rows) for rows in database.blocks(session.pk, 10)] == [10, 40]
    assert max(len(rows) for rows in database.blocks(session.pk, 4)) <= 41


def test_it_sorts_by_time_and_then_by_index():
    times_us = [5, 3, 3, 1_000_001, 0]
    session = session_of([{"action": {"a": number}} for number in range(5)], times_us=times_us)
    frames, _ = read_frames(session.pk, 5, {"action.a": NUMBER})
    assert frames.indexes.tolist() == frames.columns["action.a"].tolist() == [4, 1, 2, 0, 3]
    assert (frames.times_us - BEGIN_US).tolist() == sorted(times_us)


def test_it_counts_more_frames_than_expected_and_keeps_the_first():
    session = session_of([{"action": {"a": number}} for number in range(5)])
    frames, count = read_frames(session.pk, 3, {"action.a": NUMBER})
    assert (count, frames.indexes.tolist(), frames.columns["action.a"].tolist()) == (5, [0, 1, 2], [0, 1, 2])


def test_it_samples_both_ends_without_repeating_a_frame():
    session = session_of([{"action": {"a": number}} for number in range(10)])
    assert [row[0] for row in database.sample(session.pk, 3)] == [0, 1, 2, 7, 8, 9]
    assert [row[0] for row in database.sample(session.pk, 7)] == list(range(10))
