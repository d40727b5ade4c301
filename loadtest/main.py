"""The command from its arguments to its exit status."""

import fcntl
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest import results
from loadtest.arguments import parse
from loadtest.processes import Unusable
from loadtest.progress import Progress
from loadtest.runner import Bench


def main(options: dict) -> int:
    plan = parse(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with only_one(), Progress(len(plan.runs)) as progress, Bench(plan, progress.watch) as bench:
        try:
            for run in plan.runs:
                progress.done(bench.run(run))
                if bench.was_interrupted:
                    break
        except KeyboardInterrupt:
            bench.was_interrupted = True
        machine = results.machine(bench.how, bench.databases)
        results.write_json(
            plan.output / "results.json", {"machine": machine, "runs": [d["row"] for d in bench.details]}
        )
        results.write_json(plan.output / "details.json", {"machine": machine, "runs": bench.details})
    is_sound = not bench.was_interrupted and all(not detail["problems"] for detail in bench.details)
    return 0 if is_sound else 1


@contextmanager
def only_one() -> Iterator[None]:
    """Two at a time would measure each other."""
    with (Path(tempfile.gettempdir()) / "teleop-loadtest.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unusable("another load test runs on this machine: two would measure each other") from None
        yield
