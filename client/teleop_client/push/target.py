"""The server, the robot and the limits of a push, and the errors that end it."""

import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 120.0  # for an answer of the server. The client reconnects by itself meanwhile
AGAIN = "push again to go on where it stopped"
NO_KEY = "no key was given: set TELEOP_KEY or --key-file"


class PushStopped(Exception):
    """Nothing more can be sent: the server is away, or refuses the robot."""


@dataclass(frozen=True)
class Target:
    """Where a push goes to."""

    url: str
    robot_id: str
    key: str | None = None
    ca_file: Path | None = None
    upload_kbit_s: float | None = None
    recreate_deleted: bool = False


class Pace:
    """Limit the rate at which frames are sent, if there is a limit."""

    def __init__(self, kbit_s: float | None) -> None:
        self._bytes_s = kbit_s and kbit_s * 125
        self._due_s = time.monotonic()

    def spend(self, size: float) -> None:
        """Wait until so many bytes may be sent."""
        if self._bytes_s:
            self._due_s = max(self._due_s, time.monotonic()) + size / self._bytes_s
            time.sleep(max(self._due_s - time.monotonic(), 0))
