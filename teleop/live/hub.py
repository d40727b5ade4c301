"""The watchers' half of the live path: one hub per process, between the channel layer and the watchers."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

from channels.db import database_sync_to_async

from robots import channel_layer
from robots.worker_messages import watch_robots
from teleop.ingest.live_tap import GROUP, RobotSnapshot
from teleop.live import roster
from teleop.live.previews import PreviewHub, PreviewWatch
from teleop.live.recent import RecentFrames

logger = logging.getLogger(__name__)

RENEW_S = 5
RETRY_S = 1
ROSTER_S = 3
ROSTER_AGAIN_S = 1  # if a robot has begun a session that was not read from the database yet
STALE_S = 2
FRAMES_S = 5
MAX_FRAMES_BYTES = 2**20  # of one robot: 5 s are 150 KB


class TimedSnapshot(NamedTuple):
    report: RobotSnapshot
    received_at: float


class RobotChannel:
    """The recent frames and the watchers of one watched robot."""

    def __init__(self, clock: Callable[[], float]):
        self.frames = RecentFrames(FRAMES_S, MAX_FRAMES_BYTES, clock)
        self.watches: set[RobotWatch] = set()
        self._last: RobotSnapshot | None = None

    def on_message(self, report: RobotSnapshot) -> None:
        last, self._last, lost = self._last, report, 0
        if last is not None and last.holder == report.holder:
            lost = max(0, report.numbered - last.numbered - len(report.frames))
        elif last is not None and last.session_id != report.session_id:
            self.frames.clear()  # no answer holds frames of two sessions
        self.frames.add(report.frames, lost)
        for watch in self.watches:
            watch.updated.set()


class Hub:
    """The newest snapshot of each robot, requested from the workers while there are watchers.

    The hub reads the database once every three seconds for all watchers. It never waits for a watcher: each watcher
    gets the current data when it sends a request.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.closing = asyncio.Event()
        self.previews = PreviewHub(clock)
        self.roster: dict[str, roster.RobotSummary] = {}
        self.roster_version = 0  # 0: the roster does not contain the whole fleet
        self._clock = clock
        self._latest: dict[str, TimedSnapshot] = {}
        self._pages: dict[str, RobotChannel] = {}
        self._fleet: set[FleetWatch] = set()
        self._reads = 0
        self._watched, self._joined, self._roster_due = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task] = []

    def watch_robot(self, robot_id: str, entry: roster.RobotSummary) -> "RobotWatch":
        page = self._pages.setdefault(robot_id, RobotChannel(self._clock))
        watch = RobotWatch(self, robot_id, entry, page)
        page.watches.add(watch)
        self._join()
        return watch

    def watch_fleet(self) -> "FleetWatch":
        watch = FleetWatch(self)
        self._fleet.add(watch)
        if not self.roster_version:
            self._roster_due.set()
        self._join()
        return watch

    def _join(self) -> None:
        self._watched.set()
        self._joined.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(work) for work in (self._listen(), self._renew(), self._read_roster())]

    def leave(self, watch: "RobotWatch | FleetWatch") -> None:
        watch.want_previews([])
        if isinstance(watch, FleetWatch):
            self._fleet.discard(watch)
        elif page := self._pages.get(watch.robot_id):
            page.watches.discard(watch)
            if not page.watches:
                del self._pages[watch.robot_id]
        if not self._fleet and not self._pages:
            self._watched.clear()
            self.roster, self.roster_version = {}, 0
            self._latest.clear()

    async def _listen(self) -> None:
        while True:
            await self._watched.wait()
            await channel_layer.listen(GROUP, self.on_message, wanted=self._watched.is_set)

    def on_message(self, message: dict) -> None:
        if not self._watched.is_set():
            return
        now = self._clock()
        for report in map(RobotSnapshot._make, message["robots"]):
            latest = self.latest(report.robot_id)
            if latest is not None and latest.session_id > report.session_id:
                continue  # if a robot has two sessions, the newer one is shown
            self._latest[report.robot_id] = TimedSnapshot(report, now)
            page = self._pages.get(report.robot_id)
            if page is not None:
                page.on_message(report)
            if page is not None or self._fleet:
                entry = self.roster.get(report.robot_id)
                if entry is None or entry.session_id != report.session_id:
                    self._roster_due.set()
        self._fleet_updated()

    def latest(self, robot_id: str) -> RobotSnapshot | None:
        """Return the robot's snapshot from the last two seconds, or None."""
        latest = self._latest.get(robot_id)
        return latest.report if latest and self._clock() - latest.received_at < STALE_S else None

    def _fleet_updated(self) -> None:
        if self.roster_version:
            for watch in self._fleet:
                watch.updated.set()

    async def _renew(self) -> None:
        while True:
            await self._watched.wait()
            self._joined.clear()
            pause_s = RENEW_S
            try:
                await watch_robots(list(self._pages), bool(self._fleet))
            except Exception as error:  # redis-py, sockets and the layer each raise their own errors
                logger.warning("could not request live frames through the channel layer: %s", error)
                pause_s = RETRY_S
            await _within(pause_s, self._joined)

    async def _read_roster(self) -> None:
        while True:
            await self._watched.wait()
            self._roster_due.clear()
            is_fleet = bool(self._fleet)
            try:
                found = await database_sync_to_async(roster.read)(None if is_fleet else list(self._pages))
                self.take_roster(found, is_fleet)
            except Exception as error:  # each driver raises its own errors; the last roster is still shown
                logger.warning("could not read the robots from the database: %s", error)
            await asyncio.sleep(ROSTER_AGAIN_S)
            await _within(ROSTER_S - ROSTER_AGAIN_S, self._roster_due)

    def take_roster(self, found: dict[str, roster.RobotSummary], is_fleet: bool) -> None:
        if not self._watched.is_set():
            return
        self._reads += 1
        self.roster, self.roster_version = found, self._reads if is_fleet else 0
        self._latest = {robot_id: latest for robot_id, latest in self._latest.items() if self.latest(robot_id)}
        self._fleet_updated()


class RobotWatch:
    """One watcher of a robot.

    An answer has all frames since the last answer. There are at most ten answers a second, and at least one.
    """

    interval_s = 0.1
    timeout_s = 1.0

    def __init__(self, hub: Hub, robot_id: str, entry: roster.RobotSummary, page: RobotChannel):
        self.updated = asyncio.Event()
        self.updated.set()  # the first answer is immediate
        self.robot_id = robot_id
        self._hub = hub
        self._entry = entry
        self._page = page
        self._position = page.frames.position
        self.previews = PreviewWatch(hub.previews, is_tiled=False)

    def want_previews(self, robot_ids: Collection[str]) -> None:
        self.previews.want([self.robot_id] if self.robot_id in robot_ids else [])

    def answer(self) -> str:
        self.updated.clear()
        self._entry = entry = self._hub.roster.get(self.robot_id, self._entry)
        latest = self._hub.latest(self.robot_id)
        frames, missed, self._position = self._page.frames.since(self._position)
        state = latest.state if latest else entry.idle
        answer = b'{"type":"live",%b,%b,"missed":%d,"frames":[%b]}' % (entry.page, state, missed, b",".join(frames))
        return answer.decode()


class FleetWatch:
    """One watcher of the fleet.

    The first answer has all robots in full, and later ones those whose row of the database has changed. Live data come
    four times a second for the robots that the page shows on its screen, and once a second for the others.
    """

    interval_s = 0.25
    timeout_s = None
    others_every = 4  # answers

    def __init__(self, hub: Hub):
        self.updated = asyncio.Event()
        if hub.roster_version:
            self.updated.set()
        self._hub = hub
        self._sent: dict[str, tuple[bytes, object]] = {}  # of each robot, what the page has of it
        self._answers = 0
        self.previews = PreviewWatch(hub.previews, is_tiled=True)

    def want_previews(self, robot_ids: Collection[str]) -> None:
        self.previews.want(robot_ids)

    def answer(self) -> str:
        self.updated.clear()
        self._answers += 1
        roster = self._hub.roster
        is_full = not self._sent or not self._sent.keys() <= roster.keys()  # the page forgets robots that were deleted
        before, self._sent = {} if is_full else self._sent, {}
        robots, live = [], []
        for place, (robot_id, entry) in enumerate(roster.items(), self._answers):
            latest = self._hub.latest(robot_id)
            # A heartbeat is news only of a robot without live data.
            sent = self._sent[robot_id] = entry.tile, latest.session_id if latest else entry.heartbeat + entry.idle
            if sent != before.get(robot_id):
                state, values = (latest.state, latest.values) if latest else (entry.idle, b"[]")
                robots.append(b'{%b,%b,%b,"values":%b}' % (entry.tile, entry.heartbeat, state, values))
            elif latest and (robot_id in self.previews.robot_ids or place % self.others_every == 0):
                live.append(b'{"id":"%b",%b,"values":%b}' % (robot_id.encode(), latest.state, latest.values))
        full, *lists = b"true" if is_full else b"false", b",".join(robots), b",".join(live)
        return (b'{"type":"fleet","full":%b,"robots":[%b],"live":[%b]}' % (full, *lists)).decode()


async def _within(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


_hub: Hub | None = None


def running_hub() -> Hub:
    """Return this process's hub, created at its first use in the running loop."""
    global _hub
    if _hub is None:
        _hub = Hub()
    return _hub
