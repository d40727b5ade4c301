"""Measure the server's cost of compressed messages: `python -m tests.bench.deflate`.

One server with WEBSOCKET_DEFLATE=1 on core 0, and PostgreSQL; robots that compress and robots that do not take turns.
The robots replay messages that were made and compressed before, so the load costs the same for both. Then the server's
memory, with each kind on a new server.
"""

import asyncio
import math
import os
import random
import statistics
import tempfile
import time
import zlib
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy
import orjson
import psutil
import uvloop
from picows import WSMsgType

from loadtest.generator.frames import FPS
from teleop.server.deflate import END
from tests.bench import load
from tests.bench.__main__ import UNLIMITED
from tests.bench.robot import Robot
from tests.bench.scenarios import SETTLE_S, Meter, begin_sessions, streaming
from tests.bench.serving import LOAD_CORE, Case, Databases, Site, family, serving
from tests.services import ROOT, free_port, postgres

OFFER = ("Sec-WebSocket-Extensions", "permessage-deflate")
PER_MESSAGE = (1, 3, 6)
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
STEP = 360 / 4096  # degrees of an encoder of an SO-101 arm
LAG_S = 0.05  # of the follower behind the leader
FULL_WINDOW_FRAMES, FULL_WINDOW_BATCH = 180, 60  # over 64 KiB


def positions(seconds: float, noise: random.Random) -> dict[str, float]:
    """Return an arm's positions as float32 with their shortest digits; they move, with a noise of one step."""
    degrees = (60 * math.sin(number + (0.1 + 0.1 * number) * math.tau * seconds) for number in range(len(JOINTS)))
    steps = (round(value / STEP + noise.gauss(0, 1)) * STEP for value in degrees)
    return {f"{joint}.pos": float(str(numpy.float32(value))) for joint, value in zip(JOINTS, steps, strict=True)}


def messages(frames: int, per_message: int) -> list[bytes]:
    """Return the messages of a leader and a follower."""
    noise, began = random.Random(1), time.time()

    def frame(index: int) -> dict:
        seconds = index / FPS
        observation, action = positions(seconds - LAG_S, noise), positions(seconds, noise)
        timestamp = round(began + seconds + noise.gauss(0, 0.0005), 6)
        return {"frame_index": index, "timestamp": timestamp, "observation": observation, "action": action}

    batches = ([frame(first + n) for n in range(per_message)] for first in range(0, frames, per_message))
    return [orjson.dumps(batch[0] if per_message == 1 else {"frames": batch}) for batch in batches]


def compressed(plain: list[bytes]) -> list[bytes]:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return [(compressor.compress(each) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(END) for each in plain]


class ReplayingRobot(Robot):
    """A robot that sends prepared messages on the schedule."""

    def __init__(self, robot_id: str, recording: list[bytes], is_compressed: bool) -> None:
        super().__init__(robot_id)
        self._recording, self._is_compressed = recording, is_compressed
        if is_compressed:
            self.headers.append(OFFER)

    def replay(self, per_message: int) -> None:
        now = time.perf_counter()
        self.pending.update(dict.fromkeys(range(self.next_index, self.next_index + per_message), now))
        self.transport.send(WSMsgType.TEXT, self._recording[self.next_index // per_message], rsv1=self._is_compressed)
        self.next_index += per_message
        self.sent += per_message

    async def stream(self, over: asyncio.Event, per_message: int = 1) -> None:
        interval_s = per_message / FPS
        await asyncio.sleep(random.random() * interval_s)
        due = time.perf_counter()
        while not over.is_set() and self.transport is not None:
            self.replay(per_message)
            due += interval_s
            await asyncio.sleep(max(0, due - time.perf_counter()))


Fleet = list[ReplayingRobot]


async def costs_us(site: Site, fleets: list[Fleet], per_message: int, seconds: int, turns: int) -> list[list[float]]:
    """Let the fleets stream in turns; return the server's CPU for each frame, of each fleet in each turn."""
    robots = [robot for fleet in fleets for robot in fleet]
    await load.connect_all(robots, site.port)
    begin_sessions(robots)
    await asyncio.sleep(SETTLE_S)
    costs: list[list[float]] = [[] for _ in fleets]
    for turn in range(turns):
        for number in (0, 1) if turn % 2 else (1, 0):
            fleet = fleets[number]
            before, meter = sum(robot.sent for robot in fleet), Meter(site)
            async with streaming(fleet, per_message):
                await asyncio.sleep(seconds)
            costs[number].append(meter.read(frames=sum(robot.sent for robot in fleet) - before)["us_a_frame"])
    result = load.figures(robots)
    assert result["acked"] == result["sent"] and not result["errors"], result
    await load.hang_up(robots)
    return costs


async def growth_kb(site: Site, fleet: Fleet) -> float:
    """Return how much the server's memory grows with each robot, after each has filled its window."""
    before = rss(site)
    await load.connect_all(fleet, site.port)
    begin_sessions(fleet)
    for _ in range(FULL_WINDOW_FRAMES // FULL_WINDOW_BATCH):
        for robot in fleet:
            robot.replay(FULL_WINDOW_BATCH)
            await asyncio.sleep(0)
        await load.until_acked(fleet, within_s=60)
    assert not any(robot.pending for robot in fleet)
    await asyncio.sleep(SETTLE_S)
    grown = rss(site) - before
    await load.hang_up(fleet)
    return grown / len(fleet) / 1024


def rss(site: Site) -> int:
    return sum(process.memory_info().rss for process in site.processes)


@contextmanager
def site(databases: Databases) -> Iterator[Site]:
    with ExitStack() as stack:
        url, port = stack.enter_context(databases.copy(ROOT, "postgres", False, False)), free_port()
        settings = {"HANDSHAKES_PER_ROBOT": "0", "NEW_SESSIONS_PER_ROBOT": "0", "NEW_ROBOTS_PER_ADDRESS": "0"}
        settings |= UNLIMITED | {"WEBSOCKET_DEFLATE": "1", "BACKGROUND_WORK": "separate", "REDIS_URL": ""}
        env = os.environ | {"DATABASE_URL": url, "SECRET_KEY": "bench", "ROBOT_AUTH": "open", "DEBUG": "0"} | settings
        process, limits = stack.enter_context(serving(Case("postgres"), port, env))
        yield Site(port, url, "open", family(process), limits)


def main(robots: int, connected: int, seconds: int, turns: int) -> None:
    psutil.Process().cpu_affinity([LOAD_CORE])  # inherited by PostgreSQL
    frames = dict.fromkeys(PER_MESSAGE, (seconds + 1) * turns * FPS)
    frames[FULL_WINDOW_BATCH] = FULL_WINDOW_FRAMES
    recordings, robot_us = {}, {}
    for per_message, count in frames.items():
        plain, before = messages(count, per_message), time.process_time()
        recordings[per_message] = (plain, compressed(plain))
        robot_us[per_message] = (time.process_time() - before) / count * 1e6

    def fleets(count: int, per_message: int) -> list[Fleet]:
        """Return robots that send plain messages, and robots that compress."""
        return [
            [ReplayingRobot(f"{name}_{number}", recording, name == "deflate") for number in range(count)]
            for name, recording in zip(("plain", "deflate"), recordings[per_message], strict=True)
        ]

    with postgres() as database, tempfile.TemporaryDirectory() as folder:
        databases = Databases(database, Path(folder))
        print(
            "| frames a message | bytes a frame, plain | deflate | server us, plain | deflate | x | robot's zlib us |"
        )
        print("|" + " --- |" * 7)
        with site(databases) as server:
            for per_message in PER_MESSAGE:
                costs = uvloop.run(costs_us(server, fleets(robots, per_message), per_message, seconds, turns))
                sizes = [sum(map(len, each)) / frames[per_message] for each in recordings[per_message]]
                medians = [statistics.median(each) for each in costs]
                ratio = statistics.median(deflate / plain for plain, deflate in zip(*costs, strict=True))
                figures = [f"{sizes[0]:.0f}", f"{sizes[1]:.0f}", *(f"{each:.1f}" for each in medians)]
                figures += [f"{ratio:.2f}", f"{robot_us[per_message]:.1f}"]
                print("|", per_message, "|", " | ".join(figures), "|", flush=True)
        grown = []
        for fleet in fleets(connected, FULL_WINDOW_BATCH):
            with site(databases) as server:
                grown.append(uvloop.run(growth_kb(server, fleet)))
    print(f"memory of each of {connected} robots: {grown[0]:.0f} kB plain, {grown[1]:.0f} kB deflate")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--robots", type=int, default=50)
    parser.add_argument("--connected", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--turns", type=int, default=10)
    main(**vars(parser.parse_args()))
