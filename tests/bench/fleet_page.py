"""Measure the fleet page with 200 robots: `python -m tests.services python -m tests.bench.fleet_page`.

Sends the workers' messages of 200 robots with 12 joints through Redis to a real server, and opens the page in Chromium,
which draws in software. The figures are medians of the runs: the CPU of the page's main thread (`TaskDuration` of the
DevTools protocol), and the bytes received on the WebSocket. The page is measured when its graphs have 30 s.
"""

import asyncio
import os
import statistics
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from itertools import count
from math import sin
from pathlib import Path

os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "SECRET_KEY": "bench", "DJANGO_ALLOW_ASYNC_UNSAFE": "1"}

import django

django.setup()

import orjson
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from playwright.sync_api import CDPSession, Page, WebSocket, sync_playwright

from robots import channel_layer
from robots.models import Robot
from teleop.ingest import live_tap
from teleop.models import TeleopSession
from tests.browser.conftest import CHROMIUM, log_in, new_page
from tests.services import Server

SIZE = {"width": 1920, "height": 1080}
MEASURED_S, FILLED_S = 10, 31


def register(robots: int) -> dict[str, int]:
    """Store robots with live sessions; return the ids of the sessions."""
    now = timezone.now()
    stored = [
        Robot(pk=f"robot_{n:03}", name=f"Bench {n}", robot_type="so_follower", status="online", last_heartbeat=now)
        for n in range(robots)
    ]
    Robot.objects.bulk_create(stored)
    task = {"task": "Put the cube into the box"}
    sessions = [TeleopSession(robot=robot, key="1", fps=60, meta_info=task) for robot in stored]
    return {session.robot_id: session.pk for session in TeleopSession.objects.bulk_create(sessions)}


def reports(sessions: dict[str, int], tick: int, joints: int) -> list[tuple]:
    """Return what the workers tell about the robots ten times a second; rates differ a little, as real ones do."""
    found = []
    for number, (robot_id, session_id) in enumerate(sessions.items()):
        lag_ms = round(20 + 5 * sin(tick + number), 1)
        state = {"session_id": session_id, "rate_hz": 60.0, "ack_lag_ms": lag_ms, "frame_count": 6 * tick}
        values = live_tap.rounded([80 * sin(tick / 10 + number + joint) for joint in range(joints)])
        found.append((robot_id, session_id, "bench", 0, orjson.dumps(state)[1:-1], orjson.dumps(values), []))
    return found


def beat() -> None:
    """Record a heartbeat of all robots, as their workers do every 3 s; without it the server takes them for offline."""
    now = timezone.now()
    Robot.objects.update(last_heartbeat=now)
    TeleopSession.objects.update(updated_at=now)


async def send(sessions: dict[str, int], joints: int, stop: threading.Event) -> None:
    for tick in count():
        if stop.is_set():
            return
        due = time.monotonic() + live_tap.TICK_S
        if tick % 30 == 0:
            await asyncio.to_thread(beat)
        await channel_layer.send(live_tap.GROUP, {"type": "live", "robots": reports(sessions, tick, joints)})
        await asyncio.sleep(max(0, due - time.monotonic()))


def measure(page: Page, runs: int) -> list[tuple[float, float]]:
    """Return of each run the percentage of a core, and the kB received a second."""
    received = 0

    def count_bytes(payload: str | bytes) -> None:
        nonlocal received
        received += len(payload)

    def follow(socket: WebSocket) -> None:
        socket.on("framereceived", count_bytes)

    page.on("websocket", follow)
    page.goto("/")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})  # CPU time: other load matters less
    page.wait_for_timeout(1000 * FILLED_S)
    found = []
    for _ in range(runs):
        before, bytes_before = metrics(devtools), received
        page.wait_for_timeout(1000 * MEASURED_S)
        after = metrics(devtools)
        wall_s = after["Timestamp"] - before["Timestamp"]
        share = 100 * (after["TaskDuration"] - before["TaskDuration"]) / wall_s
        found.append((share, (received - bytes_before) / 1000 / wall_s))
    return found


def metrics(devtools: CDPSession) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}


def open_page(server: Server, options: Namespace) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
        page = new_page(browser, server, viewport=SIZE)
        log_in(page, User.objects.get(), server)
        runs = measure(page, options.runs)
        if options.picture:
            page.screenshot(path=options.picture)
        browser.close()
    share, kilobytes = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"{options.robots} robots: main thread {share:.0f} % of a core, {kilobytes:.0f} kB/s", flush=True)


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--robots", type=int, default=200)
    parser.add_argument("--joints", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--picture", help="path of a screenshot to take at the end")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("bench")
    sessions, stop = register(options.robots), threading.Event()
    sender = threading.Thread(target=lambda: asyncio.run(send(sessions, options.joints, stop)))
    sender.start()
    try:
        with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
            open_page(server, options)
    finally:
        stop.set()
        sender.join()


if __name__ == "__main__":
    main()
