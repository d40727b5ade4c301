"""Recognize the values that motors report beside their positions, and their limits: no Django, no I/O.

docs/protocol.md has the names, the units and the default limits. `static/teleop/servo.js` recognizes the same names.
"""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

Limit = tuple[float | None, float | None]  # lower and upper; None: no limit

KINDS = ("temperature", "load", "voltage", "current", "error")
MAX_KIND = max(map(len, KINDS))
# For the Feetech STS3215 of the SO-100 and SO-101, in degrees C, %, V and A. By default it reports overheating at 70
# degrees C. LeRobot lets the current protection of its gripper act at 1.6 A. Its arms are supplied with 5, 7.4 or 12 V.
DEFAULT_LIMITS: dict[str, Limit] = {
    "temperature": (None, 65),
    "load": (-90, 90),
    "voltage": (4.5, 13),
    "current": (-2, 2),
    "error": (0, 0),
}
MAX_LIMITS, MAX_NAME = 128, 100  # the live page gets all limits with each answer
MAX_PROBLEMS = 3
EXPECTED = "a number, [lower, upper] or null expected"
NAME = re.compile(
    rf"(?:(?P<motor>.+?)[._/])??(?P<register>present[._/])?(?P<kind>{'|'.join(KINDS)})",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)


class ServoName(NamedTuple):
    """The parts of a name: `shoulder_pan.Present_Load` is the load of shoulder_pan in the register's unit.

    `motor` is empty if the name has only the kind.
    """

    motor: str
    kind: str
    is_register: bool

    @property
    def key(self) -> str:
        return f"{self.motor}.{self.kind}".lower() if self.motor else self.kind


class Limits(NamedTuple):
    """Limits by kind (`temperature`) or by motor and kind (`shoulder_pan.temperature`), and why others are ignored."""

    by_key: dict[str, Limit]
    problems: list[str]

    def of(self, name: ServoName) -> Limit:
        return self.by_key.get(name.key) or self.by_key[name.kind]


def servo_name(name: str) -> ServoName | None:
    """Split the dotted name of a number in an observation; None if the number is no value of a motor."""
    parts = NAME.fullmatch(name) if name[-MAX_KIND:].lower().endswith(KINDS) else None  # the usual name is none
    return ServoName(parts["motor"] or "", parts["kind"].lower(), bool(parts["register"])) if parts else None


def limits_of(*meta_infos: Any) -> Limits:
    """Merge the default limits with `limits` of each meta_info: of the robot first, then of the session.

    A robot or a person may have sent any JSON. A limit that cannot be used is ignored, and `problems` has the reason.
    """
    by_key = dict(DEFAULT_LIMITS)
    problems: list[str] = []
    for meta_info in meta_infos:
        limits = meta_info.get("limits") if isinstance(meta_info, Mapping) else None
        if not isinstance(limits, Mapping | None):
            problems.append(f"limits is {_short(limits)}; an object expected")
            continue
        for name, value in (limits or {}).items():
            parts = servo_name(name) if len(name) <= MAX_NAME else None
            if parts is None:
                problems.append(f"limits has {_short(name)}; a name that ends with {', '.join(KINDS)} expected")
            elif len(by_key) >= MAX_LIMITS and parts.key not in by_key:
                problems.append(f"limits has {_short(name)}; at most {MAX_LIMITS} names expected")
            else:
                try:
                    by_key[parts.key] = _limit(value)
                except (TypeError, ValueError, OverflowError):
                    problems.append(f"limits.{name} is {_short(value)}; {EXPECTED}")
    more = len(problems) - MAX_PROBLEMS
    return Limits(by_key, problems if more <= 0 else [*problems[:MAX_PROBLEMS], f"{more} more limits are ignored"])


def _limit(value: Any) -> Limit:
    """Return the range of a limit; a number n stands for -n to n. Raises TypeError, ValueError or OverflowError."""
    if value is None:
        return None, None
    if not isinstance(value, list):
        upper = _number(value)
        value = [0 - upper, upper]
    lower, upper = (None if bound is None else _number(bound) for bound in value)
    if lower is not None and upper is not None and lower > upper:
        raise ValueError
    return lower, upper


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not isfinite(number := float(value)):
        raise TypeError
    return number


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)[:40]
