"""Leak test: 50 robots for 20 minutes against one worker on PostgreSQL: `make soak`, or with SOAK_MINUTES=60.

Twice a minute: RSS and descriptors of the server, ack p95, size of the database; in soak-report.md too. Exits with 1
where RSS grows by 1 MB in 10 minutes or more after the warm-up, descriptors grow, or a frame is not stored.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg

from tests.services import Server, postgres

MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))
ROBOTS = int(os.environ.get("SOAK_ROBOTS", "50"))
SAMPLE_S = 30
WARM_UP = 0.25  # share of the run: pools fill, caches grow
MOST_MB_IN_10_MINUTES = 1.0


class Sample(NamedTuple):
    minute: float
    rss_mb: float
    descriptors: int
    p95_ms: float
    database_mb: float


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="teleop-soak-") as folder, postgres() as database:
        url = database.create_database("soak")
        settings = {"DATABASE_URL": url, "REDIS_URL": "", "SECRET_KEY": "soak", "ROBOT_AUTH": "open"}
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "-v0"], env=os.environ | settings, check=True)
        server = Server(Path(folder), **settings, BACKGROUND_WORK="serve").start()
        fleet = [*manage, "simulate", "--robots", str(ROBOTS), "--duration", str(MINUTES * 60), "--url", server.url]
        lines = Path(folder) / "fleet.log"
        try:
            with lines.open("w") as output:
                robots = subprocess.Popen(fleet, env=os.environ | settings, stdout=output, stderr=subprocess.STDOUT)
                samples = list(watch(robots, server, database, lines))
        finally:
            robots.terminate()
            stored = robots.wait(60) == 0
            server.stop()
        return judge(samples, stored, lines.read_text().splitlines()[-1])


def watch(robots: subprocess.Popen, server: Server, database, lines: Path):
    process, began = psutil.Process(server.pid), time.monotonic()
    while True:
        try:
            robots.wait(SAMPLE_S)
            return
        except subprocess.TimeoutExpired:
            pass
        latest = re.findall(r"p95 +(\d+)", lines.read_text())[-SAMPLE_S:]
        with psycopg.connect(database.database_url("soak")) as connection:
            size = connection.execute("SELECT pg_database_size('soak')").fetchone()[0]
        sample = Sample(
            round((time.monotonic() - began) / 60, 1),
            round(process.memory_info().rss / 2**20, 1),
            process.num_fds(),
            statistics.median(float(value) for value in latest) if latest else -1,
            round(size / 2**20, 1),
        )
        print(json.dumps(sample._asdict()), flush=True)
        yield sample


def judge(samples: list[Sample], stored: bool, summary: str) -> int:
    warm = samples[int(len(samples) * WARM_UP) :]
    growth = 10 * statistics.linear_regression([s.minute for s in warm], [s.rss_mb for s in warm]).slope
    new_descriptors = warm[-1].descriptors - warm[0].descriptors
    rows = [f"| {' | '.join(map(str, sample))} |" for sample in samples]
    table = [
        "| minute | RSS, MB | descriptors | ack p95, ms | database, MB |",
        "| --- | --- | --- | --- | --- |",
        *rows,
    ]
    result = f"After the warm-up: RSS {growth:+.2f} MB in 10 minutes, descriptors {new_descriptors:+d}. {summary}"
    Path("soak-report.md").write_text("\n".join([*table, "", result, ""]))
    print(result)
    return 0 if stored and growth < MOST_MB_IN_10_MINUTES and new_descriptors <= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
