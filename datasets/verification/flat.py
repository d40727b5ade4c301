"""Name the values of a frame by their paths, for the verification of exports that keep frames as they are."""

from typing import Any


def flat(data: Any, prefix: str = "", found: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the numbers, the texts, and true and false of a frame by their dotted names; null is no value."""
    found = {} if found is None else found
    for key, value in data.items() if type(data) is dict else enumerate(data):
        if type(value) is dict or type(value) is list:
            flat(value, f"{prefix}{key}.", found)
        elif value is not None:
            found[f"{prefix}{key}"] = value
    return found
