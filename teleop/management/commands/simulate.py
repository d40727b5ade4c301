import asyncio
import logging
import shutil
from collections.abc import Sequence
from functools import partial
from tempfile import TemporaryDirectory

import uvloop
from django.core.management.base import CommandError
from django.db import transaction
from teleop_client import AsyncRobotClient, NotConnected, TeleopError

from robots import audit
from robots.management.base import FormatCheckedCommand
from robots.models import ROBOT_ID, Robot
from teleop.protocol import MAX_FPS, MIN_FPS
from teleop.simulation.fleet import Fleet, SimulatedRobot
from teleop.simulation.latencies import Latencies, in_words

META_INFO = {"robot_type": "so_follower", "task": "Put the cube into the box", "simulated": True}
CAMERAS = ("front", "wrist")
MAX_ROBOTS = 1000
MAX_DURATION_S = 10_000_000
MAX_HELD_BYTES = 256 * 2**20  # of all robots, while the server is unreachable: 100 at 60 FPS for 100 s


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
        parser.add_argument(
            "--cameras",
            type=int,
            default=0,
            help="cameras of the first robot, 0 to 2 (%(default)s); with one, it reports its motors too",
        )
        parser.add_argument("--prefix", default="robot_", help="first part of the robots' ids (%(default)s)")
        keys = parser.add_mutually_exclusive_group()
        keys.add_argument("--key", help="key of the robot, if the server requires one")
        keys.add_argument(
            "--issue-keys",
            action="store_true",
            help="register the robots and issue their keys in DATABASE_URL, the server's database",
        )

    def handle(self, *args, robots, fps, duration, url, cameras, prefix, key, issue_keys, **options):
        check("--robots", robots, 1, MAX_ROBOTS)
        check("--fps", fps, MIN_FPS, MAX_FPS)
        check("--duration", duration, 0, MAX_DURATION_S)
        check("--cameras", cameras, 0, len(CAMERAS))
        # The live line shows the client's log, or `_complain` prints it once, and not once for each robot.
        logging.getLogger("teleop_client").setLevel(logging.CRITICAL + 1)
        self._told: set[type] = set()
        ids = [f"{prefix}{number:03}" for number in range(1, robots + 1)]
        if bad := [robot_id for robot_id in ids if not ROBOT_ID.fullmatch(robot_id)]:
            raise CommandError(f"robot id is {bad[0]!r}; {ROBOT_ID.pattern} expected")
        # Frames are held in memory, as they are not worth a place on the disk; films need one for a moment.
        with TemporaryDirectory(prefix="simulate-") as folder:
            keys = issue(ids) if issue_keys else dict.fromkeys(ids, key)
            fleet = self._fleet(keys, url, fps, CAMERAS[:cameras], folder)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(fleet.run(fps, duration))
        self._conclude(fleet)

    def _fleet(self, keys: dict[str, str | None], url: str, fps: int, cameras: Sequence[str], folder: str) -> Fleet:
        latencies = Latencies()
        options = {"fps": fps, "meta_info": META_INFO, "max_held_bytes": MAX_HELD_BYTES // len(keys)}
        robots = []
        try:
            for number, (robot_id, key) in enumerate(keys.items(), 1):
                has_cameras = cameras and number == 1
                client = AsyncRobotClient(
                    url,
                    robot_id,
                    key,
                    **options,
                    spool_dir=folder if has_cameras else None,
                    on_ack=latencies.add,
                    on_error=partial(self._complain, robot_id),
                )
                robots.append(SimulatedRobot(number, client, cameras if has_cameras else ()))
        except ValueError as error:
            raise CommandError(str(error)) from None
        return Fleet(robots, latencies, self._show)

    def _conclude(self, fleet: Fleet) -> None:
        made, stored = fleet.total("sent") + fleet.total("dropped"), sum(robot.stored for robot in fleet.robots)
        ended = sum(robot.has_ended for robot in fleet.robots)
        summary = (
            f"{len(fleet.robots)} robots, {fleet.elapsed_s:.1f} s: {made} frames, {stored} stored; "
            f"{ended} sessions ended; {in_words(fleet.latencies.total)}"
        )
        if stored != made:
            raise CommandError(f"{summary}  {fleet.disconnect_reason()}".rstrip())
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
        if type(error) not in self._told and not isinstance(error, NotConnected):  # the live line shows these
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
