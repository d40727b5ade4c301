"""Values of rows."""

import numpy as np
import pytest

from datasets.grid.values import values
from datasets.options import Options
from datasets.tests.grid_sessions import layout_of, planned, recording, times
from datasets.types import Feature

pytestmark = pytest.mark.once


def rows_of(frames, fps: int = 30, rows_fps: int | None = None, number: int = 0, **options) -> np.ndarray:
    """Return the values of an episode's first feature."""
    episode = planned(frames, fps=fps, rows_fps=rows_fps, **options).episodes[number]
    return values(frames, episode, layout_of(frames).features[0], Options(**options))


def test_it_holds_values_as_float32():
    elbow = np.linspace(0.1, 1, 60)
    table = rows_of(recording(times(60, 30), elbow=elbow, wrist=-elbow))
    assert (table.dtype, table.shape) == (np.float32, (60, 2))
    assert table[:, 0].tolist() == elbow.astype(np.float32).tolist()
    assert table[:, 1].tolist() == (-elbow).astype(np.float32).tolist()


def test_it_makes_a_table_of_one_joint():
    assert rows_of(recording(times(3, 30), elbow=[1.0, 2, 3])).tolist() == [[1], [2], [3]]


def test_it_holds_the_last_value_of_a_joint():
    elbow = np.array([1, np.nan, np.nan, 4, 5])
    frames = recording(times(5, 30), wrist=np.arange(5.0), elbow=elbow)
    assert rows_of(frames)[:, 1].tolist() == [1, 1, 1, 4, 5]


def test_it_holds_bools_and_texts():
    closed = np.array([False, True, None, True], object)
    mode = np.array(["a", None, "b", "b"], object)
    frames = recording(times(4, 30), elbow=np.ones(4), closed=closed, mode=mode)
    (episode,) = planned(frames, interpolate=("*",)).episodes
    _, is_closed, text = (
        values(frames, episode, each, Options(interpolate=("*",))) for each in layout_of(frames).features
    )
    assert (is_closed.dtype, is_closed.tolist()) == (bool, [False, True, True, True])
    assert text.tolist() == ["a", "a", "b", "b"]


def test_it_returns_the_times_of_the_frames_as_seconds():
    frames = recording(times(4, 30) + np.array([0, 5000, -5000, 0]))
    (episode,) = planned(frames).episodes
    seconds = values(frames, episode, Feature("observation.capture_time", "float64", None, ()), Options())
    assert seconds.dtype == np.float64
    assert np.round(seconds * 1e6).astype(int).tolist() == frames.times_us.tolist()


def test_it_interpolates_at_the_time_of_the_row():
    elbow = np.arange(30.0) * 6
    table = rows_of(recording(times(30, 25), elbow=elbow, wrist=elbow), fps=30, interpolate=("elbow",))
    assert np.allclose(table[:-1, 0], np.arange(len(table) - 1) * 5, atol=1e-3)
    assert table[:, 1].tolist() == [(10 * row + 5) // 12 * 6 for row in range(len(table))]


@pytest.mark.parametrize("pattern", ["elbow", "observation.elbow", "e*", "observation.*"])
def test_it_finds_joints_by_their_name_and_their_column(pattern: str):
    frames = recording(times(30, 24), elbow=np.arange(30.0))
    assert not np.array_equal(rows_of(frames), rows_of(frames, interpolate=(pattern,)))


@pytest.mark.parametrize("pattern", ["elb", "Elbow", "wrist", "action.*"])
def test_it_does_not_interpolate_other_joints(pattern: str):
    frames = recording(times(30, 24), elbow=np.arange(30.0))
    assert np.array_equal(rows_of(frames), rows_of(frames, interpolate=(pattern,)))


def test_it_takes_the_sample_itself_at_its_time():
    elbow = np.array([-0.0, 1.7e308, -1.7e308, 0.1, 1e-320])
    frames = recording(times(5, 10), elbow=elbow)
    with np.errstate(over="ignore"):
        exact = elbow.astype(np.float32)
    table = rows_of(frames, fps=10, interpolate=("*",))
    assert table[:, 0].tobytes() == exact.tobytes()


def test_it_does_not_interpolate_across_a_gap():
    rows = times(60, 30)
    rows[30:] += 1_010_000
    frames = recording(rows, elbow=np.arange(60.0))
    first = rows_of(frames, interpolate=("*",))
    second = rows_of(frames, number=1, interpolate=("*",))
    assert (first[-1, 0], second[0, 0]) == (29, 30)


def test_it_does_not_interpolate_across_a_step_of_the_clock():
    rows = times(40, 10)
    rows[20] -= 1_010_000  # a frame alone on its side of the step
    frames = recording(rows + np.arange(40) % 2 * 10_000, elbow=np.arange(40.0))
    episodes = planned(frames, fps=10, interpolate=("*",)).episodes
    tables = [rows_of(frames, 10, number=number, interpolate=("*",)) for number in range(len(episodes))]
    assert len(tables) == 3
    assert all(table.max() <= last for table, last in zip(tables, (9, 19, 39), strict=True))


def test_it_does_not_search_the_session_again_for_each_episode():
    rows = times(40, 10)
    rows[20] -= 1_010_000
    frames = recording(rows, elbow=np.arange(40.0))
    options = {"fps": 10, "rows_fps": 7, "interpolate": ("*",)}
    episode = planned(frames, **options).episodes[-1]
    unordered = frames._replace(indexes=None)  # the order of indexes tells where the clock was set back
    table = values(unordered, episode, layout_of(frames).features[0], Options(interpolate=("*",)))
    assert table.tolist() == rows_of(frames, number=-1, **options).tolist()


def test_it_interpolates_over_frames_in_which_a_joint_has_no_value():
    elbow = np.array([0, np.nan, np.nan, 3, 4])
    frames = recording(times(5, 30), wrist=np.zeros(5), elbow=elbow)
    assert np.allclose(rows_of(frames, interpolate=("elbow",))[:, 1], [0, 1, 2, 3, 4], atol=1e-4)


def test_it_interpolates_no_longer_than_max_gap():
    elbow = np.array([0, 1, np.nan, np.nan, np.nan, np.nan, 6, 7])
    frames = recording(times(8, 10), wrist=np.zeros(8), elbow=elbow)
    assert rows_of(frames, 10, interpolate=("*",))[:, 1].tolist() == [0, 1]
    long = rows_of(frames, 10, interpolate=("*",), max_gap_s=0.5)
    assert np.allclose(long[:, 1], range(8), atol=1e-4)


def test_it_shares_no_value_between_joints_that_are_interpolated():
    held = np.arange(30.0)
    frames = recording(times(30, 24), elbow=held, wrist=held)
    both = rows_of(frames, interpolate=("*",))
    assert np.array_equal(both[:, 0], both[:, 1])
    assert frames.columns["observation.elbow"].tolist() == list(range(30))  # the recording stays


def test_it_gives_infinity_beyond_float32():
    assert rows_of(recording(times(2, 30), elbow=[1e39, -1e39])).tolist() == [[np.inf], [-np.inf]]
