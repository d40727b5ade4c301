from collections.abc import Mapping
from typing import Any


def joint_names(part: Any) -> list[str]:
    """The joints of an observation or action, in the order of the vector, in both shapes that robots send.

    LeRobot's flat `{"shoulder_pan.pos": 1.5}`, and `{"joint_positions": [6 floats]}`, whose joints have numbers only.
    """
    names: list[str] = []
    for name, value in part.items() if isinstance(part, Mapping) else ():
        if name.endswith(".pos") and isinstance(value, int | float):
            names.append(name)
        elif name == "joint_positions" and isinstance(value, list):
            names += [f"{name}.{number}" for number in range(len(value))]
    return names
