"""Time the acks, and the answers of /health/live, of a well-behaved robot while others attack.

usage: python -m tests.attacks.victim PORT, until its input ends; then it prints a line of JSON. It is a separate
process, so that the attacker does not slow it down.
"""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import NamedTuple

import psutil
import uvloop

from tests.bench.load import figures, until_acked
from tests.bench.robot import START, Robot
from tests.bench.serving import LOAD_CORE, SERVER_CORE
from tests.services import ROOT, Server

HEALTH_INTERVAL_S = 0.25
HEALTH_TIMEOUT_S = 5
MAX_P95_MS = 100
MAX_HEALTH_S = 0.5
REST_S = 2  # an attack may still have effects when it is over


class Suffered(NamedTuple):
    """The victim's measurements, from before the attack until REST_S after it."""

    sent: int
    acked: int
    disconnects: int
    p50_ms: float
    p95_ms: float
    max_ms: float
    health_max_s: float

    def is_fine(self) -> bool:
        return self.acked == self.sent and not self.disconnects and self.is_in_time()

    def is_in_time(self) -> bool:
        return self.p95_ms <= MAX_P95_MS and self.health_max_s <= MAX_HEALTH_S


@contextmanager
def victim(server: Server) -> Iterator[list[Suffered]]:
    """Attack the server in the block; the list has one item afterwards. The server gets one core, not the victim's."""
    if len(os.sched_getaffinity(0)) > 1:
        for pid in server.pids:
            psutil.Process(pid).cpu_affinity([SERVER_CORE])
    suffered: list[Suffered] = []
    command = [sys.executable, "-m", "tests.attacks.victim", str(server.port)]
    with (
        TemporaryFile() as errors,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout.readline() == "streaming\n", "the victim was not greeted"
        yield suffered
        time.sleep(REST_S)
        output, _ = process.communicate(timeout=30)
    suffered.append(Suffered(**json.loads(output)))
    print(suffered[0])  # noqa: T201 - pytest shows it if the test failed


async def health_s(port: int) -> float:
    """Return how long /health/live took to answer 200, at most HEALTH_TIMEOUT_S."""
    began = time.perf_counter()
    await asyncio.to_thread(_ask_health, port)
    return time.perf_counter() - began


def _ask_health(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except OSError:
        status = 0
    finally:
        connection.close()
    if status != 200:
        time.sleep(HEALTH_TIMEOUT_S)  # counts as no answer


async def stream(port: int) -> None:
    robot, over = Robot("victim"), asyncio.Event()
    assert await robot.connect(port)
    robot.send(START)
    asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    streaming = asyncio.create_task(robot.stream(over))
    print("streaming", flush=True)  # noqa: T201
    longest_s = 0.0
    while not over.is_set():
        longest_s = max(longest_s, await health_s(port))
        await asyncio.sleep(HEALTH_INTERVAL_S)
    await streaming
    await until_acked([robot])
    found = figures([robot])
    kept = {name: found[name] for name in ("sent", "acked", "disconnects", "p50_ms", "p95_ms", "max_ms")}
    print(json.dumps({**kept, "health_max_s": round(longest_s, 3)}))  # noqa: T201
    robot.hang_up()
    await asyncio.sleep(0.1)


if __name__ == "__main__":
    if len(os.sched_getaffinity(0)) > 1:
        psutil.Process().cpu_affinity([LOAD_CORE])
    uvloop.run(stream(int(sys.argv[1])))
