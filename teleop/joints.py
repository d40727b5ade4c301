from collections.abc import Iterator, Mapping
from typing import Any


def joint_names(part: Any) -> list[str]:
    """The joints of an observation or action, in the order of the vector, in both shapes that robots send.

    LeRobot's flat `{"shoulder_pan.pos": 1.5}`, and `{"joint_positions": [6 floats]}`, whose joints have numbers only.
    """
    return [name for name, _ in _joints(part)]


def joint_values(part: Any) -> list[float | None]:
    """Their positions in the same order, None where it is no number."""
    return [value if type(value) in (int, float) else None for _, value in _joints(part)]


def _joints(part: Any) -> Iterator[tuple[str, Any]]:
    for name, value in part.items() if isinstance(part, Mapping) else ():
        if name.endswith(".pos") and isinstance(value, int | float):
            yield name, value
        elif name == "joint_positions" and isinstance(value, list):
            yield from ((f"{name}.{number}", each) for number, each in enumerate(value))
