from collections.abc import Iterator, Mapping
from typing import Any


def joint_names(part: Any) -> list[str]:
    """Return the joints of an observation or action in the order of the vector. Robots send two shapes:

    LeRobot's flat `{"shoulder_pan.pos": 1.5}`, and `{"joint_positions": [6 floats]}`, where joints have only numbers.
    """
    return [name for name, _ in _joints(part)]


def joint_values(part: Any) -> list[float | None]:
    """Return the positions of the joints in the same order; None if a position is not a number."""
    return [value if type(value) in (int, float) else None for _, value in _joints(part)]


def _joints(part: Any) -> Iterator[tuple[str, Any]]:
    for name, value in part.items() if isinstance(part, Mapping) else ():
        if name.endswith(".pos") and isinstance(value, int | float):
            yield name, value
        elif name == "joint_positions" and isinstance(value, list):
            yield from ((f"{name}.{number}", each) for number, each in enumerate(value))
