"""Steps of a robot's clock, found frame by frame and in columns."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.clock_steps import LONGEST_PAUSE_S, MAX_STEPS, merged, span
from teleop.frames.steady_times import clock_steps, steady, step_sizes
from teleop.ingest.clock_watch import ClockWatch
from teleop.ingest.types import Row

FPS = 60
T0_S = 1703318400
T0 = datetime.fromtimestamp(T0_S, UTC)


def rows(*frames: tuple[int, float]) -> list[Row]:
    return [Row(17, "arm", index, round((T0_S + seconds) * 1e6), b"{}") for index, seconds in frames]


def found(*frames: tuple[int, float], last=None) -> list[tuple[int, float]]:
    watch = ClockWatch(last)
    watch.follow(rows(*frames), FPS)
    return [(step["frame_index"], step["step_s"]) for step in watch.steps]


def in_columns(frames: list[tuple[int, float]]) -> list:
    indexes, seconds = (np.array(column) for column in zip(*frames, strict=True))
    timestamps = T0_S + seconds
    return clock_steps(indexes, timestamps, step_sizes(indexes, timestamps, FPS))


@pytest.mark.parametrize(
    "second, step_s",
    [
        ((1, 1 / 60), None),
        ((1, 0), None),
        ((1, -0.09), None),  # threads that stamp frames out of order
        ((1, 1 / 60 - 0.2), -0.2),
        ((1, 1 / 60 - 7200), -7200),
        ((1, LONGEST_PAUSE_S), None),
        ((1, 1 / 60 + 7200), 7200),
        ((1 + 7200 * FPS, 7200), None),  # the frames between are missing
    ],
)
def test_it_tells_a_step_from_jitter_a_pause_and_missing_frames(second, step_s):
    expected = [] if step_s is None else [(second[0], pytest.approx(step_s, abs=1e-5))]
    assert found((0, 0), second) == expected
    assert [(step["frame_index"], step["step_s"]) for step in in_columns([(0, 0), second])] == expected


def test_it_finds_a_step_across_groups_and_connections():
    watch = ClockWatch()
    for frame in [(0, 0), (1, 1 / 60), (2, -30)]:
        watch.follow(rows(frame), FPS)
    assert [step["frame_index"] for step in watch.steps] == [2]
    assert found((3, -30), last=(2, T0_S * 10**6)) == [(3, pytest.approx(-30 - 1 / 60, abs=1e-5))]


def test_it_passes_over_frames_that_are_sent_again():
    assert found((1, -60), (2, 0), (3, 1 / 60), last=(2, T0_S * 10**6)) == []


def test_it_keeps_a_bounded_number_of_steps():
    flips = [(index, -60.0 * (index % 2)) for index in range(3 * MAX_STEPS)]
    assert len(found(*flips)) == len(in_columns(flips)) == MAX_STEPS
    assert len(merged(in_columns(flips), in_columns(flips[1:]))) == MAX_STEPS


def test_it_merges_steps_that_are_saved_again():
    first, second = in_columns([(0, 0), (1, -60), (2, -120)])
    assert merged([first], [first, second]) == [first, second]
    assert merged([], [second, first]) == [first, second]


@pytest.mark.parametrize(
    "frames, start_s, end_s, duration_s",
    [
        ([(0, 0), (1, 1), (2, 2)], 0, 2, None),
        ([(0, 0), (1, 1), (2, -7200), (3, -7199)], -7200, 1, 2),
        ([(0, 0), (1, 1), (2, 7200), (3, 7201)], 0, 7201, 2),
        ([(0, 0), (1, 1), (2, 7200), (3, 2)], 0, 7200, 1),  # ahead and back again
        ([(0, 0), (1, -0.05)], -0.05, 0, None),
    ],
)
def test_a_session_spans_all_its_times_and_lasts_without_the_steps(frames, start_s, end_s, duration_s):
    first, last = (T0 + timedelta(seconds=seconds) for _, seconds in (frames[0], frames[-1]))
    start, end, duration = span(first, last, in_columns(frames))
    assert [(moment - T0).total_seconds() for moment in (start, end)] == pytest.approx([start_s, end_s], abs=1e-5)
    if duration_s is None:
        assert duration is None
    else:
        assert duration.total_seconds() == pytest.approx(duration_s, abs=0.1)


@given(st.lists(st.sampled_from([1 / 60, 0, -0.05, -0.2, -3600, 3, 3599, 3601, 10**7]), min_size=1, max_size=40))
def test_rows_and_columns_agree_and_steady_times_do_not_step(elapsed_s):
    frames = list(enumerate(np.cumsum([0, *elapsed_s]).tolist()))
    steps = in_columns(frames)
    expected = [(step["frame_index"], pytest.approx(step["step_s"], abs=1e-5)) for step in steps]
    assert found(*frames) == expected
    if len(steps) < MAX_STEPS:
        indexes, seconds = (np.array(column) for column in zip(*frames, strict=True))
        times = steady(indexes, T0_S + seconds, steps)
        assert not step_sizes(indexes, times, FPS).any()
        start, end, duration = span(T0, T0 + timedelta(seconds=frames[-1][1]), steps)
        assert start <= end and (duration is None or duration >= timedelta())
