"""Measure the main thread of the replay while it plays: `python -m tests.bench.replay_cpu --joints 12 30`.

Serves an SQLite database of its own and plays a session of 60 s at 60 fps in Chromium, which draws in software. The
figures are shares of the wall time, the median of the runs: the processor time of the main thread, all its tasks
(`TaskDuration` of the DevTools protocol), and of these layout, style and scripts. On a busy machine tasks last longer
than the processor works for them. `--cameras 2` adds films, `--zoom 2` shows a quarter of the session.
"""

import os
import statistics
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from math import sin
from pathlib import Path

FOLDER = tempfile.TemporaryDirectory(prefix="replay-cpu-")
os.environ |= {"DATABASE_URL": f"sqlite:///{FOLDER.name}/db.sqlite3", "MEDIA_ROOT": FOLDER.name, "REDIS_URL": ""}
os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "SECRET_KEY": "bench", "DJANGO_ALLOW_ASYNC_UNSAFE": "1"}

import django

django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from playwright.sync_api import CDPSession, Page, sync_playwright
from psutil import Process

from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
from tests.browser.conftest import CHROMIUM, log_in, new_page
from tests.browser.video_fixtures import FPS, upload
from tests.services import Server

SESSION_S, PLAYED_S, WARM_UP_S, FROM_S = 60, 10, 3, 5
SIZE = {"width": 1366, "height": 768}
PARTS = {
    "processor": "ProcessorTime",
    "tasks": "TaskDuration",
    "layout": "LayoutDuration",
    "style": "RecalcStyleDuration",
    "script": "ScriptDuration",
}
ARMS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


def names(count: int) -> list[str]:
    """Return names of two arms, and of more arms with a number."""
    return [f"{('left', 'right')[n // 6 % 2]}_{ARMS[n % 6]}{n // 12 or ''}.pos" for n in range(count)]


def record(joints: int, cameras: int) -> TeleopSession:
    """Store a session whose joints all move at each frame."""

    def data(index: int) -> dict:
        positions = {name: round(80 * sin(index / 60 + n), 2) for n, name in enumerate(names(joints))}
        return {"observation": positions, "action": {name: value + 1.5 for name, value in positions.items()}}

    session = make_session(range(60 * SESSION_S), data=data, key=f"{joints}-joints")
    for camera in range(cameras):
        upload(session, 0, FPS * SESSION_S, f"camera_{camera}")
    return session


@contextmanager
def pages(server: Server) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
        page = new_page(browser, server, viewport=SIZE)
        log_in(page, User.objects.get(), server)
        yield page
        browser.close()


def play(page: Page, devtools: CDPSession, session: TeleopSession, options: Namespace) -> dict[str, float]:
    """Play the session; return the shares of the wall time in percent."""
    page.goto(f"/sessions/{session.pk}/replay?t={FROM_S}")
    page.locator(".replay[data-state=paused]").wait_for()
    for _ in range(options.zoom):
        page.keyboard.press("+")
    page.keyboard.press("Space")
    page.wait_for_timeout(1000 * WARM_UP_S)
    before = metrics(devtools)
    page.wait_for_timeout(1000 * PLAYED_S)
    after = metrics(devtools)
    wall_s = after["Timestamp"] - before["Timestamp"]
    return {part: 100 * (after[name] - before[name]) / wall_s for part, name in PARTS.items()}


def metrics(devtools: CDPSession) -> dict[str, float]:
    values = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    return values | {"ProcessorTime": max(map(main_thread_s, renderers()))}


def renderers() -> list[Process]:
    return [child for child in Process().children(recursive=True) if "--type=renderer" in child.cmdline()]


def main_thread_s(renderer: Process) -> float:
    return sum(thread.user_time + thread.system_time for thread in renderer.threads() if thread.id == renderer.pid)


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--joints", type=int, nargs="+", default=[12, 30])
    parser.add_argument("--cameras", type=int, default=0)
    parser.add_argument("--zoom", type=int, default=0, help="how often to zoom in by 2")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("bench")
    sessions = {joints: record(joints, options.cameras) for joints in options.joints}
    with Server(Path(FOLDER.name), REDIS_URL="") as server, pages(server) as page:
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")
        for joints, session in sessions.items():
            runs = [play(page, devtools, session, options) for _ in range(options.runs)]
            shares = {part: statistics.median(run[part] for run in runs) for part in PARTS}
            print(f"{joints} joints:", ", ".join(f"{part} {share:.0f} %" for part, share in shares.items()), flush=True)


if __name__ == "__main__":
    main()
