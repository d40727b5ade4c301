"""The scenarios in which `python -m tests.bench` measures a server.

Each scenario runs its robots in this process, in one event loop, and returns figures by part ("" is the whole).
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import asynccontextmanager

import psutil

from tests.bench import load
from tests.bench.robot import END, START, Robot
from tests.bench.serving import LONG_SESSION, SERVER_CORE, Site, cpu_s, key_of

HEARTBEAT_S = 3
SETTLE_S = HEARTBEAT_S + 1  # after it, each session has saved its first heartbeat
COUNTS = "SELECT session_id, count(*) FROM teleop_teleopframe GROUP BY session_id"
Figures = dict[str, dict]


def robots_of(site: Site, kind: str, count: int, **options: str) -> list[Robot]:
    """Return robots; they have the keys of serving.REGISTERED if the site requires keys."""
    names = [f"{kind}_{number}" for number in range(count)]
    return [Robot(name, **{"key": key_of(name) if site.auth == "key" else ""} | options) for name in names]


def begin_sessions(robots: Iterable[Robot]) -> None:
    for robot in robots:
        robot.send(START)


class Meter:
    """CPU in cores since its creation: of the server, of the load, and of other processes on the server's core."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._before = self._read()

    def _read(self) -> list[float]:
        core = psutil.cpu_times(percpu=True)[SERVER_CORE]
        busy = sum(core[:8]) - core.idle - core.iowait  # without guest times, which are part of user
        return [time.perf_counter(), cpu_s(self._site.processes), time.process_time(), busy]

    def read(self, frames: int = 0) -> dict:
        """Return the cores used; with `frames` also the server's CPU for each frame."""
        took, server, own, busy = (now - then for now, then in zip(self._read(), self._before, strict=True))
        figures = {"server_cpu": server / took, "load_cpu": own / took, "others_cpu": max(0, busy - server) / took}
        rounded = {name: round(value, 2) for name, value in figures.items()}
        return rounded | {"us_a_frame": round(server / frames * 1e6, 1)} if frames else rounded


@asynccontextmanager
async def streaming(robots: list[Robot], per_message: int = 1):
    """Let connected robots stream until the block ends, and then wait for their acks."""
    over = asyncio.Event()
    streams = [asyncio.create_task(robot.stream(over, per_message)) for robot in robots]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*streams)
        await load.until_acked(robots)


async def incomplete(site: Site, robots: list[Robot]) -> int:
    """Count the robots that have a frame not acknowledged or not in the database."""
    stored = dict(await asyncio.to_thread(site.query, COUNTS))
    return sum(bool(robot.pending) or stored.get(robot.session_id) != robot.next_index for robot in robots)


async def steady(site: Site, seconds: int, robots: int, per_message: int) -> Figures:
    """Stream from robots that sent `start` when they were greeted."""
    fleet = robots_of(site, "robot", robots)
    await load.connect_all(fleet, site.port)
    begin_sessions(fleet)
    meter = Meter(site)
    async with streaming(fleet, per_message):
        await asyncio.sleep(seconds)
    result = meter.read(frames=sum(robot.sent for robot in fleet)) | load.figures(fleet)
    await load.hang_up(fleet)
    return {"": result}


async def start_together(site: Site, seconds: int, robots: int = 100) -> Figures:
    """Send `start` from all robots at the same time, and stream."""
    fleet = robots_of(site, "robot", robots)
    await load.connect_all(fleet, site.port)
    await asyncio.sleep(SETTLE_S)
    meter = Meter(site)
    begin_sessions(fleet)
    async with streaming(fleet):
        await asyncio.sleep(seconds)
    used = meter.read(frames=sum(robot.sent for robot in fleet))
    result = used | load.figures(fleet) | {"incomplete": await incomplete(site, fleet)}
    await load.hang_up(fleet)
    return {"": result}


async def connect_together(site: Site, seconds: int, robots: int, newcomers: int, strangers: int) -> Figures:
    """Connect newcomers at the same time while robots stream; strangers connect with wrong keys.

    The scenario does not wait for newcomers that are not greeted within `seconds`.
    """
    fleet = robots_of(site, "robot", robots)
    await load.connect_all(fleet, site.port)
    begin_sessions(fleet)
    arriving = robots_of(site, "newcomer", newcomers)
    refused = robots_of(site, "stranger", strangers, key="a wrong key")
    async with streaming(fleet):
        await asyncio.sleep(SETTLE_S if fleet else 0)
        meter, began = Meter(site), time.perf_counter()
        arrivals = [arrive(robot, site.port, seconds) for robot in arriving]
        arrivals += [robot.connect(site.port, seconds, until_http=403) for robot in refused]
        await load.together(arrivals)
        all_done = time.perf_counter()
        used = meter.read()
        await asyncio.sleep(SETTLE_S if fleet else 0)
        until = time.perf_counter()
    came = sorted(robot.greeted_at - began for robot in arriving if robot.greeted_at)
    result = {
        **(load.figures(fleet, began, until) if fleet else {}),
        "greeted": len(came),
        "half_greeted_s": round(came[len(came) // 2], 2),
        "all_greeted_s": round(came[-1], 2),
        "closed_1013": sum(robot.refusals["1013"] for robot in arriving),
        "not_answered": sum(robot.refusals.total() - robot.refusals["1013"] for robot in arriving),
        **used,
    }
    if strangers:
        result["refused_403"] = sum(robot.refusals["HTTP 403"] for robot in refused)
        result["all_answered_s"] = round(all_done - began, 2)
    if fleet:
        result["incomplete"] = await incomplete(site, fleet)
    await load.hang_up(fleet + arriving)
    return {"": result}


async def arrive(robot: Robot, port: int, within_s: float) -> None:
    if await robot.connect(port, within_s):
        robot.send(START)


async def end_long_session(site: Site, seconds: int, robots: int = 100) -> Figures:
    """Resume and end a session of millions of frames while others stream; wait `seconds` at most for each."""
    fleet = robots_of(site, "robot", robots)
    await load.connect_all(fleet, site.port)
    begin_sessions(fleet)
    [long] = robots_of(site, "long", 1, session=LONG_SESSION)
    async with streaming(fleet):
        await asyncio.sleep(SETTLE_S)
        meter, began = Meter(site), time.perf_counter()
        await long.connect(site.port, seconds)
        async with streaming([long]):
            await asyncio.sleep(1)
        ending = time.perf_counter()
        long.send(END)
        while not long.ended_at and time.perf_counter() < ending + seconds:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE_S)
        used, until = meter.read(), time.perf_counter()
    result = load.figures(fleet, began, until) | {
        "greeted_s": round(long.greeted_at - began, 2),
        "ended_s": round(long.ended_at - ending, 2),
        **used,
    }
    await load.hang_up(fleet)
    return {"": result}
