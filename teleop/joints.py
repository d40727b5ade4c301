from collections.abc import Iterator, Mapping
from typing import Any

from teleop.servo import servo_name

VECTORS = ("joint_positions", "state")


def part_of(data: Mapping[str, Any], part: str) -> Any:
    """Return a frame's `observation` or `action`; of LeRobot's flat keys (`observation.state`) without the prefix."""
    if part in data:
        return data[part]
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)}


def joint_names(part: Any) -> list[str]:
    """Return the joints of an observation or action in the order of the vector.

    Robots send three shapes: LeRobot's `{"shoulder_pan.pos": 1.5}`; a list under `joint_positions` or LeRobot's
    `state`, where joints have only numbers; and a list in place of the action. If no name tells a position, all numbers
    are joints, also those in objects and in other lists, except the values of motors.
    """
    named = [name for name, _ in _joints(part)]
    return named or [name for name, value in _others(part) if type(value) in (int, float)]


def joint_values(part: Any) -> list[float | None]:
    """Return the positions of the joints in the same order; None if a position is not a number."""
    return [value if type(value) in (int, float) else None for _, value in _joints(part)]


def other_values(part: Any) -> Iterator[float | None]:
    """Yield the values that are not of motors: true is 1, false is 0, and None takes the place of a text.

    For robots whose names do not tell which numbers are positions. The order is that of the live page.
    """
    for _, value in _others(part):
        yield None if isinstance(value, str) else value if type(value) is float else int(value)


def _others(part: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and the values of all leaves except nulls and the values of motors."""
    if isinstance(part, Mapping | list):
        children = part.items() if isinstance(part, Mapping) else enumerate(part)
        for key, child in children:
            yield from _others(child, f"{name}.{key}" if name else str(key))
    elif part is not None and not servo_name(name):
        yield name, part


def _joints(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, list):
        yield from ((str(number), value) for number, value in enumerate(part))
    for name, value in part.items() if isinstance(part, Mapping) else ():
        if name.endswith(".pos") and isinstance(value, int | float | None):
            yield name, value
        elif name in VECTORS and isinstance(value, list):
            yield from ((f"{name}.{number}", each) for number, each in enumerate(value))
