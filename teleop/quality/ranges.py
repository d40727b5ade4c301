"""Compare the quality of a session with the usual range of its task: no Django, no I/O."""

import math
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

NUMBERS = ("idle_share", "jerk", "fps_jitter", "missing_frames", "duration_s")
LEAST_SESSIONS = 8
UNKNOWN: dict[str, str | None] = dict.fromkeys((*NUMBERS, "overall"))
# Tukey's fences, but no closer to the median than a tenth of it: the numbers of simulated robots hardly differ.
FENCE, LEAST_MARGIN = 1.5, 0.1


def usual_ranges(qualities: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return `[low, high]` of each number that at least LEAST_SESSIONS of these qualities have."""
    columns = {name: [quality[name] for quality in qualities if _is_number(quality.get(name))] for name in NUMBERS}
    return {name: _usual_range(values) for name, values in columns.items() if len(values) >= LEAST_SESSIONS}


def judge(quality: Mapping[str, Any] | None, ranges: Mapping[str, Sequence[float]]) -> dict[str, str | None]:
    """Return `low`, `high` or `usual` for each number, None if it is not known; and `overall`.

    `overall` is `unusual` if one number is low or high, and None if there is nothing to compare.
    """
    if not quality or not ranges:
        return UNKNOWN
    words = {name: _word(quality.get(name), ranges.get(name)) for name in NUMBERS}
    known = {word for word in words.values() if word}
    return words | {"overall": ("usual" if known == {"usual"} else "unusual") if known else None}


def _usual_range(values: Sequence[float]) -> list[float]:
    first, _, third = quantiles(values, n=4, method="inclusive")
    middle = median(values)
    margin = FENCE * (third - first)
    low = min(first - margin, middle - LEAST_MARGIN * middle)
    high = max(third + margin, middle + LEAST_MARGIN * middle)
    return [max(0.0, low), high]


def _word(value: Any, bounds: Sequence[float] | None) -> str | None:
    if bounds is None or not _is_number(value):
        return None
    low, high = bounds
    return "low" if value < low else "high" if value > high else "usual"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
