"""Measure the cost of deleting old sessions for streaming robots: `python -m tests.bench.prune --frames 5000000`.

50 robots on PostgreSQL: ack p95 without and then with `manage.py prune`, which deletes that many frames; fails past 1.5
times. Cores as in `python -m tests.bench`, `prune` beside PostgreSQL and the load; 5,000,000 frames take 3 GB.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import psycopg

from tests.bench.serving import Case, serving
from tests.services import free_port, postgres, wait_until

CASE = Case("postgres", 50)
MOST_RATIO = 1.5
QUALITY_DUE = "SELECT count(*) FROM teleop_teleopsession WHERE quality IS NULL"


def streaming(port: int, meanwhile: Callable[[], None]) -> dict:
    """Return the load's measurements from its start to the end of `meanwhile`."""
    load = [sys.executable, "-m", "tests.bench.load", str(port), str(CASE.robots), "0", str(CASE.per_message)]
    with subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as generator:
        generator.stdout.readline()  # all are connected
        meanwhile()
        generator.stdin.close()
        return json.loads(generator.stdout.read())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=5_000_000)
    parser.add_argument("--seconds", type=int, default=30, help="without prune; with it, as long as it takes")
    options = parser.parse_args()
    psutil.Process().cpu_affinity([1])  # inherited by PostgreSQL, the load and prune
    took_s = 0.0

    def prune() -> None:
        nonlocal took_s
        began = time.monotonic()
        command = [sys.executable, "manage.py", "prune", "--older-than", "1d"]
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
        took_s = time.monotonic() - began

    with postgres() as service:
        port = free_port()
        env = os.environ | {"DATABASE_URL": service.url, "SECRET_KEY": "bench", "ROBOT_AUTH": "open", "DEBUG": "0"}
        env["REDIS_URL"] = ""
        fill = [sys.executable, "-m", "tests.bench.fill", "--frames", str(options.frames)]
        subprocess.run(fill, env=env, check=True)
        with serving(CASE, port, env) as (_, limits):
            service.execute("CHECKPOINT")  # writes the filled pages
            without = streaming(port, lambda: time.sleep(options.seconds))
            print("without prune", json.dumps(without), flush=True)
            with psycopg.connect(service.url, autocommit=True) as database:  # of the sessions that have just ended
                wait_until(lambda: not database.execute(QUALITY_DUE).fetchone()[0], 300, "quality")
            meanwhile = streaming(port, prune)
            print("with prune", json.dumps(meanwhile), limits, flush=True)
    ratio = meanwhile["p95_ms"] / without["p95_ms"]
    print(f"\nack p95: {without['p95_ms']} ms without, {meanwhile['p95_ms']} ms with prune: {ratio:.2f} x")
    print(f"prune: {options.frames:,} frames in {took_s:.1f} s, {options.frames / took_s:,.0f} a second")
    return int(ratio > MOST_RATIO)


if __name__ == "__main__":
    sys.exit(main())
