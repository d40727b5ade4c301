"""What a frame costs, beside the floor, in one run: `python -m tests.bench --runs 3 --seconds 10 [CASE ...]`.

The server has core 0 for itself and 1 GB (a cgroup where root may make one, else the affinity alone: the last line
says which); PostgreSQL and the load have core 1. Prints each run, then medians as a table. Needs two cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.services import free_port, postgres, redis, wait_until

HERE = Path(__file__).parent
MEMORY_BYTES = 2**30
LAST_CHARACTERS = 10_000
CGROUP = Path("/sys/fs/cgroup/memory")


class Case(NamedTuple):
    database: str
    robots: int
    per_message: int = 1
    workers: int = 1
    is_floor: bool = False


CASES = {
    "floor": Case("postgres", 100, is_floor=True),
    "postgres-100": Case("postgres", 100),
    "postgres-150": Case("postgres", 150),
    "postgres-300x6": Case("postgres", 300, 6),
    "sqlite-100": Case("sqlite", 100),
    "postgres-100-2workers": Case("postgres", 100, workers=2),
    "postgres-100-4workers": Case("postgres", 100, workers=4),
    "postgres-200": Case("postgres", 200),
    "postgres-200-2workers": Case("postgres", 200, workers=2),
    "postgres-200-4workers": Case("postgres", 200, workers=4),
    "sqlite-100-2workers": Case("sqlite", 100, workers=2),
}


@contextmanager
def limited_memory(name: str):
    """The file into which a pid is written to limit that process to 1 GB; None where no such group can be made."""
    group = CGROUP / name
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(MEMORY_BYTES))
    except OSError:
        yield None
    else:
        yield group / "cgroup.procs"
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def family(process: subprocess.Popen) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in processes)


@contextmanager
def shown_if_it_fails():
    """A file for the server's log, which has a line a connection."""
    with tempfile.TemporaryFile("w+") as log:
        try:
            yield log
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-LAST_CHARACTERS:])
            raise


@contextmanager
def serving(case: Case, port: int, env: dict):
    if case.is_floor:
        command = [sys.executable, HERE / "floor.py", str(port)]
    else:
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], env=env, check=True)
        command = [sys.executable, "manage.py", "serve", "--port", str(port), "--workers", str(case.workers)]
    with ExitStack() as stack:
        log = stack.enter_context(shown_if_it_fails())
        group = stack.enter_context(limited_memory(f"bench-{port}"))
        process = stack.enter_context(subprocess.Popen(command, env=env, stdout=log, stderr=log))
        stack.callback(process.terminate)
        psutil.Process(process.pid).cpu_affinity([0])
        if group:
            group.write_text(str(process.pid))
        wait_until(lambda: listening(family(process), port) == case.workers, 30, "the server listens")
        time.sleep(1.5)  # start-up is not what is measured
        yield process, "affinity, and a cgroup of 1 GB" if group else "affinity only"


def listening(processes: list[psutil.Process], port: int) -> int:
    connections = [connection for each in processes for connection in each.net_connections("tcp")]
    return sum(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)


def run(case: Case, seconds: int, postgres_service, redis_service) -> dict:
    port = free_port()
    name = f"bench_{port}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if case.database == "postgres":
            url = postgres_service.create_database(name)
            stack.callback(postgres_service.drop_database, name)
        else:
            url = f"sqlite:///{folder}/bench.sqlite3"
        env = {**os.environ, "DATABASE_URL": url, "SECRET_KEY": "bench", "ROBOT_AUTH": "open", "DEBUG": "0"}
        env["REDIS_URL"] = redis_service.url if case.workers > 1 else ""
        process, limits = stack.enter_context(serving(case, port, env))
        server = family(process)
        load = [sys.executable, HERE / "load.py", str(port), str(case.robots), str(seconds), str(case.per_message)]
        with subprocess.Popen(load, stdout=subprocess.PIPE, text=True) as generator:
            generator.stdout.readline()  # all are connected: handshakes are not what is measured
            before = cpu_s(server)
            result = json.loads(generator.stdout.readline())
            used = cpu_s(server) - before
        return {
            **result,
            "us_a_frame": round(used / result["sent"] * 1e6, 1),
            "server_cpu": round(used / seconds, 2),
            "rss_mb": round(sum(each.memory_info().rss for each in server) / 2**20),
            "limits": limits,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), choices=[*CASES, list(CASES)])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    results: dict[str, list[dict]] = {name: [] for name in options.cases}
    psutil.Process().cpu_affinity([1])  # inherited by PostgreSQL and Redis
    with postgres() as postgres_service, redis() as redis_service:
        for turn in range(options.runs):
            for name in options.cases:
                result = run(CASES[name], options.seconds, postgres_service, redis_service)
                results[name].append(result)
                print(turn + 1, name, json.dumps(result), flush=True)
    columns = ["sent", "acked", "p50_ms", "p95_ms", "us_a_frame", "server_cpu", "rss_mb", "load_cpu"]
    print("\n| case |", " | ".join(columns), "|\n|", " --- |" * (len(columns) + 1))
    for name, runs in results.items():
        print("|", name, "|", " | ".join(f"{statistics.median(each[c] for each in runs):g}" for c in columns), "|")


if __name__ == "__main__":
    main()
