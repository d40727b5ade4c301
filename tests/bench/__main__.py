"""Measure ack latency and CPU of each frame, beside the baseline: `python -m tests.bench [CASE ...]`.

The server has core 0 for itself and 1 GB (a cgroup if root may make one, else the affinity alone); PostgreSQL and
the load have core 1, so that two cores are needed. Prints each run as JSON and then a table of the medians for each
scenario. `--tree FOLDER` (repeatable) measures other working copies of the project, in turns in the same run.
"""

import argparse
import gc
import json
import os
import resource
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import uvloop

from tests.bench import locked_rows, scenarios
from tests.bench.serving import LOAD_CORE, Case, Databases, Site, family, serving
from tests.services import ROOT, free_port, postgres, redis

UNLIMITED = dict.fromkeys(
    (
        "CONNECTIONS_PER_ADDRESS",
        "CONNECTIONS_PER_WORKER",
        "HTTP_CONNECTIONS_PER_ADDRESS",
        "HTTP_REQUESTS_PER_ADDRESS",
        "REFUSALS_PER_ADDRESS",
    ),
    "0",
)
DESCRIPTORS = 8192


class Benchmark(NamedTuple):
    """A scenario on a server. `seconds` is its duration (0: that of --seconds).

    `compared_with` runs before it in each turn; without it a benchmark is compared with itself.
    """

    scenario: Callable[..., Awaitable[scenarios.Figures]]
    case: Case
    seconds: int = 0
    auths: tuple[str, ...] = ("open", "key")
    compared_with: str = "baseline"
    is_usual: bool = True  # it runs if the command names no benchmark
    is_long: bool = False  # its database holds the long session


def steady(case: Case, **options) -> Benchmark:
    scenario = partial(scenarios.steady, robots=case.robots, per_message=case.per_message)
    return Benchmark(scenario, case, **{"auths": ("open",)} | options)


def connecting(case: Case, newcomers: int, strangers: int = 0, **options) -> Benchmark:
    scenario = partial(scenarios.connect_together, robots=case.robots, newcomers=newcomers, strangers=strangers)
    return Benchmark(scenario, case._replace(settings=UNLIMITED), ARRIVE_S, **options)


POSTGRES, SQLITE = Case("postgres"), Case("sqlite")
ARRIVE_S = 90
BENCHMARKS = {
    "baseline": steady(Case("postgres", kind="baseline"), compared_with=""),
    "postgres-100": steady(POSTGRES, auths=("open", "key")),
    "postgres-150": steady(Case("postgres", 150)),
    "postgres-300x6": steady(Case("postgres", 300, 6)),
    "sqlite-100": steady(SQLITE),
    "postgres-100-2workers": steady(Case("postgres", workers=2), is_usual=False),
    "postgres-100-4workers": steady(Case("postgres", workers=4), is_usual=False),
    "postgres-200": steady(Case("postgres", 200), is_usual=False),
    "postgres-200-2workers": steady(Case("postgres", 200, workers=2), is_usual=False),
    "postgres-200-4workers": steady(Case("postgres", 200, workers=4), is_usual=False),
    "sqlite-100-2workers": steady(Case("sqlite", workers=2), is_usual=False),
    "start": Benchmark(scenarios.start_together, POSTGRES, 15),
    "accept-and-greet": connecting(Case("", 0, kind="accept_and_greet"), 1000, auths=("open",), compared_with=""),
    "connect": connecting(POSTGRES, 1000, compared_with="accept-and-greet"),
    "connect-wrong-keys": connecting(POSTGRES, 1000, 1000, auths=("key",), compared_with="accept-and-greet"),
    "locks": Benchmark(locked_rows.hold_locks, POSTGRES, 6),
    "parked": Benchmark(locked_rows.park_one, POSTGRES, 15),
    "parked-120": Benchmark(locked_rows.park_one, POSTGRES, 120, is_usual=False),
    "sqlite-connect": connecting(SQLITE, 100),
    "sqlite-end": Benchmark(scenarios.end_long_session, SQLITE, 60, is_long=True),
}


def run(
    benchmark: Benchmark, seconds: int, auth: str, tree: Path, databases: Databases, redis_url: str
) -> scenarios.Figures:
    case, port = benchmark.case, free_port()
    load_average = round(os.getloadavg()[0], 2)
    with ExitStack() as stack:
        url = ""
        if case.database:
            content = (case.database, auth == "key", benchmark.is_long)
            url = stack.enter_context(databases.copy(tree, *content))
        env = os.environ | {"DATABASE_URL": url, "SECRET_KEY": "bench", "ROBOT_AUTH": auth, "DEBUG": "0"}
        env |= {"NEW_ROBOTS_PER_ADDRESS": "0", "REDIS_URL": redis_url if case.workers > 1 else "", **case.settings}
        process, limits = stack.enter_context(serving(case, port, env, tree))
        site = Site(port, url, auth, family(process), limits)
        gc.collect()  # collect the garbage of the run before
        parts = uvloop.run(benchmark.scenario(site, seconds=benchmark.seconds or seconds))
        rss_mb = round(sum(process.memory_info().rss for process in site.processes) / 2**20)
    about = {"rss_mb": rss_mb, "load_average": load_average, "limits": limits}
    return {part: figures | about for part, figures in parts.items()}


def compare(figures: dict, baseline: dict) -> dict:
    """Return the ratios to the figures of the baseline, or of its substitute, in the same turn."""
    compared = [name for name in ("us_a_frame", "p99_ms", "all_greeted_s") if name in figures and name in baseline]
    ratios = {f"{name}_x": figures[name] / baseline[name] for name in compared}
    if "max_ms" in figures and "max_ms" in baseline:
        ratios["max_ms_over"] = figures["max_ms"] - baseline["max_ms"]
    return {name: round(ratio, 2) for name, ratio in ratios.items()}


def chosen(cases: list[str]) -> list[str]:
    """Return the names of the benchmarks to run, in the order of the table, and of those to which they are compared."""
    wanted = set(cases) or {name for name, benchmark in BENCHMARKS.items() if benchmark.is_usual}
    wanted |= {BENCHMARKS[name].compared_with for name in wanted}
    return [name for name in BENCHMARKS if name in wanted]


def planned(options: argparse.Namespace) -> Iterator[tuple[int, str, str, Path]]:
    """Yield turn, benchmark, auth and tree of each run; the baseline is the same with any auth and tree."""
    for turn in range(1, options.runs + 1):
        for name in chosen(options.cases):
            benchmark = BENCHMARKS[name]
            if benchmark.case.kind == "serve":
                auths = [auth for auth in benchmark.auths if auth in options.auth]
                yield from ((turn, name, auth, tree) for auth in auths for tree in options.tree)
            else:
                yield turn, name, "open", options.tree[0]


def measure(options: argparse.Namespace) -> dict[str, list[dict]]:
    """Run all benchmarks in turns; return the figures of each run, by row of the table."""
    results: dict[str, list[dict]] = {}
    latest: dict[str, dict] = {}
    with postgres() as database, redis() as channels, tempfile.TemporaryDirectory() as folder:
        databases = Databases(database, Path(folder))
        for turn, name, auth, tree in planned(options):
            benchmark = BENCHMARKS[name]
            row = f"{name} {auth} {tree.name}" if benchmark.case.kind == "serve" else name
            parts = run(benchmark, options.seconds, auth, tree, databases, channels.url)
            for part, figures in parts.items():
                figures |= compare(figures, latest.get(benchmark.compared_with, figures))
                print(turn, row, part, json.dumps(figures), flush=True)
                results.setdefault(f"{row} {part}".strip(), []).append(figures)
                latest[name] = figures
    return results


def print_tables(results: dict[str, list[dict]]) -> None:
    shown: list[str] = []
    for row, runs in results.items():
        columns = [name for name, figure in runs[0].items() if isinstance(figure, int | float)]
        if columns != shown:
            print("\n| case |", " | ".join(columns), "|\n|", " --- |" * (len(columns) + 1))
            shown = columns
        print("|", row, "|", " | ".join(f"{statistics.median(run[c] for run in runs):g}" for c in columns), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(BENCHMARKS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each run of the steady cases")
    parser.add_argument("--auth", nargs="*", choices=["open", "key"], default=["open", "key"])
    parser.add_argument("--tree", type=Path, action="append", help="the project's folder; this one if none is given")
    options = parser.parse_args()
    options.tree = [tree.resolve() for tree in options.tree or [ROOT]]
    if unknown := set(options.cases) - set(BENCHMARKS):
        parser.error(f"unknown cases {', '.join(sorted(unknown))}; expected of {', '.join(BENCHMARKS)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))  # inherited by the servers
    psutil.Process().cpu_affinity([LOAD_CORE])  # inherited by PostgreSQL and Redis
    gc.disable()  # with the tasks of 2,000 handshakes one collection takes 0.1 s, in which the load reads no ack
    print_tables(measure(options))


if __name__ == "__main__":
    main()
