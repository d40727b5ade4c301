"""What all robots have in common: the content of their frames, and short delays."""

import math

from teleop_client import Delays

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
SHORT = Delays(first=0.1, most=0.5, slow=0.5, staff=0.5)


def frame_data(number: int) -> dict[str, dict]:
    """Return frame `number` of any robot: two dozen digits that no other frame has."""
    position = {f"{joint}.pos": 90 * math.sin(number / 60 + place) for place, joint in enumerate(JOINTS)}
    return {"observation": position, "action": {joint: angle + 0.5 for joint, angle in position.items()}}
