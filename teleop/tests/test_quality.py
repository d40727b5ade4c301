"""Quality of known movements."""

import numpy as np
import pytest

from teleop.quality.scores import Motion, duration_ratio, fps_jitter, idle_share, jerk, quality

FPS = 60
TICK = 360 / 4096  # one encoder step in degrees


def at(seconds: float) -> np.ndarray:
    return 1.7e9 + np.arange(round(seconds * FPS) + 1) / FPS


def columns(*joints: np.ndarray) -> np.ndarray:
    return np.stack(joints, axis=1)


def sine(timestamps, hz=0.5, amplitude=50.0):
    return amplitude * np.sin(2 * np.pi * hz * (timestamps - timestamps[0]))


def with_a_stop(timestamps, begin=4.0, seconds=3.0):
    """Return a sine that stops for a while, and then continues."""
    moving = timestamps - timestamps[0]
    moving = np.where(moving < begin, moving, np.maximum(begin, moving - seconds))
    return 50 * np.sin(2 * np.pi * 0.5 * moving)


def test_a_stop_of_3_s_in_10_is_an_idle_share_of_0_3():
    timestamps = at(10)
    assert idle_share(timestamps, columns(with_a_stop(timestamps))) == pytest.approx(0.3, abs=0.01)


def test_it_is_idle_only_while_no_joint_moves():
    timestamps = at(10)
    stops, other = with_a_stop(timestamps), with_a_stop(timestamps, begin=5)
    assert idle_share(timestamps, columns(stops, other)) == pytest.approx(0.2, abs=0.01)
    assert idle_share(timestamps, columns(stops, sine(timestamps))) == 0


@pytest.mark.parametrize("hz", [0.1, 1, 4, 10])
def test_a_joint_that_reverses_direction_is_not_idle(hz):
    timestamps = at(10)
    slower = sine(timestamps, hz / 2)
    assert idle_share(timestamps, columns(sine(timestamps, hz), slower)) < 0.1


def test_it_ignores_encoder_noise_of_one_tick():
    timestamps = at(10)
    flicker = TICK * (np.arange(len(timestamps)) % 2)
    stops = with_a_stop(timestamps)
    assert idle_share(timestamps, columns(stops + flicker, flicker)) == pytest.approx(0.3, abs=0.01)


def test_an_outlier_does_not_change_the_idle_share():
    timestamps = at(10)
    positions = columns(with_a_stop(timestamps))
    positions[100] = 1e30
    assert idle_share(timestamps, positions) == pytest.approx(0.3, abs=0.02)


def test_it_excludes_gaps_between_frames_from_the_idle_share():
    timestamps = at(10)
    kept = (timestamps - timestamps[0] < 4.5) | (timestamps - timestamps[0] > 6.5)
    share = idle_share(timestamps[kept], columns(with_a_stop(timestamps))[kept])
    assert share == pytest.approx(1 / 8, abs=0.02)


def test_it_ignores_a_joint_after_its_values_end():
    timestamps = at(10)
    gone = with_a_stop(timestamps)
    gone[300:] = np.nan
    assert idle_share(timestamps, columns(gone, with_a_stop(timestamps))) == pytest.approx(0.3, abs=0.01)
    assert idle_share(timestamps, columns(gone)) == pytest.approx(1 / 5, abs=0.01)


@pytest.mark.parametrize("hz, amplitude", [(0.5, 50), (2, 10)])
def test_it_computes_the_jerk_of_a_sine(hz, amplitude):
    timestamps = at(20)
    found = jerk(timestamps, columns(sine(timestamps, hz, amplitude)))
    assert found == pytest.approx(amplitude * (2 * np.pi * hz) ** 3 / np.sqrt(2), rel=0.01)


def test_the_jerk_is_the_rms_over_all_joints():
    timestamps = at(20)
    moving = sine(timestamps)
    alone, both = jerk(timestamps, columns(moving)), jerk(timestamps, columns(moving, 0 * moving))
    assert both == pytest.approx(alone / np.sqrt(2))


def test_jitter_and_missing_frames_do_not_change_the_jerk():
    timestamps = at(20)
    positions = columns(sine(timestamps))
    smooth = jerk(timestamps, positions)
    kept = np.arange(len(timestamps)) % 100 != 7
    assert jerk(timestamps[kept], positions[kept]) == pytest.approx(smooth, rel=0.01)
    late = timestamps + np.random.default_rng(1).uniform(0, 0.004, len(timestamps))
    assert jerk(late, positions) == pytest.approx(smooth, rel=0.02)


def test_the_jitter_is_the_deviation_as_a_fraction_of_the_frame_interval():
    timestamps = at(10)
    timestamps[1::2] += 0.25 / FPS  # the intervals alternate between 1.25 and 0.75 frames
    assert fps_jitter(timestamps, FPS) == pytest.approx(0.25, rel=0.01)
    assert fps_jitter(at(10), FPS) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("others, ratio", [([10, 20, 90], 1.5), ([10, 20], None), ([], None), ([0, 0, 0], None)])
def test_it_compares_the_duration_with_at_least_three_others(others, ratio):
    assert duration_ratio(30.0, others) == ratio


def test_it_returns_only_missing_frames_for_an_empty_session():
    nothing = quality(Motion(np.empty(0, int), np.empty(0), np.empty((0, 0))), FPS, [1, 2, 3])
    assert nothing == dict.fromkeys(nothing) | {"missing_frames": 0, "clock_steps": []}


def test_it_returns_a_duration_of_zero_for_one_frame():
    one = quality(Motion(np.array([7]), np.array([1.7e9]), np.array([[1.0]])), FPS, [1, 2, 3])
    known = {"missing_frames": 0, "duration_s": 0.0, "duration_ratio": 0.0, "clock_steps": []}
    assert one == dict.fromkeys(one) | known


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("joint", [np.full(601, 1e30), np.full(601, np.nan), 1e308 * (np.arange(601) % 2 * 2.0 - 1)])
def test_it_returns_finite_scores_or_none_for_extreme_values(joint):
    found = quality(Motion(np.arange(601), at(10), columns(joint)), FPS, [1, 2, 3])
    assert found.pop("clock_steps") == []
    assert all(value is None or np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("step_s", [-7200.0, -0.2, 365 * 86400.0])
def test_it_reports_a_step_of_the_clock_and_leaves_it_out_of_the_scores(step_s):
    timestamps, positions = at(10), columns(with_a_stop(at(10)))
    expected = quality(Motion(np.arange(601), timestamps, positions), FPS, [1, 2, 3])
    stepped = timestamps + np.where(np.arange(601) >= 300, step_s, 0)
    found = quality(Motion(np.arange(601), stepped, positions), FPS, [1, 2, 3])
    (step,) = found.pop("clock_steps")
    assert expected.pop("clock_steps") == []
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert (step["frame_index"], step["before"], step["timestamp"]) == (
        *(300, pytest.approx(stepped[299], abs=1e-5), pytest.approx(stepped[300], abs=1e-5)),
    )
    assert step["step_s"] == pytest.approx(step_s, abs=1e-5)


@pytest.mark.parametrize("timestamps", [np.full(100, 1.7e9), 1.7e9 - np.arange(100) / FPS])
def test_it_returns_none_if_timestamps_do_not_increase(timestamps):
    positions = columns(np.arange(100.0))
    assert (idle_share(timestamps, positions), jerk(timestamps, positions)) == (None, None)
