"""Gaps of frames, joints and cameras, and the pictures of rows."""

import numpy as np
import pytest

from datasets.grid.plan import plan
from datasets.options import Options
from datasets.tests.grid_sessions import (
    T0_US,
    camera,
    layout_of,
    mark,
    planned,
    recording,
    session,
    spans_s,
    times,
    trims_s,
)
from datasets.types import Refused

pytestmark = pytest.mark.once
FRONT = "observation.images.front"


def frames_at(rows: np.ndarray, *parts: tuple[int, int]) -> np.ndarray:
    return np.concatenate([rows[first:last] for first, last in parts])


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
        "session 17 (arm, 2026-01-05 08:00:00 UTC): there is a gap of 2.000 s in the frames at "
        "2026-01-05T08:00:02.090124Z; at most 0.25 s expected (max_gap_s)"
    )
    assert len(planned(frames, on_gap="refuse", max_gap_s=2.5).episodes) == 1


def test_it_refuses_a_gap_of_a_camera_and_of_a_joint_by_name():
    rows = times(180, 30)
    front = camera("front", frames_at(rows, (0, 60), (119, 180)))
    with pytest.raises(Refused, match=r"session 17 .*: there is a gap of 2.000 s in camera front at"):
        planned(recording(rows), [front], on_gap="refuse")
    elbow = np.where(np.arange(180) // 60 == 1, np.nan, 1.0)
    with pytest.raises(Refused, match=r"a gap of 2.033 s in observation.elbow at"):
        planned(recording(rows, elbow=elbow), on_gap="refuse")


def test_it_refuses_no_gap_outside_of_what_the_cameras_cover():
    rows = times(180, 30)
    frames = recording(frames_at(rows, (0, 10), (50, 180)))
    assert spans_s(planned(frames, [camera("front", rows[60:])], on_gap="refuse")) == [(2, 5.967)]


@pytest.mark.parametrize("kind", ["trim_start", "trim_end"])
def test_it_refuses_a_gap_at_a_mark_only_if_there_are_frames_on_this_side(kind: str):
    rows = times(180, 30)
    with_gap, marks = frames_at(rows, (0, 60), (119, 180)), [mark(kind, 3)]
    assert len(planned(recording(with_gap), marks=marks, on_gap="refuse").episodes) == 1
    with pytest.raises(Refused, match=r"a gap of 2.000 s in camera front at"):
        planned(recording(rows), [camera("front", with_gap)], marks=marks, on_gap="refuse")


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
