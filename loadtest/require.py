"""Parse `--require 'p95_ms<100,failures==0'` and `--compare A.json B.json`; pure but for reading the files."""

import json
import operator
import re
from pathlib import Path
from typing import Any, NamedTuple

from loadtest.run.processes import Unusable

OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
SAME_RUN = ("database", "robots", "workers", "frames_per_message", "duration_s")
COMPARED = ("rps", "p50_ms", "p95_ms", "send_p95_ms", "failures", "cpu", "memory_mb", "db_connections")
NUMBERS = (*SAME_RUN[1:], "sent", "acked", "stored", *COMPARED)
CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*([\w.+-]+)\s*")


class Condition(NamedTuple):
    name: str
    sign: str
    bound: float | str

    def holds(self, row: dict[str, Any]) -> bool:
        """Check one condition. A number that was not measured fails every condition."""
        value = row[self.name]
        return value is not None and OPERATORS[self.sign](value, self.bound)

    def __str__(self) -> str:
        bound = self.bound if isinstance(self.bound, str) else f"{self.bound:g}"
        return f"{self.name}{self.sign}{bound}"


def parse_conditions(text: str) -> list[Condition]:
    """Parse the conditions of --require. Raises Unusable."""
    return [parse_condition(part) for part in text.split(",")] if text.strip() else []


def parse_condition(text: str) -> Condition:
    found = CONDITION.fullmatch(text)
    if found and found[1] == "verdict" and found[2] in ("==", "!="):
        return Condition("verdict", found[2], found[3])
    if not found or found[1] not in NUMBERS or not re.fullmatch(r"-?\d+(\.\d+)?", found[3]):
        raise Unusable(
            f"--require has {text.strip()!r}; conditions such as p95_ms<100,failures==0 expected, "
            f"on {', '.join(NUMBERS)} or verdict"
        )
    return Condition(found[1], found[2], float(found[3]))


def misses(conditions: list[Condition], rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"{row['database']}, {row['robots']} robots: {condition} is missed, {condition.name} is {row[condition.name]}"
        for row in rows
        for condition in conditions
        if not condition.holds(row)
    ]


def read_results(path: str) -> list[dict[str, Any]]:
    """Read the rows of a results file. Raises Unusable."""
    try:
        rows = json.loads(Path(path).read_text())["runs"]
        [[row[name] for name in (*SAME_RUN, *COMPARED)] for row in rows]
    except OSError as error:
        raise Unusable(f"--compare: {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise Unusable(f"--compare: {path} is not a results.json of this command") from None
    return rows


def compared(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each number of each run that both files have: its name, both values, and their ratio."""
    known, pairs = by_settings(before), by_settings(after)
    return [
        [run_name(row), name, str(old[name]), str(row[name]), ratio(old[name], row[name])]
        for key, row in pairs.items()
        if (old := known.get(key)) is not None
        for name in COMPARED
        if old[name] is not None or row[name] is not None
    ]


def by_settings(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Key rows by the settings that make two runs the same, and by their order: a row does not name its users."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key, nth = tuple(row[name] for name in SAME_RUN), 0
        while (*key, nth) in found:
            nth += 1
        found[(*key, nth)] = row
    return found


def run_name(row: dict[str, Any]) -> str:
    load = f"{row['robots']} robots, {row['workers']} workers, {row['frames_per_message']} a message"
    return f"{row['database']}, {load}, {row['duration_s']} s"


def ratio(old: float | None, new: float | None) -> str:
    return "-" if old is None or new is None or not old else f"{new / old:.2f}"
