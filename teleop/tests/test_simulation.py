from itertools import pairwise

import pytest

from teleop.simulation import LAG_S, LIMITS, NOISE, Arm

MINUTE = [n / 60 for n in range(3600)]


def frames(number):
    arm = Arm(number)
    return [arm.frame(at_s) for at_s in MINUTE]


def test_it_gives_the_six_joints_in_lerobots_order():
    observation, action = Arm(1).frame(0.0)
    joints = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
    assert list(observation) == list(action) == [f"{joint}.pos" for joint in joints]


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


def test_it_repeats_a_robot_and_no_two_are_alike():
    assert frames(1) == frames(1)
    assert frames(1)[0] != frames(2)[0]
