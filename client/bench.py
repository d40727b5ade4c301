"""Measure the client: `python client/bench.py` prints Markdown tables; `--help` shows the options.

Each robot (bench_robot.py) is a process of its own with an empty spool; the server of the tests and the links to it are
in this process. Runs that are compared take turns, or run together, so that all meet the same load of the machine.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench_link import Link, Server

HERE = Path(__file__).parent
HOUR_FRAMES = 216_000
AWAY_S = 5.0  # from the start of a robot to that of its server
SLOW_LINK = {"kbit_s": 200, "delay_s": 0.3}
KILLS = 20
KILL_WITHIN_S = 3.0
SESSION = "bench-session"


class Case(NamedTuple):
    """A row of a table."""

    name: str
    values: str = "floats"
    part: str = "send"  # of the client's work
    options: dict[str, Any] = {}
    deflate: bool = False  # whether the server accepts compressed messages
    tree: Path = HERE


class Spool:
    """A new folder for the spools of robots, which are processes."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="teleop-bench-", ignore_cleanup_errors=True)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    async def start(self, work: str, tree: Path = HERE, **arguments: Any) -> Process:
        environment = os.environ | {"PYTHONPATH": str(tree), "TELEOP_SPOOL_DIR": self._folder.name}
        # -P: PYTHONPATH has the version to be measured, and not the folder of the program.
        command = [sys.executable, "-P", str(HERE / "bench_robot.py"), work, json.dumps(arguments)]
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE)

    async def run(self, work: str, tree: Path = HERE, **arguments: Any) -> dict[str, Any]:
        return await result(await self.start(work, tree, **arguments))


async def result(robot: Process) -> dict[str, Any]:
    out, _ = await robot.communicate()
    if not out:
        raise SystemExit("the robot's process has failed")
    return json.loads(out)


def show(title: str, *columns: str, rows: Iterable[Iterable[Any]]) -> None:
    lines = [columns, ["---"] * len(columns), *rows]
    sys.stdout.write(f"{title}\n\n" + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n\n")
    sys.stdout.flush()


async def loop(options: argparse.Namespace) -> None:
    """Show what the client costs a robot's loop: the must-show cases, and older versions."""
    cases = [Case(values, values) for values in ("floats", "float32")]
    older = [case._replace(name=f"{case.name}, {tree}", tree=tree) for tree in options.tree for case in cases]
    await show_loops([*cases, Case("float32, deflate", "float32", deflate=True), *older], options)


async def parts(options: argparse.Namespace) -> None:
    """Show where the time goes."""
    lingers = [Case(f"linger {linger_s} s", options={"linger_s": linger_s}) for linger_s in (0, 0.05, 0.1)]
    memory = [
        case._replace(name=f"no spool, {case.name}", options=case.options | {"spool_dir": None}) for case in lingers
    ]
    await show_loops([*memory, *lingers, Case("NaN", "nan"), Case("two cameras", "cameras")], options)


async def cameras(options: argparse.Namespace) -> None:
    """Show what two cameras cost the loop's periods."""
    cases = [Case("none", part="none"), Case("without cameras", "float32"), Case("with two cameras", "cameras")]
    found: dict[str, list[dict[str, Any]]] = {case.name: [] for case in cases}
    for _ in range(options.turns):
        for case in cases:
            found[case.name].append(await run_loop(case, options.seconds))
    rows = [
        [name, *(f"{statistics.median(turn[key] for turn in turns) / 1e3:.2f}" for key in ("period_p99", "p50", "p99"))]
        for name, turns in found.items()
    ]
    title = f"Loop at 60 Hz, two cameras 640x480 at 30 pictures a second, medians of {options.turns} turns, ms:"
    show(title, "client", "period p99", "`send` p50", "`send` p99", rows=rows)


async def show_loops(cases: list[Case], options: argparse.Namespace) -> None:
    values = sorted({case.values for case in cases})
    references = [Case("none", part="none"), *(Case(f"encoding, {each}", each, "encode") for each in values)]
    found: dict[str, list[dict[str, Any]]] = {case.name: [] for case in [*references, *cases]}
    for _ in range(options.turns):
        for case in [*references, *cases]:
            found[case.name].append(await run_loop(case, options.seconds))
    rows = []
    for case in [*references[1:], *cases]:
        turns = list(zip(found[case.name], found[f"encoding, {case.values}"], found["none"], strict=True))
        p50, p99 = (statistics.median(own[name] for own, _, _ in turns) for name in ("p50", "p99"))
        ratio = statistics.median(own["p99"] / encoding["p99"] for own, encoding, _ in turns)
        cpu = [
            statistics.median(own["cpu"].get(name, 0) - none["cpu"].get(name, 0) for own, _, none in turns)
            for name in ("process", "MainThread", "teleop", "teleop-spool")
        ]
        rows.append([case.name, f"{p50:.0f}", f"{p99:.0f}", f"{ratio:.1f}", *(f"{each:.0f}" for each in cpu)])
    title = f"Loop at 60 Hz, six joints, medians of {options.turns} turns of {options.seconds:.0f} s, us"
    columns = ["p50", "p99", "p99 / that of encoding", "CPU per frame", "in the loop", "client's thread", "sync thread"]
    show(f"{title}; CPU is less that of the loop alone:", "`send`", *columns, rows=rows)


async def run_loop(case: Case, seconds: float) -> dict[str, Any]:
    with Spool() as spool:
        async with Server(case.deflate) as server:
            arguments = {"part": case.part, "values": case.values, "options": case.options, "seconds": seconds}
            return await spool.run("loop", case.tree, url=server.url, **arguments)


async def wire(options: argparse.Namespace) -> None:
    """Show the bytes per frame."""
    cases = [
        Case(f"{values}{', deflate' * deflate}", values, deflate=deflate)
        for values in ("floats", "float32")
        for deflate in (False, True)
    ]
    cases += [
        Case(f"float32, deflate, linger {linger_s} s", "float32", options={"linger_s": linger_s}, deflate=True)
        for linger_s in (0, 0.1)
    ]
    cases += [Case(f"float32, {tree}", "float32", tree=tree) for tree in options.tree]
    results = await asyncio.gather(*(stream(case, 30) for case in cases))
    rows = [[case.name, f"{found['bytes']:.0f}"] for case, found in zip(cases, results, strict=True)]
    show("Bytes per frame of a leader and a follower with six joints, to the server:", "values", "bytes", rows=rows)


async def slow(options: argparse.Namespace) -> None:
    """Show whether the client keeps up on a slow link."""
    cases = [Case("plain", "float32"), Case("deflate", "float32", deflate=True)]
    cases += [Case(str(tree), "float32", tree=tree) for tree in options.tree]
    results = await asyncio.gather(*(stream(case, 60, **SLOW_LINK) for case in cases))
    rows = []
    for case, found in zip(cases, results, strict=True):
        held = found["held"]
        counts = [f"{found['bytes']:.0f}", held[29], held[59], max(held)]
        rows.append([case.name, *counts, f"{found['flush_s']:.1f} s"])
    title = "60 s at 60 Hz, float32, over a link of 200 kbit/s with 300 ms each way:"
    columns = ["bytes per frame", "held after 30 s", "after 60 s", "at most", "the rest is stored after"]
    show(title, "client", *columns, rows=rows)


async def stream(case: Case, seconds: float, **link_options: float) -> dict[str, Any]:
    with Spool() as spool:
        async with Server(case.deflate) as server, Link(server.port, **link_options) as link:
            arguments = {"values": case.values, "options": case.options, "seconds": seconds}
            found = await spool.run("stream", case.tree, url=link.url, **arguments)
            return found | {"bytes": link.bytes_to_server / found["frames"]}


async def offline(options: argparse.Namespace) -> None:
    """Record without a server and die; begin again; start the server."""
    rows = []
    for name in ["tests", *options.server]:
        async with stopped_server(name) as (url, start):
            with Spool() as spool:
                recorded = await spool.run("record", url=url, session=SESSION, frames=options.frames)
                robot = await spool.start("resume", url=url, session=SESSION)
                await asyncio.sleep(AWAY_S)
                begin_s = time.time()
                await start()
                sent = await result(robot)
        seconds = [recorded["seconds"], sent["greeted_at_s"] - begin_s, sent["stored_at_s"] - sent["greeted_at_s"]]
        memory = [f"{process['mb_before']:.0f}, {process['mb_peak']:.0f}" for process in (recorded, sent)]
        rows.append([name, *(f"{each:.1f} s" for each in seconds), recorded["dropped"], sent["stored"], *memory])
    title = f"{options.frames:,} frames without a server, SIGKILL, a new process, {AWAY_S:.0f} s later the server:"
    columns = ["recorded in", "greeted after", "all stored after", "dropped", "stored"]
    show(title, "server", *columns, "MB before and at most, recording", "sending", rows=rows)


@asynccontextmanager
async def stopped_server(name: str) -> AsyncIterator[tuple[str, Callable[[], Awaitable[Any]]]]:
    """Yield the address of a server that does not run yet, and the function that starts it."""
    if name == "tests":
        async with Server() as server:
            await server.stop()
            yield server.url, server.start
        return
    sys.path.insert(0, str(HERE.parent))
    os.environ |= {"SECRET_KEY": "bench", "TESTS_FOLDER": tempfile.gettempdir()}
    from tests.chaos.environment import postgres_database, sqlite_file
    from tests.services import Server as RealServer

    with tempfile.TemporaryDirectory() as folder, sqlite_file() if name == "sqlite" else postgres_database() as found:
        database_url = found if name == "sqlite" else found[1]
        real = RealServer(Path(folder), DATABASE_URL=database_url, ROBOT_AUTH="open")
        try:
            yield real.ws_url, lambda: asyncio.to_thread(real.start)
        finally:
            real.stop()


async def kill(_: argparse.Namespace) -> None:
    """Kill robots at random moments, with the server away half of the time."""
    taken: set[int] = set()
    away = random.sample([True, False] * (KILLS // 2), KILLS)
    with Spool() as spool:
        async with Server() as server:
            is_away = False
            for number, shall_be_away in enumerate([*away, False]):
                if shall_be_away is not is_away:
                    await (server.stop() if shall_be_away else server.start())
                    is_away = shall_be_away
                if number < KILLS:
                    robot = await spool.start("count", url=server.url, session=SESSION, first=number * 100_000)
                    taken.add(int(await robot.stdout.readline()))
                    await asyncio.sleep(random.uniform(0, KILL_WITHIN_S))
                    robot.kill()
                    taken |= set(map(int, (await robot.stdout.read()).split()))
                    await robot.wait()
            await spool.run("resume", url=server.url, session=SESSION)
            stored = Counter(frame["observation"]["number"] for frame in server.sessions[SESSION].values())
    row = [len(taken), len(taken - stored.keys()), stored.total() - len(stored)]
    columns = ["frames that `send` took", "lost", "stored twice"]
    show(f"{KILLS} SIGKILL at random moments, without a server half of the time:", *columns, rows=[row])


TABLES = {table.__name__: table for table in (loop, wire, slow, offline, kill, parts, cameras)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the client, and print Markdown tables.")
    parser.add_argument("table", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; default: all but the last two")
    parser.add_argument("--tree", type=Path, action="append", default=[], help="another version: folder of its package")
    parser.add_argument("--seconds", type=float, default=10, help="length of a loop")
    parser.add_argument("--turns", type=int, default=5, help="turns of the loops")
    parser.add_argument("--frames", type=int, default=HOUR_FRAMES, help="frames of the recording without a server")
    parser.add_argument(
        "--server", action="append", default=[], choices=["sqlite", "postgres"], help="real server for it, too"
    )
    options = parser.parse_args()
    if unknown := set(options.table) - TABLES.keys():
        parser.error(f"unknown table: {', '.join(unknown)}")
    for name in options.table or list(TABLES)[:-2]:
        asyncio.run(TABLES[name](options))


if __name__ == "__main__":
    main()
