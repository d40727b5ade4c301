"""Episodes of known sessions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.grid.plan import plan
from datasets.options import Options
from datasets.tests.grid_sessions import (
    layout_of,
    planned,
    recording,
    session,
    spans_s,
    times,
    trims_s,
)
from datasets.types import Layout, Refused

pytestmark = pytest.mark.once


@settings(max_examples=50)
@given(st.integers(1, 1000), st.integers(2, 300), st.integers(0, 2**51), st.sampled_from(["even", "half up", "down"]))
def test_it_gives_back_a_session_that_is_on_the_grid(fps, count, begin_us, rounding):
    exact = np.arange(count) * 1_000_000
    offsets = {"even": np.round(exact / fps).astype(int), "half up": (exact + fps // 2) // fps, "down": exact // fps}
    frames = recording(begin_us + offsets[rounding])
    made = planned(frames, fps=fps, max_gap_s=1.5)
    (episode,) = made.episodes
    assert (episode.begin_us, episode.length, episode.fps) == (begin_us, count, fps)
    assert episode.samples[""].tolist() == list(range(count))
    assert (episode.repeated_rows, episode.unused_frames) == (0, 0)
    assert episode.largest_offset_us <= 1
    assert made.trims == made.warnings == []


def test_it_neither_repeats_nor_drops_frames_that_jitter_by_less_than_half_a_row():
    rng = np.random.default_rng(1)
    jitter = rng.integers(-16_000, 16_000, 3000)
    jitter[0] = 0
    (episode,) = planned(recording(times(3000, 30) + jitter)).episodes
    assert episode.samples[""].tolist() == list(range(3000))
    assert episode.largest_offset_us == abs(jitter).max()


def test_it_repeats_a_frame_where_59_3_hz_fall_behind_60():
    frames = recording(times(594, 59.3))  # 10 s
    (episode,) = planned(frames, fps=60).episodes
    assert episode.length == 601
    assert episode.repeated_rows == 7
    assert episode.unused_frames == 0
    assert set(np.diff(episode.samples[""])) == {0, 1}
    assert episode.largest_offset_us < 17_000


def test_it_leaves_out_frames_that_come_too_fast():
    (episode,) = planned(recording(times(612, 61.2)), fps=60).episodes
    assert (episode.repeated_rows, episode.unused_frames) == (0, 612 - episode.length)
    assert episode.unused_frames == 12


@pytest.mark.parametrize("jitter_us", [0, 8000])
def test_it_takes_every_second_frame_from_60_to_30_fps(jitter_us: int):
    rng = np.random.default_rng(2)
    jitter = rng.integers(-jitter_us, jitter_us + 1, 1200)
    jitter[0] = 0
    (episode,) = planned(recording(times(1200, 60) + jitter), fps=60, rows_fps=30).episodes
    assert episode.samples[""].tolist() == list(range(0, 1200, 2))
    assert episode.unused_frames == 599


def test_it_begins_once_a_late_joint_has_a_value():
    elbow = np.where(np.arange(60) < 20, np.nan, 1.0)
    made = planned(recording(times(60, 30), elbow=elbow, wrist=np.ones(60)))
    assert spans_s(made) == [(0.667, 1.967)]
    assert trims_s(made) == [(0, 0.667, "no value of observation.elbow")]


def test_it_splits_where_a_joint_is_away_for_long():
    wrist = np.where(np.arange(90) // 30 == 1, np.nan, 1.0)
    made = planned(recording(times(90, 30), elbow=np.ones(90), wrist=wrist))
    assert spans_s(made) == [(0, 0.967), (2, 2.967)]
    assert trims_s(made) == [(0.967, 2, "no value of observation.wrist")]


def test_it_holds_a_joint_that_is_away_for_a_moment():
    wrist = np.where(np.arange(30) // 3 == 5, np.nan, 1.0)
    (episode,) = planned(recording(times(30, 30), elbow=np.ones(30), wrist=wrist)).episodes
    assert episode.samples["observation.wrist"].tolist() == [*range(15), 14, 14, 14, *range(18, 30)]
    assert episode.samples[""].tolist() == list(range(30))
    assert "observation.elbow" not in episode.samples


def test_it_keeps_one_array_for_columns_that_miss_the_same_frames():
    slow = np.where(np.arange(30) % 3 == 0, 1.0, np.nan)
    other = np.where(np.arange(30) % 3 == 0, None, True)
    (episode,) = planned(recording(times(30, 30), elbow=slow, wrist=slow * 2, closed=other)).episodes
    assert episode.samples["observation.elbow"] is episode.samples["observation.wrist"]
    assert episode.samples["observation.closed"] is not episode.samples["observation.elbow"]


def test_it_has_no_episode_if_a_joint_never_has_a_value():
    frames = recording(times(30, 30), elbow=np.full(30, np.nan))
    made = planned(frames)
    assert (made.episodes, trims_s(made)) == ([], [(0, 0.967, "no value of observation.elbow")])
    layout = layout_of(recording(times(30, 30), elbow=np.ones(30), wrist=np.ones(30)))
    missing = recording(times(30, 30), elbow=np.ones(30))
    assert plan(missing, (), layout, session(), Options(), 30).trims[0].reason == "no value of observation.wrist"


def test_it_takes_the_last_of_frames_of_one_time():
    rows = np.repeat(times(20, 30), [1, 3] * 10)
    (episode,) = planned(recording(rows)).episodes
    assert episode.samples[""].tolist() == [4 * (row // 2) + 3 * (row % 2) for row in range(20)]
    assert episode.unused_frames == 20


def test_it_sorts_frames_that_are_out_of_order():
    rows = times(30, 30)
    (episode,) = planned(recording(rows, indexes=[*range(10), 11, 10, *range(12, 30)])).episodes
    assert episode.samples[""].tolist() == list(range(30))


@pytest.mark.parametrize("count", [0, 1])
def test_it_has_no_episode_of_fewer_than_two_frames(count: int):
    made = planned(recording(times(count, 30)))
    assert made.episodes == []
    assert trims_s(made) == [(0, 0, "too short")] * count


def test_it_makes_an_episode_of_two_frames():
    assert spans_s(planned(recording(times(2, 30)))) == [(0, 0.033)]


def test_it_has_no_episode_without_features():
    frames = recording(times(30, 30))
    made = plan(frames, (), Layout((), (), None, None), session(), Options(), 30)
    assert spans_s(made) == [(0, 0.967)]


def test_it_leaves_out_a_long_gap_without_rows():
    rows = times(60, 30)
    rows[30:] += 40 * 365 * 86400 * 10**6
    made = planned(recording(rows))
    assert [episode.length for episode in made.episodes] == [30, 30]


def test_it_merges_trims_that_are_too_short_with_the_gaps_beside_them():
    made = planned(recording(times(1000, 3)), fps=3)
    assert made.episodes == []
    assert trims_s(made) == [(0, 0, "too short"), (0, 333, "gap"), (333, 333, "too short")]
    assert made.warnings == [
        "Most samples of the frames are in no episode: they come every 0.333 s, and max_gap_s is 0.25 s."
    ]


def test_it_refuses_a_rate_above_that_of_the_session():
    with pytest.raises(
        Refused,
        match=r"session 17 .*: fps is 60; at most 30, that of the session, expected",
    ):
        planned(recording(times(30, 30)), rows_fps=60)
