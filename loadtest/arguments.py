"""Parse the arguments of `manage.py loadtest`, and reject unusable ones."""

import argparse
import math
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtest.run.plan import SCENARIOS, Options, Run
from loadtest.run.processes import Unusable, answers, program

UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
# Options of which a mode runs one value: a list would be cut without a word.
SINGLE = {
    "--find-max": ("--duration", "--workers", "--scenario"),
    "--sweep": ("--duration", "--workers", "--scenario", "--frames-per-message"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--robots", default="10,30,50,100", help="numbers of robots; one run for each (default %(default)s)")
    add("--duration", default="30", help="seconds that a run measures; a run for each (default %(default)s)")
    add("--database", default="sqlite,postgres", help="sqlite, postgres or both (default both)")
    add("--workers", default="1", help="server processes; more than one needs Redis (default %(default)s)")
    add("--frames-per-message", help="frames in each message, 1 to 600 (default 1; --find-max: 1,6)")
    add("--scenario", default="robots", help="robots (teleop.v1), report (its mute robots) or mixed (its mixed user)")
    add("--cpus", default="1", help="CPUs that the server may use (default %(default)s)")
    add("--memory", default="1g", help="memory that the server may use (default %(default)s)")
    add("--host", default="", help="URL of a running server with ROBOT_AUTH=open; starts no server")
    add("--token", default=os.environ.get("LOADTEST_TOKEN", ""), help="token of the API clients on --host")
    add("--postgres-url", default="", help="URL of a running PostgreSQL; each run creates its own database there")
    add("--output", default="loadtest-report", help="folder of the report (default %(default)s)")
    add("--find-max", action="store_true", help="search for the most robots that are stable, and where it breaks")
    add("--sweep", action="store_true", help="vary flush interval, workers and writer")
    add("--cost", action="store_true", help="calculate the cost of a robot on rented machines from the results")
    add("--compare", nargs=2, metavar=("A.json", "B.json"), help="compare two results; runs no test")
    add("--require", default="", help="conditions such as 'p95_ms<100,failures==0'; exit status 1 if a run misses one")


def parse(options: dict[str, Any]) -> Options:
    """Check the arguments. Raises Unusable."""
    databases = choices("--database", options["database"], ["sqlite", "postgres"])
    scenarios = choices("--scenario", options["scenario"], SCENARIOS)
    host = parse_host(options["host"])
    if host and scenarios != ["robots"]:
        raise Unusable("--host needs --scenario robots: frames of mute robots can only be counted in the database")
    check_single(options)
    batches = options["frames_per_message"] or ("1,6" if options["find_max"] else "1")
    runs = [
        Run(database, robots, workers, frames_per_message, duration_s, scenario)
        for scenario in scenarios
        for database in (["remote"] if host else databases)
        for workers in whole_numbers("--workers", options["workers"], 1, 64)
        for frames_per_message in whole_numbers("--frames-per-message", batches, 1, 600)
        for duration_s in whole_numbers("--duration", options["duration"], 1, 3600)
        for robots in whole_numbers("--robots", options["robots"], 1, 1000)
    ]
    if any(run.duration_s * 60 < run.frames_per_message for run in runs):
        raise Unusable("--frames-per-message is more than a robot sends in --duration; a longer --duration expected")
    return Options(
        runs=runs,
        cpus=parse_cpus(options["cpus"]),
        memory_bytes=parse_memory(options["memory"]),
        host=host,
        token=options["token"],
        postgres_url=options["postgres_url"],
        output=parse_output(options["output"]),
    )


def check_single(options: dict[str, Any]) -> None:
    for mode, names in SINGLE.items():
        for name in names if options[attribute(mode)] else ():
            if "," in (options[attribute(name)] or ""):
                raise Unusable(f"{name} is {options[attribute(name)]!r}; one value expected with {mode}")


def attribute(option: str) -> str:
    """Return the name of an option's value: frames_per_message for --frames-per-message."""
    return option.removeprefix("--").replace("-", "_")


def whole_numbers(name: str, text: str, least: int, most: int) -> list[int]:
    values = text.split(",")
    if not all(re.fullmatch(r"\d{1,9}", value) and least <= int(value) <= most for value in values):
        raise Unusable(f"{name} is {text!r}; whole numbers from {least} to {most} expected, separated by commas")
    return list(dict.fromkeys(map(int, values)))


def choices(name: str, text: str, known: list[str]) -> list[str]:
    values = text.split(",")
    if not set(values) <= set(known):
        raise Unusable(f"{name} is {text!r}; {', '.join(known)} expected")
    return list(dict.fromkeys(values))


def parse_cpus(text: str) -> float:
    try:
        cpus = float(text)
    except ValueError:
        cpus = math.nan
    available = len(os.sched_getaffinity(0))
    if not 0.05 <= cpus <= available:
        raise Unusable(f"--cpus is {text!r}; a number from 0.05 to {available} (the CPUs of this machine) expected")
    return cpus


def parse_memory(text: str) -> int:
    found = re.fullmatch(r"(\d{1,12})([kmg]?)b?", text.lower())
    size = int(found[1]) * UNITS[found[2]] if found else 0
    if size < 64 * 2**20:
        raise Unusable(f"--memory is {text!r}; a size from 64m up expected, such as 512m or 1g")
    return size


def parse_host(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/")):
        raise Unusable(f"--host is {text!r}; a URL such as http://127.0.0.1:8000 expected")
    return text.rstrip("/")


def parse_output(text: str) -> Path:
    folder = Path(text)
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise Unusable(f"--output is {text!r}, which cannot be written")
    return folder


def check_postgres(options: Options) -> None:
    """Check at the start, not after the runs on SQLite. Raises Unusable."""
    if all(run.database != "postgres" for run in options.runs):
        return
    if not options.postgres_url:
        program("initdb")
    elif not answers(options.postgres_url):
        raise Unusable("no PostgreSQL answers at --postgres-url")
