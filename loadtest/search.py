"""--find-max: find how many robots are stable, at the limit, and too many, by doubling and then halving the gap."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from loadtest.report.published import PUBLISHED_CAPACITY
from loadtest.report.sections import NAMES, Section
from loadtest.report.verdicts import NONE
from loadtest.run.plan import Run

FIRST, MOST, STEP = 50, 800, 10


class Found(NamedTuple):
    """Result of a search. None: the search never saw this level. `bounded_by`: why it ended before a broken run."""

    stable: int | None
    limit: int | None
    broken: int | None
    bounded_by: str | None


def search(level: Callable[[int], str], first: int = FIRST, most: int = MOST, step: int = STEP) -> Found:
    """Search with `level(robots)`, which runs that many robots and returns stable, limit, broken or no verdict.

    `first` and `most` are multiples of `step`; the search assumes that levels worsen as robots grow.
    """
    seen: dict[int, str] = {}

    def level_of(robots: int) -> str:
        seen[robots] = seen.get(robots) or level(robots)
        return seen[robots]

    robots = first
    while level_of(robots) in ("stable", "limit") and robots * 2 <= most:
        robots *= 2
    for good in ({"stable"}, {"stable", "limit"}):
        low = max((n for n, found in seen.items() if found in good), default=0)
        high = min((n for n, found in seen.items() if found not in good and n > low), default=low)
        while high - low > step:
            middle = (low + high) // 2 // step * step
            low, high = (middle, high) if level_of(middle) in good else (low, middle)
    return summary(seen, most)


def summary(seen: dict[int, str], most: int) -> Found:
    by_level = {word: [n for n, found in seen.items() if found == word] for word in set(seen.values())}
    stable, limit = max(by_level.get("stable", []), default=None), max(by_level.get("limit", []), default=None)
    broken = min(by_level.get("broken", []), default=None)
    if broken is not None:
        return Found(stable, limit, broken, None)
    if by_level.get(NONE):
        return Found(stable, limit, None, f"the generator, from {min(by_level[NONE])} robots")
    return Found(stable, limit, None, f"the search, at {most} robots")


def find_max(runs: list[Run], measure: Callable[[Run], str]) -> list[tuple[Run, Found]]:
    """Search once for each database and size of batch."""
    searched = {(run.database, run.frames_per_message): run for run in runs}.values()
    return [(run, search(partial(_measured, run, measure))) for run in searched]


def _measured(run: Run, measure: Callable[[Run], str], robots: int) -> str:
    return measure(run.having(robots=robots))


def section(found: list[tuple[Run, Found]]) -> Section:
    rows = []
    for run, edges in found:
        reference = PUBLISHED_CAPACITY.get(run.database, {})
        cells = [f"{getattr(edges, name) or '-'}" for name in ("stable", "limit", "broken")]
        cells[2] = f"not found: {edges.bounded_by}" if edges.bounded_by else cells[2]
        published = [f"{reference.get(name) or '-'}" for name in ("stable", "limit", "broken")]
        rows.append([NAMES[run.database], str(run.frames_per_message), *cells, " / ".join(published)])
    text = (
        "Stable means: ack p95 < 100 ms, no failures, CPU < 80 %, the whole rate. At the limit means: p95 < 150 ms, "
        "failures < 1 %, 95 % of the rate. The numbers are the most robots of each level, searched in steps of "
        f"{STEP}."
    )
    columns = ["database", "frames per message", "stable", "at the limit", "breaks at", "published (of send() alone)"]
    return Section("5.1 How many robots", text, columns, rows)
