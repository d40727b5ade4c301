import asyncio
import itertools
import logging
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial

import uvloop
from django.core.management.base import CommandError
from django.db import transaction
from teleop_client import AsyncRobotClient, TeleopError

from robots import audit
from robots.management.base import FormatCheckedCommand
from robots.models import ROBOT_ID, Robot
from teleop.protocol import MAX_FPS, MIN_FPS
from teleop.simulation import Arm, Latencies, in_words

META_INFO = {"robot_type": "so_follower", "task": "Put the cube into the box", "simulated": True}
MAX_ROBOTS = 1000
MAX_DURATION_S = 10_000_000
MAX_HELD_BYTES = 256 * 2**20  # of all robots, while the server is unreachable: 100 at 60 FPS for 100 s
# Time between two robots' starts. As 97 and 60 have no common divisor, it also spreads their frames over the 1/60 s.
STAGGER_S = 1 / 97
END_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5  # the user waits for this after Ctrl-C


class SimulatedRobot:
    """One arm, and the client through which it streams."""

    def __init__(self, number: int, client: AsyncRobotClient) -> None:
        self.client = client
        self._arm = Arm(number)

    @property
    def is_connected(self) -> bool:
        return self.client.protocol.greeted

    @property
    def has_ended(self) -> bool:
        return self.client.protocol.frame_count is not None

    @property
    def stored(self) -> int:
        """Return the frame count that the server reported at the session's end; until then the acknowledged frames."""
        stats, counted = self.client.stats, self.client.protocol.frame_count
        return stats.acked - stats.lost if counted is None else counted

    async def run(self, fps: int, duration_s: float, stop: asyncio.Event) -> None:
        self.client.start()
        try:
            await self._stream(fps, duration_s, stop)
            await self.client.end(END_TIMEOUT_S)
        except TeleopError:
            pass  # `on_error` was called, and `_conclude` reports frames that are not stored
        finally:
            await self.client.close()

    async def _stream(self, fps: int, duration_s: float, stop: asyncio.Event) -> None:
        """Send frame n at n / fps after the start, even if the frame before it was late: the rate does not drift."""
        clock = asyncio.get_running_loop().time
        begin = clock()
        for n in range(round(duration_s * fps)) if duration_s else itertools.count():
            due = begin + n / fps
            await asyncio.sleep(due - clock())
            if stop.is_set() or self.client.protocol.done:
                return
            late_s = clock() - due
            self.client.send(*self._arm.frame(n / fps), timestamp=time.time() - late_s)


class Fleet:
    """All simulated robots, until their duration ends or a signal stops them; `show` receives a line a second."""

    def __init__(self, robots: list[SimulatedRobot], latencies: Latencies, show: Callable[[str], None]) -> None:
        self.robots = robots
        self.latencies = latencies
        self._show = show
        self._stop = asyncio.Event()
        self._streams: list[asyncio.Task[None]] = []
        self._begin_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._begin_s

    def total(self, name: str) -> int:
        """Return the sum over all robots of one field of the client's Stats."""
        return sum(getattr(robot.client.stats, name) for robot in self.robots)

    async def run(self, fps: int, duration_s: float) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._report()), tasks.create_task(self._hurry())]
            for robot in self.robots:
                self._streams.append(tasks.create_task(robot.run(fps, duration_s, self._stop)))
                await asyncio.sleep(STAGGER_S)
                if self._stop.is_set():
                    break
            await asyncio.wait(self._streams)
            for task in others:
                task.cancel()
        self.latencies.turn()

    async def _hurry(self) -> None:
        """Cancel the streams STOP_TIMEOUT_S after the stop, in case the server does not answer."""
        await self._stop.wait()
        await asyncio.sleep(STOP_TIMEOUT_S)
        for stream in self._streams:
            stream.cancel()

    async def _report(self) -> None:
        before_s, sent, acked = 0.0, 0, 0
        for second in itertools.count(1):
            await asyncio.sleep(second - self.elapsed_s)
            self.latencies.turn()
            now_s, now_sent, now_acked = self.elapsed_s, self.total("sent"), self.total("acked")
            took_s = now_s - before_s
            self._show(self._line((now_sent - sent) / took_s, (now_acked - acked) / took_s))
            before_s, sent, acked = now_s, now_sent, now_acked

    def _line(self, sent_a_second: float, acked_a_second: float) -> str:
        connected = sum(robot.is_connected for robot in self.robots)
        parts = [
            f"{self.elapsed_s:5.0f} s",
            f"{connected}/{len(self.robots)} robots",
            f"{sent_a_second:.0f} frames/s",
            f"{acked_a_second:.0f} acked/s",
            f"{self.total('pending')} pending",
            in_words(self.latencies.second),
            *(
                f"{count} {name}"
                for name in ("refused", "dropped", "lost", "reconnects")
                if (count := self.total(name))
            ),
            self.why_away(),
        ]
        return "  ".join(parts).rstrip()

    def why_away(self) -> str:
        """Return the last error of the first unconnected robot that has one, or an empty string."""
        reasons = (robot.client.stats.last_error for robot in self.robots if not robot.is_connected)
        return next(filter(None, reasons), "")


class Command(FormatCheckedCommand):
    needs_database = False  # without --issue-keys the command only connects to the server
    help = (
        "Simulates SO-101 arms (leader and follower). They stream with the robots' client for --duration or until "
        "Ctrl-C, and then end their sessions. The exit code is 0 if every frame is stored."
    )

    def add_arguments(self, parser):
        parser.add_argument("--robots", type=int, default=1, help="number of robots, from robot_001 on (%(default)s)")
        parser.add_argument("--fps", type=int, default=60, help="frames per second of each robot (%(default)s)")
        parser.add_argument("--duration", type=float, default=0, help="seconds of streaming (0: until Ctrl-C)")
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="URL of the server (%(default)s)")
        parser.add_argument("--prefix", default="robot_", help="first part of the robots' ids (%(default)s)")
        keys = parser.add_mutually_exclusive_group()
        keys.add_argument("--key", help="key of the robot, if the server requires one")
        keys.add_argument(
            "--issue-keys",
            action="store_true",
            help="register the robots and issue their keys in DATABASE_URL, the server's database",
        )

    def handle(self, *args, robots, fps, duration, url, prefix, key, issue_keys, **options):
        check("--robots", robots, 1, MAX_ROBOTS)
        check("--fps", fps, MIN_FPS, MAX_FPS)
        check("--duration", duration, 0, MAX_DURATION_S)
        # The live line shows the client's log, or `_complain` prints it once, and not once for each robot.
        logging.getLogger("teleop_client").setLevel(logging.CRITICAL + 1)
        self._told: set[type] = set()
        ids = [f"{prefix}{number:03}" for number in range(1, robots + 1)]
        if bad := [robot_id for robot_id in ids if not ROBOT_ID.fullmatch(robot_id)]:
            raise CommandError(f"robot id is {bad[0]!r}; {ROBOT_ID.pattern} expected")
        fleet = self._fleet(issue(ids) if issue_keys else dict.fromkeys(ids, key), url, fps)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(fleet.run(fps, duration))
        self._conclude(fleet)

    def _fleet(self, keys: dict[str, str | None], url: str, fps: int) -> Fleet:
        latencies = Latencies()
        options = {"fps": fps, "meta_info": META_INFO, "max_held_bytes": MAX_HELD_BYTES // len(keys)}
        try:
            clients = [
                AsyncRobotClient(url, *item, **options, on_ack=latencies.add, on_error=partial(self._complain, item[0]))
                for item in keys.items()
            ]
        except ValueError as error:
            raise CommandError(str(error)) from None
        robots = [SimulatedRobot(number, client) for number, client in enumerate(clients, 1)]
        return Fleet(robots, latencies, self._show)

    def _conclude(self, fleet: Fleet) -> None:
        made, stored = fleet.total("sent") + fleet.total("dropped"), sum(robot.stored for robot in fleet.robots)
        ended = sum(robot.has_ended for robot in fleet.robots)
        summary = (
            f"{len(fleet.robots)} robots, {fleet.elapsed_s:.1f} s: {made} frames, {stored} stored; "
            f"{ended} sessions ended; {in_words(fleet.latencies.total)}"
        )
        if stored != made:
            raise CommandError(f"{summary}  {fleet.why_away()}".rstrip())
        self._say(summary)

    def _show(self, line: str) -> None:
        """Write the live line. In a terminal it replaces the previous one."""
        if self.stdout.isatty():
            self.stdout.write("\r\033[K" + line[: shutil.get_terminal_size().columns - 1], ending="")
        else:
            self.stdout.write(line)
        self.stdout.flush()

    def _say(self, text: str) -> None:
        self.stdout.write(("\r\033[K" if self.stdout.isatty() else "") + text)
        self.stdout.flush()

    def _complain(self, robot_id: str, error: TeleopError) -> None:
        """Print the first error of each kind: with one wrong key a hundred robots have the same error."""
        if type(error) not in self._told:
            self._told.add(type(error))
            self._say(f"{robot_id}: {error}")


def check(option: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise CommandError(f"{option} is {value}; {lowest} to {highest} expected")


def issue(robot_ids: list[str]) -> dict[str, str]:
    """Issue a new key for each robot. It voids the old key, so each must be simulated or have no key yet."""
    keys, actor = {}, audit.command("simulate")
    with transaction.atomic():
        for robot_id in robot_ids:
            robot, is_new = Robot.objects.get_or_create(pk=robot_id, defaults={"meta_info": {"simulated": True}})
            if robot.key_hash and not (robot.meta_info or {}).get("simulated"):
                raise CommandError(f"{robot_id} has a key and is not a simulated robot; another --prefix expected")
            keys[robot_id] = robot.issue_key()
            if is_new:
                audit.record(actor, audit.Action.ADDED, [robot])
            audit.record(actor, audit.Action.KEY_ISSUED, [robot])
    return keys
