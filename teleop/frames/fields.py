"""Names in a frame, dotted: `observation.shoulder_pan.pos` or `observation.joint_positions.0`."""

from collections.abc import Iterable, Iterator
from typing import Any

HEAD = ("frame_index", "timestamp")


class TooManyColumns(Exception):
    """The fields select more numbers than a table may have columns."""

    def __init__(self, count: int, most: int):
        self.count, self.most = count, most
        super().__init__(f"fields selects {count} numbers; at most {most} expected")


def is_selected(name: str, fields: Iterable[str]) -> bool:
    """Return True if a field is this name or a parent of it, or if there are no fields."""
    return not fields or any(name == field or name.startswith(f"{field}.") for field in fields)


def select(value: dict[str, Any], fields: Iterable[str], prefix: str = "") -> dict[str, Any]:
    """Return the selected parts of a frame, in their place and order; a list is selected as a whole."""
    selected = {}
    for key, part in value.items():
        name = f"{prefix}{key}"
        if is_selected(name, fields):
            selected[key] = part
        elif isinstance(part, dict) and (below := select(part, fields, f"{name}.")):
            selected[key] = below
    return selected


def names_of(value: Any, prefix: str = "") -> Iterator[str]:
    """Yield all names in a frame that a field can select: the keys of objects and the indexes of lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        name = f"{prefix}{key}"
        yield name
        yield from names_of(part, f"{name}.")


def numbers_of(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield all numbers in a frame with their names, true and false as 1 and 0; other values are skipped."""
    match value:
        case dict():
            parts: Iterable[tuple[Any, Any]] = value.items()
        case list():
            parts = enumerate(value)
        case bool() | int() | float():
            yield name, float(value)
            return
        case _:
            return
    for key, part in parts:
        yield from numbers_of(part, f"{name}.{key}" if name else key)
