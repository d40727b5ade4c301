"""Episodes of known sessions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.grid.plan import plan
from datasets.options import Options
from datasets.tests.grid_sessions import T0_US, camera, layout_of, planned, recording, session, spans_s, times, trims_s
from datasets.types import Layout, Refused

pytestmark = pytest.mark.once
FRONT = "observation.images.front"


def frames_at(rows: np.ndarray, *parts: tuple[int, int]) -> np.ndarray:
    return np.concatenate([rows[first:last] for first, last in parts])


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


def test_it_splits_at_a_gap_of_2_s():
    rows = times(180, 30)
    made = planned(recording(frames_at(rows, (0, 60), (119, 180))))
    assert spans_s(made) == [(0, 1.967), (3.967, 5.967)]
    assert [episode.number for episode in made.episodes] == [0, 1]
    assert trims_s(made) == [(1.967, 3.967, "gap")]


def test_it_does_not_split_at_a_gap_of_the_bound():
    exact = recording([T0_US, T0_US + 100_000, T0_US + 350_000, T0_US + 450_000])
    longer = recording([T0_US, T0_US + 100_000, T0_US + 350_001, T0_US + 450_000])
    assert len(planned(exact, fps=10).episodes) == 1
    assert len(planned(longer, fps=10).episodes) == 2


def test_it_repeats_frames_in_a_gap_that_is_short_enough():
    rows = times(60, 30)
    (episode,) = planned(recording(frames_at(rows, (0, 30), (36, 60)))).episodes
    assert (episode.length, episode.repeated_rows) == (60, 6)


def test_it_refuses_a_gap_if_asked():
    rows = times(180, 30)
    frames = recording(frames_at(rows, (0, 60), (119, 180)))
    with pytest.raises(Refused) as refusal:
        planned(frames, on_gap="refuse")
    assert str(refusal.value) == (
        "session 17: there is a gap of 2.000 s in the frames at 2026-01-05T08:00:02.090124Z; "
        "at most 0.25 s expected (max_gap_s)"
    )
    assert len(planned(frames, on_gap="refuse", max_gap_s=2.5).episodes) == 1


def test_it_refuses_a_gap_of_a_camera_and_of_a_joint_by_name():
    rows = times(180, 30)
    front = camera("front", frames_at(rows, (0, 60), (119, 180)))
    with pytest.raises(Refused, match=r"session 17: there is a gap of 2.000 s in camera front at"):
        planned(recording(rows), [front], on_gap="refuse")
    elbow = np.where(np.arange(180) // 60 == 1, np.nan, 1.0)
    with pytest.raises(Refused, match=r"a gap of 2.033 s in observation.elbow at"):
        planned(recording(rows, elbow=elbow), on_gap="refuse")


def test_it_refuses_no_gap_outside_of_what_the_cameras_cover():
    rows = times(180, 30)
    frames = recording(frames_at(rows, (0, 10), (50, 180)))
    assert spans_s(planned(frames, [camera("front", rows[60:])], on_gap="refuse")) == [(2, 5.967)]


def test_it_trims_to_what_all_cameras_cover():
    rows = times(300, 30)
    late, short = camera("front", times(288, 30, 0.4)), camera("wrist", rows[:270])
    made = planned(recording(rows), [late, short])
    assert spans_s(made) == [(0.4, 8.967)]
    assert trims_s(made) == [(0, 0.4, "camera front"), (8.967, 9.967, "camera wrist")]
    (episode,) = made.episodes
    assert episode.pictures[FRONT].tolist() == list(range(258))
    assert episode.pictures["observation.images.wrist"].tolist() == list(range(12, 270))
    assert episode.repeated_pictures == {FRONT: 0, "observation.images.wrist": 0}


def test_it_begins_at_the_frame_of_a_first_picture_that_comes_a_little_later():
    rows = times(60, 30)
    made = planned(recording(rows), [camera("front", rows + 10_000)])
    assert spans_s(made) == [(0, 1.967)]
    assert made.episodes[0].pictures[FRONT].tolist() == list(range(60))


def test_it_repeats_pictures_of_a_camera_at_30_in_a_session_at_60():
    (episode,) = planned(recording(times(120, 60)), [camera("front", times(60, 30))], fps=60).episodes
    assert episode.pictures[FRONT].tolist() == [row // 2 for row in range(119)]
    assert (episode.repeated_pictures, episode.unused_pictures) == ({FRONT: 59}, {FRONT: 0})


def test_it_takes_pictures_over_a_seam_of_two_chunks():
    rows = times(120, 30)
    chunks = np.concatenate((rows[:60], rows[60:] + 20_000))  # the second chunk is put 20 ms late
    made = planned(recording(rows), [camera("front", chunks)])
    (episode,) = made.episodes
    assert episode.pictures[FRONT].tolist() == [*range(60), 59, *range(60, 119)]
    assert episode.repeated_pictures == {FRONT: 1}


def test_it_splits_where_a_camera_has_no_pictures():
    rows = times(150, 30)
    made = planned(recording(rows), [camera("front", frames_at(rows, (0, 50), (100, 150)))])
    assert spans_s(made) == [(0, 1.633), (3.333, 4.967)]
    assert trims_s(made) == [(1.633, 3.333, "camera front")]


def test_it_has_no_episode_without_a_picture_of_each_camera():
    rows = times(60, 30)
    frames = recording(rows)
    made = plan(frames, [], layout_of(frames, [camera("front", rows)]), session(), Options(), 30)
    assert (made.episodes, trims_s(made)) == ([], [(0, 1.967, "camera front")])
    assert planned(frames, [camera("front", [])]).episodes == []


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
    with pytest.raises(Refused, match="session 17: fps is 60; at most 30, that of the session, expected"):
        planned(recording(times(30, 30)), rows_fps=60)
