"""How much meta_info may be: REST, the admin and robots hold it to the same."""

import json

# As a robot may say of its session: docs/protocol.md, and what orjson writes.
MAX_META_BYTES = 2**16
MAX_META_LEVELS = 254


def problem_with(meta_info: dict) -> str | None:
    """By the standard library, as a database may give back integers past 64 bits, which orjson does not write."""
    if (levels := _levels(meta_info)) > MAX_META_LEVELS:
        return f"{levels} levels deep; at most {MAX_META_LEVELS} expected"
    size = len(json.dumps(meta_info, ensure_ascii=False, separators=(",", ":")).encode())
    return f"{size} bytes as compact JSON; at most {MAX_META_BYTES} expected" if size > MAX_META_BYTES else None


def _levels(value) -> int:
    levels, layer = 0, [value]
    while layer := [each for each in layer if isinstance(each, dict | list)]:
        levels += 1
        layer = [child for each in layer for child in (each.values() if isinstance(each, dict) else each)]
    return levels
