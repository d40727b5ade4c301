"""Trims: marks, idle ends, and steps of the clock."""

import numpy as np
import pytest

from datasets.grid.sides import clock_steps
from datasets.tests.grid_sessions import camera, mark, planned, recording, spans_s, times, trims_s
from datasets.types import Refused

pytestmark = pytest.mark.once
START, END = mark("trim_start", 1), mark("trim_end", 2)


def movement(*moves_s: tuple[float, float], seconds: float = 10, fps: int = 30) -> np.ndarray:
    """Return a joint that moves by 100 a second within these times and is still outside of them."""
    at = np.arange(round(seconds * fps)) / fps
    return sum(100 * np.clip(at - begin, 0, end - begin) for begin, end in moves_s)


@pytest.mark.parametrize(
    ("marks", "span", "trims"),
    [
        ([START], (1, 2.967), [(0, 1, "mark")]),
        ([END], (0, 2), [(2, 2.967, "mark")]),
        ([START, END], (1, 2), [(0, 1, "mark"), (2, 2.967, "mark")]),
    ],
)
def test_it_trims_to_marks(marks, span, trims):
    made = planned(recording(times(90, 30)), marks=marks)
    assert (spans_s(made), trims_s(made)) == ([span], trims)


def test_it_has_no_row_before_or_after_a_mark_between_two_frames():
    marks = [mark("trim_start", 0.01), mark("trim_end", 2.956)]
    assert spans_s(planned(recording(times(90, 30)), marks=marks)) == [(0.033, 2.933)]


def test_it_leaves_marks_alone_if_not_asked():
    assert spans_s(planned(recording(times(90, 30)), marks=[START, END], trim=())) == [(0, 2.967)]


def test_it_ignores_marks_of_no_kind():
    assert spans_s(planned(recording(times(90, 30)), marks=[mark(None, 1)])) == [(0, 2.967)]


@pytest.mark.parametrize("begin_s", [-50, 50])
def test_it_has_no_episode_between_marks_outside_of_the_session(begin_s: float):
    made = planned(recording(times(90, 30)), marks=[mark("trim_start", begin_s), mark("trim_end", begin_s + 1)])
    assert (made.episodes, trims_s(made)) == ([], [(0, 2.967, "mark")])


def test_it_takes_pictures_from_before_the_mark():
    front = camera("front", times(60, 20))
    made = planned(recording(times(90, 30)), [front], marks=[mark("trim_start", 1.03)])
    assert spans_s(made)[0][0] == 1.033
    assert made.episodes[0].pictures["observation.images.front"][0] == 20  # at 1.0 s


def test_it_trims_idle_ends():
    frames = recording(times(300, 30), elbow=movement((3, 4), (6, 7)), wrist=np.ones(300))
    assert spans_s(planned(frames)) == [(0, 9.967)]
    made = planned(frames, trim=("marks", "idle"))
    assert spans_s(made) == [(3, 7)]
    assert trims_s(made) == [(0, 3, "idle"), (7, 9.967, "idle")]


def test_it_trims_idle_ends_of_each_episode():
    rows = times(300, 30)
    rows[150:] += 2_000_000
    made = planned(recording(rows, elbow=movement((1, 2), (6, 7))), trim=("idle",))
    assert spans_s(made) == [(1, 2), (8, 9)]
    assert trims_s(made) == [
        (0, 1, "idle"),
        (2, 4.967, "idle"),
        (4.967, 7, "gap"),
        (7, 8, "idle"),
        (9, 11.967, "idle"),
    ]


def test_it_trims_idle_ends_between_marks():
    frames = recording(times(300, 30), elbow=movement((0.5, 1), (4, 5), (8, 8.5)))
    marks = [mark("trim_start", 2), mark("trim_end", 7)]
    assert spans_s(planned(frames, marks=marks, trim=("marks", "idle"))) == [(4, 5)]


def test_it_has_no_episode_if_nothing_moves():
    made = planned(recording(times(90, 30), elbow=np.ones(90)), trim=("idle",))
    assert (made.episodes, trims_s(made)) == ([], [(0, 2.967, "idle")])


def test_it_leaves_ends_alone_if_movement_is_not_known():
    texts = recording(times(90, 30), mode=np.full(90, "auto", object))
    assert spans_s(planned(texts, trim=("idle",))) == [(0, 2.967)]
    assert spans_s(planned(recording(times(5, 30)), trim=("idle",))) == [(0, 0.133)]


def test_it_refuses_no_gap_in_an_idle_end():
    rows = times(300, 30)
    rows[30:] += 1_000_000
    frames = recording(rows, elbow=movement((3, 4)))
    assert spans_s(planned(frames, trim=("idle",), on_gap="refuse")) == [(4, 5)]


def test_it_ends_an_episode_where_the_clock_steps_back():
    rows = times(300, 30)
    rows[150:] -= 2_000_000  # at 5 s: from 3 s to 5 s of the clock there are two frames of each time
    made = planned(recording(rows))
    assert spans_s(made) == [(0, 2.967), (5, 7.967)]
    assert trims_s(made) == [(2.967, 5, "clock step")]
    assert made.warnings == ["The clock of the robot steps by -2.000 s before frame 150; no episode spans it."]


def test_it_takes_no_frame_of_the_other_side_of_a_step():
    rows = times(300, 30)
    rows[150:] -= 2_030_000  # the first frame after the step is within half a row of the last row before it
    first, second = planned(recording(rows)).episodes
    assert first.samples[""].tolist() == list(range(first.length))
    assert second.samples[""].tolist() == list(range(210, 300))


def test_it_keeps_all_but_a_frame_that_is_late_by_itself():
    rows = times(300, 30)
    rows[150] -= 3_001_000
    assert spans_s(planned(recording(rows))) == [(0, 1.967), (2, 4.967), (5.033, 9.967)]


def test_it_bears_a_clock_that_steps_many_times():
    rows = times(300, 30) - np.arange(300) // 30 * 500_000
    made = planned(recording(rows))
    assert len(clock_steps(recording(rows), 30)) == 9
    assert len(made.warnings) == 6
    assert spans_s(made) == [(0, 0.467), (5, 5.467)]


def test_it_takes_a_step_ahead_of_two_hours_for_a_step():
    rows = times(60, 30)
    rows[30:] += 2 * 3600 * 10**6
    made = planned(recording(rows))
    assert [episode.length for episode in made.episodes] == [30, 30]
    assert trims_s(made) == [(0.967, 7201, "clock step")]
    assert made.warnings[0] == "The clock of the robot steps by +7200.000 s before frame 30; no episode spans it."


def test_it_refuses_steps_of_the_clock_if_asked():
    rows = times(60, 30)
    rows[30:] -= 500_000
    with pytest.raises(
        Refused,
        match=r"session 17 .*: The clock of the robot steps by -0.500 s before frame 30",
    ):
        planned(recording(rows), refuse=("clock_step",))


def test_it_does_not_take_a_step_for_a_gap():
    rows = times(60, 30)
    rows[30:] -= 500_000
    assert len(planned(recording(rows), on_gap="refuse").episodes) == 2


def test_it_keeps_trims_on_both_sides_of_an_episode_apart():
    pictures = camera("front", times(3, 2.5, begin_s=0.1))  # alone in their runs; the rows exceed the first by 0.1 s
    made = planned(recording(times(2, 5)), [pictures], fps=5)
    assert spans_s(made) == [(0, 0.2)]
    assert trims_s(made) == [(0, 0.1, "camera front"), (0.1, 0.2, "camera front")]
