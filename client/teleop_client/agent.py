"""The command `teleop-agent`: send the spools of dead processes, and list the spools on this robot."""

import argparse
import asyncio
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from . import errors
from .command_options import rate
from .connection import Link
from .drain import SET_ASIDE, Outcome, drain_leftovers, folders, is_in_use, spools
from .encoding import ROBOT_ID
from .keys import Keys
from .reconnect import DEFAULT_DELAYS, Backoff
from .spool.session_spool import Spool, default_folder

FAILED = {Outcome.LEFT, Outcome.DISABLED, Outcome.UNUSABLE, Outcome.SET_ASIDE}


class Found(NamedTuple):
    """A spool on this robot, as `status` shows it."""

    robot_id: str
    session: str
    state: str
    frames: int | None  # that may wait, at most; None while a process has the spool
    bytes: int
    changed_s: float  # unix time of the last change


def robots(folder: Path) -> list[Path]:
    """Return the folders of the robots in a spool folder."""
    return [robot for robot in folders(folder, ROBOT_ID) if robot.name != SET_ASIDE]


def found_spools(folder: Path) -> list[Found]:
    """Return all spools, without disturbing a process that uses one."""
    found = [_look(each) for robot in robots(folder) for each in spools(robot)]
    for robot in robots(folder / SET_ASIDE):
        found += [_look(each, "set aside") for each in spools(robot)]
    return found


def _look(folder: Path, state: str | None = None) -> Found:
    size = sum(file.stat().st_size for file in folder.glob("*.spool"))
    frames, changed_s = None, folder.stat().st_mtime
    if state is None and is_in_use(folder):
        state = "in use"
    else:
        try:
            spool = Spool(folder, robot_id=folder.parent.name, session=folder.name, is_drain=True)
            frames = spool.backlog
            state = state or ("empty" if spool.is_empty else "waits")
            spool.log.close()
        except errors.TeleopError as error:
            state = str(error)
    return Found(folder.parent.name, folder.name, state, frames, size, changed_s)


class Agent:
    """Send the spools in a folder. For a robot that staff have disabled, connect only every 10 minutes."""

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        url: str | None = None,
        ca_file: str | None = None,
        upload_kbit_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._keys, self._url, self._ca_file = folder, keys, url, ca_file
        self._uploads = {"kbit_s": upload_kbit_s}
        self._clock, self._backoff = clock, Backoff(DEFAULT_DELAYS, random.Random())
        self._ask_at: dict[str, float] = {}  # by disabled robot

    async def drain(self) -> Counter[Outcome]:
        """Send every spool that no process uses; return how many had which outcome."""
        counts: Counter[Outcome] = Counter()
        for robot in robots(self._folder):
            if self._clock() >= self._ask_at.get(robot.name, 0.0):
                outcomes = await drain_leftovers(robot, partial(self._link, robot.name), uploads=self._uploads)
                if Outcome.DISABLED in outcomes:
                    self._ask_at[robot.name] = self._clock() + self._backoff.disabled()
                counts.update(outcomes)
        return counts

    def _link(self, robot_id: str, found: str | None) -> Link:
        server = self._url or found
        if server is None:
            raise ValueError("it names no server: use --url")
        is_tls = server.startswith(("wss:", "https:"))
        return Link(server, robot_id, self._keys.of(robot_id), ca_file=self._ca_file if is_tls else None)


def show(found: list[Found]) -> str:
    """Return the table of `status`."""
    if not found:
        return "no spools: everything is sent"
    rows = [("robot", "session", "state", "frames", "MB", "changed")]
    for each in found:
        changed = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.changed_s))
        frames = "?" if each.frames is None else f"<= {each.frames}"
        rows.append((each.robot_id, each.session, each.state, frames, f"{each.bytes / 1e6:.1f}", changed))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 if a spool could not be sent."""
    parser = argparse.ArgumentParser(prog="teleop-agent", description=__doc__)
    parser.add_argument("--spool-dir", type=Path, default=default_folder(), help="default: %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="show the spools on this robot")
    draining = commands.add_parser("drain", help="send the spools of dead processes; TELEOP_KEY is the robot's key")
    draining.add_argument("--url", help="the server; default: the one that the recording program used")
    draining.add_argument(
        "--keys", type=Path, help="a file of mode 0600 with a line for each robot: its id and its key"
    )
    draining.add_argument("--ca-file", help="the company's own CA, in PEM format")
    draining.add_argument("--upload-kbit-s", type=rate, metavar="N", help="upload films with at most so much")
    draining.add_argument("--every", type=float, metavar="S", help="look again every S seconds, and do not end")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if options.command == "status":
        sys.stdout.write(show(found_spools(options.spool_dir)) + "\n")
        return 0
    try:
        keys = Keys(options.keys)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    agent = Agent(options.spool_dir, keys, options.url, options.ca_file, options.upload_kbit_s)
    while True:
        counts = asyncio.run(agent.drain())
        if options.every is None:
            return 1 if FAILED & counts.keys() else 0
        time.sleep(options.every)


if __name__ == "__main__":
    sys.exit(main())
