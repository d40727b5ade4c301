from collections import Counter
from itertools import pairwise

import pytest

from teleop.servo import DEFAULT_LIMITS, servo_name
from teleop.simulation.arm import LAG_S, LIMITS, NOISE, Arm
from teleop.simulation.latencies import Latencies, in_words, percentile

MINUTE = [n / 60 for n in range(3600)]


def frames(number):
    arm = Arm(number)
    return [arm.frame(at_s) for at_s in MINUTE]


def test_it_gives_the_six_joints_in_lerobots_order():
    observation, action = Arm(1).frame(0.0)
    joints = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
    assert list(observation) == list(action) == [f"{joint}.pos" for joint in joints]


def test_an_arm_can_report_its_motors_within_their_limits():
    plain, reporting = Arm(1), Arm(1, servo_health=True)
    for at_s in (*MINUTE[::10], 36_000):
        observation, action = reporting.frame(at_s)
        motors = {servo_name(name): observation.pop(name) for name in list(observation)[6:]}
        assert (observation, action) == plain.frame(at_s)
        assert [name.key for name in motors] == [
            f"{joint.removesuffix('.pos')}.{kind}" for joint in LIMITS for kind in ("temperature", "load")
        ]
        assert all(abs(value) < DEFAULT_LIMITS[name.kind][1] for name, value in motors.items())


@pytest.mark.parametrize("number", [1, 2, 300])
def test_it_stays_within_the_arms_limits(number):
    for observation, action in frames(number):
        for joint, (low, high) in LIMITS.items():
            assert low <= observation[joint] <= high
            assert low <= action[joint] <= high


def test_it_moves_every_joint_smoothly():
    actions = [action for _, action in frames(1)]
    for joint in LIMITS:
        positions = [action[joint] for action in actions]
        assert max(positions) - min(positions) > 20
        assert max(abs(b - a) for a, b in pairwise(positions)) < 6  # 360 degrees a second


def test_it_lets_the_follower_lag_behind_the_leader():
    arm = Arm(1)
    _, then = arm.frame(10.0)
    now, _ = arm.frame(10.0 + LAG_S)
    for joint in LIMITS:
        assert now[joint] == pytest.approx(then[joint], abs=NOISE + 0.002)


def test_it_is_deterministic_and_differs_between_robots():
    assert frames(1) == frames(1)
    assert frames(1)[0] != frames(2)[0]


def test_percentile_returns_the_nearest_rank_value():
    counts = Counter({10: 94, 20: 1, 300: 5})
    assert (percentile(counts, 0.5), percentile(counts, 0.95), percentile(counts, 1)) == (10, 20, 300)


def test_it_keeps_latencies_of_the_last_second_and_in_total():
    latencies = Latencies()
    latencies.add([0.010, 0.020])
    latencies.turn()
    latencies.add([0.0304])
    latencies.turn()
    assert (latencies.second, latencies.total) == ({30: 1}, {10: 1, 20: 1, 30: 1})
    assert in_words(latencies.second) == "ack p50 30 ms, p95 30 ms"
    latencies.turn()
    assert in_words(latencies.second) == "no acks"
