"""Download a session of a million frames through REST: `python -m tests.bench.downloads`.

The first page; all frames as JSON lines, beside psql's \\copy of the same rows; all as Parquet; a reader that takes
100 kB/s; and the server's RSS after each, minus its RSS after a first use of all on a small session. Cores as in
`python -m tests.bench`.
"""

import io
import os
import statistics
import subprocess
import sys
import time

import psutil
import pyarrow.parquet
import requests

from tests.bench.serving import serving
from tests.bench.side_load import CASE, arguments, superuser
from tests.services import free_port, postgres

PAGES, SLOW_BYTES_A_SECOND = 9, 100_000
LONG, SMALL = 1, 2  # the ids of the sessions
ROWS = f"SELECT frame_index, timestamp, data FROM teleop_teleopframe WHERE session_id = {LONG} ORDER BY frame_index"


class Downloads:
    def __init__(self, url: str, token: str, pid: int):
        self.url = url
        self.server = psutil.Process(pid)
        self.client = requests.Session()
        self.client.headers["Authorization"] = f"Token {token}"
        self.used_mb = 0.0

    def get(self, session: int, query: str = "", **options) -> requests.Response:
        response = self.client.get(f"{self.url}/sessions/{session}/frames{query}", **options)
        response.raise_for_status()
        return response

    def rss_mb(self) -> float:
        return self.server.memory_info().rss / 2**20

    def say(self, what: str, figure: str) -> None:
        print(f"{what:<46} {figure:<34} RSS {self.rss_mb() - self.used_mb:+.0f} MB", flush=True)

    def first_use(self) -> None:
        for query in ("", "?format=jsonl", "?format=parquet"):
            self.get(SMALL, query)
        self.used_mb = self.rss_mb()
        self.say("a first use, on 1,800 frames", f"{self.used_mb:.0f} MB")

    def page(self) -> None:
        took_ms = []
        for _ in range(PAGES):
            began = time.perf_counter()
            assert self.get(LONG).json()["results"][0]["frame_index"] == 0
            took_ms.append((time.perf_counter() - began) * 1000)
        self.say("first page", f"{took_ms[0]:.0f} ms, median {statistics.median(took_ms):.0f}")

    def lines(self, frames: int) -> float:
        began, lines, size = time.perf_counter(), 0, 0
        with self.get(LONG, "?format=jsonl", stream=True) as response:
            for block in response.iter_content(2**20):
                lines, size = lines + block.count(b"\n"), size + len(block)
        assert lines == frames, lines
        took_s = time.perf_counter() - began
        self.say("JSON lines, complete", f"{took_s:.1f} s, {size / 2**20:.0f} MB")
        return took_s

    def parquet(self, frames: int) -> None:
        began = time.perf_counter()
        content = self.get(LONG, "?format=parquet").content
        took_s = time.perf_counter() - began
        table = pyarrow.parquet.ParquetFile(io.BytesIO(content)).metadata
        assert table.num_rows == frames, table
        columns = f"{table.num_columns} columns"
        self.say(f"Parquet, complete, {columns}", f"{took_s:.1f} s, {len(content) / 2**20:.0f} MB")

    def slow(self, query: str, seconds: int) -> None:
        most_mb, until = 0.0, time.monotonic() + seconds
        with self.get(LONG, query, stream=True) as response:
            while time.monotonic() < until:
                assert response.raw.read(SLOW_BYTES_A_SECOND // 10)
                time.sleep(0.1)
                most_mb = max(most_mb, self.rss_mb())
        self.say(f"a reader of 100 kB/s, {query}", f"at most {most_mb - self.used_mb:+.0f} MB in {seconds} s")


def copied(url: str) -> float:
    began = time.perf_counter()
    subprocess.run(["psql", url, "-qc", rf"\copy ({ROWS}) TO STDOUT"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    options = arguments(__doc__, frames=1_000_000, slow_seconds=30)
    with postgres() as service:
        url, port = service.create_database("downloads"), free_port()
        env = os.environ | {"DATABASE_URL": url, "SECRET_KEY": "bench", "REDIS_URL": "", "DEBUG": "0"}
        size = ["--frames", str(options.frames + 1800), "--long", str(options.frames)]
        subprocess.run([sys.executable, "-m", "tests.bench.fill", *size], env=env, check=True)
        with serving(CASE, port, env) as (process, limits):
            downloads = Downloads(f"http://127.0.0.1:{port}", superuser(env)[1], process.pid)
            print(limits)
            downloads.first_use()
            downloads.page()
            ratios = []
            for _ in range(options.runs):
                copy_s = copied(url)
                ratios.append(downloads.lines(options.frames) / copy_s)
                print(f"psql \\copy of the same rows took {copy_s:.1f} s: {ratios[-1]:.2f} x")
                downloads.parquet(options.frames)
            for query in ("?format=jsonl", "?format=parquet"):
                downloads.slow(query, options.slow_seconds)
            print(f"JSON lines to \\copy, median: {statistics.median(ratios):.2f} x")


if __name__ == "__main__":
    main()
