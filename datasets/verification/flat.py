"""Name the values of a frame by their paths, for the verification of exports that keep frames as they are."""

from collections.abc import Iterator
from typing import Any


def flat(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the numbers, the texts, and true and false of a frame with their dotted names; null is no value."""
    if isinstance(data, dict):
        for key in data:
            yield from flat(data[key], (*path, key))
    elif isinstance(data, list):
        for number in range(len(data)):
            yield from flat(data[number], (*path, str(number)))
    elif data is not None:
        yield ".".join(path), data
