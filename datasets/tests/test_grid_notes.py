"""Warnings about the frames of a session."""

import numpy as np
import pytest

from datasets.grid.plan import plan
from datasets.options import Options
from datasets.tests.grid_sessions import layout_of, planned, recording, session, times
from datasets.types import Refused

pytestmark = pytest.mark.once


def without(*missing: int):
    kept = np.setdiff1d(np.arange(300), missing)
    return recording(times(300, 30)[kept], indexes=kept + 7)


def test_it_reports_missing_frames():
    assert planned(without(10, 11, 12, 40)).warnings == ["4 of 300 frames are missing: frame_index 17 to 19, 47 to 47."]
    assert planned(without(*range(10, 70, 10))).warnings == [
        "6 of 300 frames are missing: frame_index 17 to 17, 27 to 27, 37 to 37, 47 to 47, 57 to 57, and others."
    ]


def test_it_does_not_miss_indexes_that_the_robot_left_unused():
    frames = without(10, 11)
    entry = session(quality={"missing_frames": 0.0})
    assert plan(frames, (), layout_of(frames), entry, Options(refuse=("missing_frames",)), 30).warnings == []


def test_it_refuses_missing_frames_if_asked():
    with pytest.raises(Refused, match=r"session 17 .*: 1 of 300 frames are missing"):
        planned(without(10), refuse=("missing_frames",))


@pytest.mark.parametrize(("rate", "warnings"), [(59.3, 0), (61.1, 0), (58.7, 1), (61.3, 1)])
def test_it_reports_a_rate_that_differs_by_more_than_2_percent(rate: float, warnings: int):
    made = planned(recording(times(600, rate)), fps=60)
    assert len(made.warnings) == warnings
    assert not warnings or made.warnings == [f"The frames come at {rate:.2f} Hz; fps of the session is 60."]


def test_it_reports_no_rate_for_a_pause():
    rows = times(300, 30)
    rows[150:] += 5_000_000
    assert planned(recording(rows)).warnings == []
