"""Columns for plots: few points, which keep the peaks and gaps of all frames."""

import math

import numpy as np
import pytest

from teleop.frames import downsample
from teleop.frames.downsample import landmarks, thin
from teleop.tests.recordings import T0_S, make_session, record


def times(count, fps=60):
    return T0_S + np.arange(count) / fps


def test_it_keeps_a_peak_of_one_frame():
    values = np.zeros(36_000)
    values[12_345], values[20_001] = 90, -90
    found = thin("joint", times(36_000), values, 100)
    assert len(found.values) <= 100
    assert {90, -90} <= set(found.values)
    assert T0_S + 12_345 / 60 in found.timestamps


def test_it_keeps_few_points_unchanged():
    found = thin("joint", times(5), np.arange(5.0), 10)
    assert (list(found.timestamps), list(found.values)) == (list(times(5)), [0, 1, 2, 3, 4])


def test_missing_frames_become_one_null_in_the_middle():
    moments = np.delete(times(20), range(8, 12))
    found = thin("joint", moments, np.arange(16.0), 50)
    (gap,) = np.flatnonzero(np.isnan(found.values))
    assert found.timestamps[gap - 1] < found.timestamps[gap] < found.timestamps[gap + 1]
    assert found.timestamps[gap] == pytest.approx(T0_S + 9.5 / 60)


def test_a_temporarily_missing_joint_is_a_gap():
    values = np.arange(20.0)
    values[5:10] = np.nan
    assert np.isnan(thin("joint", times(20), values, 50).values).sum() == 1


def test_a_robot_that_sends_every_other_index_has_no_gaps():
    assert not np.isnan(thin("joint", times(20, fps=30), np.arange(20.0), 50).values).any()


def test_a_joint_without_values_has_no_points():
    assert len(thin("joint", times(3), np.full(3, math.nan), 10).values) == 0


def test_a_gap_spans_from_the_frame_before_to_the_frame_after():
    anchors, gaps = landmarks(np.delete(np.arange(36_000), range(8, 12)), np.delete(times(36_000), range(8, 12)))
    assert gaps == [(times(36_000)[7], times(36_000)[12])]
    assert {(7, times(36_000)[7]), (12, times(36_000)[12]), (35_999, times(36_000)[-1])} <= set(anchors)
    assert len(anchors) <= downsample.MAX_ANCHORS + 2


def test_it_reports_only_the_longest_of_many_gaps(monkeypatch):
    monkeypatch.setattr(downsample, "MAX_GAPS", 1)
    _, gaps = landmarks(np.arange(8), np.array([0.0, 1, 2, 3, 7, 8, 13, 14]))
    assert gaps == [(8, 13)]


def test_timestamps_do_not_decrease_if_a_clock_was_set_back():
    anchors, gaps = landmarks(np.arange(4), np.array([0.0, 1, 0.5, 2]))
    assert (anchors, gaps) == ([(0, 0), (1, 1), (2, 1), (3, 2)], [])


def get(client, session, query=""):
    answer = client.get(f"/sessions/{session.pk}/series?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.django_db
def test_every_joint_has_a_series(viewer):
    found = get(viewer, make_session([0, 1, 2, 3, 60]), "fields=observation")
    assert [each["name"] for each in found["series"]] == ["observation.shoulder_pan.pos", "observation.gripper.pos"]
    assert found["series"][0]["values"] == [0, 0.25, 0.5, 0.75, None, 15]
    assert found["series"][0]["timestamps"][-1] == T0_S + 1
    assert (found["anchors"][-1], found["gaps"]) == ([60, T0_S + 1], [[T0_S + 0.05, T0_S + 1]])


@pytest.mark.django_db
def test_a_short_range_is_not_downsampled(viewer):
    found = get(viewer, make_session(range(1000)), "start=500&stop=510&points=10&fields=observation.gripper.pos")
    assert found["series"][0]["values"] == list(range(-500, -510, -1))


@pytest.mark.django_db
def test_it_samples_too_many_frames_and_reports_the_stride(viewer, monkeypatch):
    monkeypatch.setattr(downsample, "MAX_FRAMES", 50)
    monkeypatch.setattr(downsample, "MAX_PICKED", 25)
    found = get(viewer, make_session(range(100)), "fields=action")
    assert (found["stride"], len(found["series"][0]["values"])) == (4, 25)


@pytest.mark.django_db
def test_a_session_without_frames_has_no_series(viewer):
    nothing = {"stride": 1, "anchors": [], "gaps": [], "series": [], "clock_steps": []}
    assert get(viewer, make_session()) == nothing


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query, message",
    {
        "points=9": "points is 9; an integer between 10 and 20000 expected",
        "points=20001": "points is 20001",
        "fields=observation.nose": "fields has observation.nose",
        "stride=2": "unknown field stride",
        "": "fields selects 70 numbers; at most 64 expected",
    }.items(),
)
def test_it_returns_400_and_names_the_invalid_parameter(viewer, query, message):
    session = make_session([0])
    record(session, [1], lambda _: {"observation": {"cloud": [0] * 67}})
    answer = viewer.get(f"/sessions/{session.pk}/series?{query}")
    assert (answer.status_code, message in str(answer.json())) == (400, True), answer.json()
