"""Run the command from its arguments to its exit status."""

import fcntl
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest import require, search, sweep
from loadtest.arguments import check_postgres, parse
from loadtest.progress import Progress
from loadtest.report import cost, html, results
from loadtest.report.sections import Section, sections
from loadtest.report.verdicts import level
from loadtest.run.plan import Options, Run
from loadtest.run.processes import Unusable
from loadtest.run.remote import check_host
from loadtest.run.runner import Bench


def main(arguments: dict[str, Any]) -> int:
    if arguments["compare"]:
        return compare(*arguments["compare"])
    conditions = require.parse_conditions(arguments["require"])
    options = parse(arguments)
    check_host(options)
    with exclusive():
        check_postgres(options)
        options.output.mkdir(parents=True, exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):  # a shell starts background commands with SIGINT ignored
            signal.signal(number, signal.default_int_handler)
        with Progress() as progress, Bench(options, progress.watch) as bench:
            if not bench.limits.are_whole:
                progress.print_line(f"limits: {bench.limits_description}")
            extra = measure(options, arguments, bench, progress)
            write(options, bench, extra)
    missed = require.misses(conditions, [detail["row"] for detail in bench.details])
    for line in missed:
        progress.print_line(line)
    progress.print_line(f"the report is in {options.output}")
    is_sound = not bench.was_interrupted and not any(detail["problems"] for detail in bench.details)
    return 0 if is_sound and not missed else 1


def measure(options: Options, arguments: dict[str, Any], bench: Bench, progress: Progress) -> list[Section]:
    """Run the requested measurements; return the sections that the report has beside its rows."""
    sections = []

    def measured(run: Run) -> dict[str, Any]:
        detail = bench.run(run)
        progress.done(detail)
        if bench.was_interrupted:
            raise KeyboardInterrupt
        return detail

    try:
        if arguments["find_max"]:
            sections.append(search.section(search.find_max(options.runs, lambda run: level(measured(run)["row"]))))
        if arguments["sweep"]:
            sections.append(sweep.section([measured(run) for run in sweep.runs(options.runs)]))
        if not (arguments["find_max"] or arguments["sweep"]):
            for run in options.runs:
                measured(run)
    except KeyboardInterrupt:
        bench.was_interrupted = True
        progress.print_line("interrupted: the report contains the results until now")
    except Unusable as error:
        if not bench.details:
            raise
        bench.was_interrupted = True  # the runs measured before the interruption still get a report
        progress.print_line(str(error))
    if arguments["cost"]:
        sections.append(cost.section([detail["row"] for detail in bench.details], options.cpus))
    return sections


def write(options: Options, bench: Bench, extra: list[Section]) -> None:
    machine = results.machine(bench.limits_description, bench.databases)
    rows = [detail["row"] for detail in bench.details]
    results.write_json(options.output / "results.json", {"machine": machine, "runs": rows})
    results.write_json(options.output / "details.json", {"machine": machine, "runs": bench.details})
    html.write(options.output, sections(machine, bench.details, extra), bench.details)


def compare(before: str, after: str) -> int:
    rows = require.compared(require.read_results(before), require.read_results(after))
    if not rows:
        raise Unusable(
            "--compare: the results have no run in common (database, robots, workers, frames per message, duration)"
        )
    with Progress() as progress:
        progress.table(["run", "number", "A", "B", "B / A"], rows)
    return 0


@contextmanager
def exclusive() -> Iterator[None]:
    """Allow one load test at a time: two would measure each other."""
    with (Path(tempfile.gettempdir()) / "teleop-loadtest.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unusable("another load test is running on this machine; wait until it ends") from None
        yield
