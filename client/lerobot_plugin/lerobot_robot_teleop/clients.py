"""The clients of one connected robot: they send its sessions, and keep on disk what the server does not have yet."""

import contextlib
import functools
import importlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lerobot.robots import Robot
from teleop_client import RobotClient, TeleopError
from teleop_client.camera.cameras import is_available
from teleop_client.drain import spools
from teleop_client.keys import read_key
from teleop_client.spool.session_spool import default_folder

from .config import StreamConfig
from .faults import Faults, never_raises
from .meta_info import describe, fps_of_run, image_names

END_S = 5.0  # for the last frames, when the robot disconnects

logger = logging.getLogger(__package__)


class Clients:
    """Starts clients, and ends them in the background: lerobot may encode its own films before it disconnects."""

    def __init__(self, robot: Robot, config: StreamConfig, faults: Faults) -> None:
        """Find wrong flags. Raises ValueError or OSError."""
        self.faults, self._config = faults, config
        key = read_key(config.robot_id, config.key_file)
        if not key:
            raise ValueError(f"there is no key of {config.robot_id}: set TELEOP_KEY, or give --robot.stream.key_file")
        self.meta_info = describe(robot, config)
        self._new_client = functools.partial(
            RobotClient,
            config.url,
            config.robot_id,
            key,
            fps=fps_of_run(config),
            spool_dir=config.spool_dir or "",
            cameras=config.cameras,
            upload_kbit_s=config.upload_kbit_s,
        )
        self._new_client()
        self._endings: list[threading.Thread] = []
        self._has_started = False
        if config.cameras and image_names(robot) and is_available():
            importlib.import_module("teleop_client.camera.film_recorder")  # half a second: now, and not in the loop

    def start(self, meta_info: dict[str, Any]) -> RobotClient:
        self._has_started = True
        return self._new_client(meta_info=self.meta_info | meta_info).start()

    def end(self, client: RobotClient, labels: dict[str, Any]) -> None:
        """End a client and its session, in the background."""
        ending = threading.Thread(target=self._end, args=(client, labels), name="teleop end", daemon=True)
        ending.start()
        self._endings.append(ending)

    @never_raises
    def _end(self, client: RobotClient, labels: dict[str, Any]) -> None:
        try:
            with contextlib.suppress(TeleopError):  # the client has logged the error, and keeps unsent frames on disk
                client.end(END_S, labels)
        finally:
            client.close()
        for sentence in self._losses(client):
            logger.warning(sentence)

    def _losses(self, client: RobotClient) -> Iterator[str]:
        """Yield a sentence for each kind of data that the server will never get from this closed client."""
        stats = client.stats
        for name, counts in stats.cameras.items():
            if counts["dropped"]:
                yield (
                    f"{counts['dropped']} of {counts['written']} pictures of camera {name} were dropped: "
                    "this computer encodes too slowly, or its disk is full"
                )
        # Frames without a place on disk wait in memory, and are gone with this process.
        has_spool = (self._spools() / client.session).exists()
        if frames := stats.dropped + min(stats.pending, stats.unspooled if has_spool else stats.pending):
            yield f"{frames} frames are lost: the disk did not take them, and the server was away"

    def wait(self, until_s: float) -> None:
        """Wait until all clients have ended, at most until this time of the steady clock."""
        for ending in self._endings:
            ending.join(max(0.0, until_s - time.monotonic()))

    def report(self) -> None:
        """Tell the user whether anything waits for the server."""
        if not self._has_started:
            return
        if spools(self._spools()):
            logger.warning(
                "the server does not have everything yet: the rest is in %s, and the next run or `teleop-agent drain` "
                "sends it",
                self._spools(),
            )
        else:
            logger.info("all is sent: nothing waits for the server any more")

    def _spools(self) -> Path:
        """Return the folder where the sessions of this robot wait for the server."""
        return (self._config.spool_dir or default_folder()) / self._config.robot_id
