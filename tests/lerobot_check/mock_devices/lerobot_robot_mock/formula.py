"""The values of the mock arm and of its leader, by the number of the loop's turn."""

import math

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
KEYS = tuple(f"{joint}.pos" for joint in JOINTS)
NUMBER = "wrist_roll.pos"  # this joint shows the number itself
GRIPPER = "gripper.pos"
GRIPPER_MAX = 100.0  # the arm moves its gripper no further


def positions(number: int) -> dict[str, float]:
    t = number / 30
    values = (30 * math.sin(t), -20 * math.cos(t), 10 * t, math.sqrt(number), float(number), 50 + 40 * math.sin(2 * t))
    return dict(zip(KEYS, values, strict=True))


def target(number: int) -> dict[str, float]:
    """Return the leader's action: in each second it asks for a gripper beyond GRIPPER_MAX once."""
    action = {key: value + 0.5 for key, value in positions(number).items()}
    return action | ({GRIPPER: GRIPPER_MAX + 20.25} if number % 30 == 7 else {})


def clipped(action: dict[str, float]) -> dict[str, float]:
    """Return the action that the arm carries out."""
    return action | {GRIPPER: min(action[GRIPPER], GRIPPER_MAX)}
