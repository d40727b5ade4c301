"""Read the payload of a topic of lerobot's scalars: `{"scalars": [{"label": "gripper.pos", "value": 1.5}]}`."""

import json
from typing import Any

EXPECTED = 'a list of {"label": text, "value": number} in "scalars" expected'


def scalars(payload: memoryview) -> dict[str, float | None]:
    """Return the values by their labels. Raises ValueError. NaN stays NaN, and null is None."""
    try:
        message = json.loads(bytes(payload))
    except (ValueError, RecursionError):
        raise ValueError(f"a message of {len(payload)} bytes is no JSON; {EXPECTED}") from None
    entries = message.get("scalars") if isinstance(message, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"scalars is {str(entries)[:40]!r}; {EXPECTED}")
    return dict(_entry(each) for each in entries)


def _entry(entry: Any) -> tuple[str, float | None]:
    label, value = (entry.get("label"), entry.get("value")) if isinstance(entry, dict) else (None, None)
    is_number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if not isinstance(label, str) or not is_number:
        raise ValueError(f"scalars contains {str(entry)[:80]}; {EXPECTED}")
    return label, value
