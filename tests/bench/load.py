"""Open-loop load: robots that send on a fixed schedule, however slow the server is, and time each frame to its ack.

usage: python -m tests.bench.load PORT ROBOTS SECONDS FRAMES_PER_MESSAGE; with 0 seconds until its input ends. Prints a
line when all robots are connected, and a line of JSON at the end. Frames are ~500 bytes.
"""

import asyncio
import json
import sys
import time
from collections.abc import Coroutine, Iterable
from itertools import chain
from typing import Any, TypeVar

import uvloop

from tests.bench.robot import CONNECT_S, START, Robot

T = TypeVar("T")
DRAIN_S = 5
BEGIN_A_TURN = 5


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all coroutines at the same time.

    A few tasks begin in each turn of the event loop, which reads acks of other robots in between: a thousand
    handshakes take the loop 0.2 s.
    """
    tasks = []
    for number, coroutine in enumerate(work):
        tasks.append(asyncio.create_task(coroutine))
        if number % BEGIN_A_TURN == 0:
            await asyncio.sleep(0)
    return await asyncio.gather(*tasks)


async def connect_all(robots: Iterable[Robot], port: int) -> None:
    if not all(await together(robot.connect(port) for robot in robots)):
        raise TimeoutError(f"not all robots were greeted within {CONNECT_S} s")


async def until_acked(robots: Iterable[Robot], within_s: float = DRAIN_S) -> None:
    """Return when every frame is acknowledged, or `within_s` later."""
    deadline = time.perf_counter() + within_s
    while any(robot.pending and robot.transport for robot in robots) and time.perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def hang_up(robots: Iterable[Robot]) -> None:
    for robot in robots:
        robot.hang_up()
    await asyncio.sleep(0.2)
    for robot in robots:
        if robot.transport is not None:
            robot.transport.disconnect()


def figures(robots: Iterable[Robot], since: float = 0, until: float = float("inf")) -> dict:
    """Return quantiles of send -> ack, of the frames sent between `since` and `until` (perf_counter).

    An unacknowledged frame counts with its age, so that a server that stops acknowledging does not look fast.
    """
    robots, now = list(robots), time.perf_counter()
    took_ms = [
        took_s * 1000
        for robot in robots
        for sent_at, took_s in chain(
            zip(robot.sent_at, robot.took_s, strict=True), ((at, now - at) for at in robot.pending.values())
        )
        if since <= sent_at <= until
    ]
    took_ms.sort()
    schedule = chain.from_iterable(zip(robot.due_at, robot.late_s, strict=True) for robot in robots)
    late_ms = sorted(late_s * 1000 for due_at, late_s in schedule if since <= due_at <= until)
    pending = sum(len(robot.pending) for robot in robots)
    return {
        "sent": sum(robot.sent for robot in robots),
        "acked": sum(robot.sent for robot in robots) - pending,
        "errors": sum(robot.errors for robot in robots),
        "disconnects": sum(robot.disconnects for robot in robots),
        **{f"p{q}_ms": quantile(took_ms, q) for q in (50, 95, 99)},
        "max_ms": quantile(took_ms, 100),
        "late_p99_ms": quantile(late_ms, 99),
    }


def quantile(ordered: list[float], percent: int) -> float:
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1) if ordered else 0.0


async def main(port: int, robots: int, seconds: int, per_message: int) -> None:
    fleet = [Robot(f"robot_{number}") for number in range(robots)]
    await connect_all(fleet, port)
    for robot in fleet:
        robot.send(START)
    over = asyncio.Event()
    used, began = time.process_time(), time.perf_counter()
    if seconds:
        asyncio.get_running_loop().call_later(seconds, over.set)
    else:
        asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    print("all are connected", flush=True)
    streams = [asyncio.create_task(robot.stream(over, per_message)) for robot in fleet]
    await over.wait()
    took = time.perf_counter() - began
    await asyncio.gather(*streams)
    await until_acked(fleet)
    load_cpu = round((time.process_time() - used) / took, 2)
    result = figures(fleet)
    await hang_up(fleet)
    print(json.dumps({**result, "load_cpu": load_cpu}))


if __name__ == "__main__":
    uvloop.run(main(*(int(argument) for argument in sys.argv[1:])))
