"""meta/modality.json, which GR00T wants beside a v2.1 dataset: the part of the robot that each joint belongs to.

The names are those of GR00T's examples for SO-101, one arm and two: single_arm, gripper, left_arm, left_gripper ...
"""

from itertools import groupby
from typing import Any

from datasets.types import Layout

IMAGES = "observation.images."
SIDES = ("left", "right")


def modality(layout: Layout) -> dict[str, Any]:
    """Return the parts of the state and of the action, the cameras, and where the task is."""
    names = {feature.key: feature.names or () for feature in layout.features}
    return {
        "state": parts(names.get("observation.state", ())),
        "action": parts(names.get("action", ())),
        "video": {camera.key.removeprefix(IMAGES): {"original_key": camera.key} for camera in layout.cameras},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }


def parts(names: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Return the range of columns of each part. A part whose joints are not side by side is numbered: gripper_2."""
    found: dict[str, dict[str, int]] = {}
    begin = 0
    for part, joints in groupby(names, _part_of):
        end = begin + len(list(joints))
        found[_unused(part, found)] = {"start": begin, "end": end}
        begin = end
    return found


def _part_of(name: str) -> str:
    side, _, _ = name.partition("_")
    prefix = f"{side}_" if side in SIDES else ""
    if "gripper" in name:
        return f"{prefix}gripper"
    if name.endswith(".vel"):  # LeKiwi's base: x.vel, y.vel, theta.vel
        return "base"
    return f"{prefix}arm" if prefix else "single_arm"


def _unused(part: str, taken: dict[str, Any]) -> str:
    number, name = 1, part
    while name in taken:
        number += 1
        name = f"{part}_{number}"
    return name
