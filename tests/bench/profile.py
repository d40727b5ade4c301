"""Profile the CPU of a frame: py-spy on the server, 100 robots on PostgreSQL: `python -m tests.bench.profile`.

Samples of threads that work (not those that wait), as shares of the server's CPU and in us for a frame.
"""

import re
import subprocess
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from tests.bench.side_load import LoadedServer, arguments, run
from tests.services import postgres

RATE = 200
# py-spy counts these as working, but they wait: for the next group and for PostgreSQL.
WAITS = r"(_run \(teleop/ingest/database|_wait_for_result \()[^;]*$"
# The first match in the stack counts.
STEPS = {
    "COPY: libpq": "_run_copy",
    "COPY: rows packed": "_copy ",
    "heartbeat, sessions, and to the database thread and back": "DatabaseThread",
    "acks written": "send_ack|serverSend|sendMessage",
    "a group settled": "_settle",
    "JSON parsed and checked": r"parse \(teleop",
    "a frame ordered and held": r"receive \(teleop/ingest",
    "a WebSocket message taken": "dataReceived",
    "a socket read": "doRead|_readOrWrite",
}
LOOP = "the event loop, and the rest"


@contextmanager
def profiled(site: LoadedServer, seconds: int):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stacks")
        options = ["--format", "raw", "--rate", str(RATE), "--duration", str(seconds), "--output", file]
        command = ["py-spy", "record", "--pid", str(site.pid), *options]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
            answers: dict = {}
            yield answers
            assert recorder.wait(60) == 0
        answers["stacks"] = file.read_text().splitlines()


def step_of(stack: str) -> str:
    return next((step for step, mark in STEPS.items() if re.search(mark, stack)), LOOP)


def main() -> None:
    options = arguments(__doc__, seconds=20)
    with postgres() as service:
        result = run(lambda site: profiled(site, options.seconds - 5), options.seconds, service)
    samples: Counter[str] = Counter()
    for line in result["stacks"]:
        stack, count = line.rsplit(" ", 1)
        if not re.search(WAITS, stack):
            samples[step_of(stack)] += int(count)
    us_a_frame = result["server_cpu"] * options.seconds / result["sent"] * 1e6
    print(f"{us_a_frame:.1f} us a frame, py-spy's pauses included; ack p95 {result['p95_ms']} ms\n")
    print("| step | share | us a frame |\n| --- | --- | --- |")
    for step, count in samples.most_common():
        share = count / samples.total()
        print(f"| {step} | {share:.0%} | {share * us_a_frame:.1f} |")


if __name__ == "__main__":
    main()
