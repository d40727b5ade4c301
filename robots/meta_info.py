"""Limits of meta_info, which are the same for REST, the admin and robots."""

import json

# The limits of a robot's session (docs/protocol.md), and the nesting that orjson writes.
MAX_META_BYTES = 2**16
MAX_META_LEVELS = 254


def problem_with(meta_info: dict) -> str | None:
    """Return the limit that meta_info exceeds, or None.

    The size is that of the standard library's JSON, as a database may return integers past 64 bits, which orjson does
    not write.
    """
    if (levels := _levels(meta_info)) > MAX_META_LEVELS:
        return f"{levels} levels deep; at most {MAX_META_LEVELS} expected"
    size = len(json.dumps(meta_info, ensure_ascii=False, separators=(",", ":")).encode())
    return f"{size} bytes as compact JSON; at most {MAX_META_BYTES} expected" if size > MAX_META_BYTES else None


def _levels(value) -> int:
    levels, layer = 0, [value]
    while layer := [item for item in layer if isinstance(item, dict | list)]:
        levels += 1
        layer = [child for item in layer for child in (item.values() if isinstance(item, dict) else item)]
    return levels
