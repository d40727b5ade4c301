"""Count, log, and report to the robot's own code."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import TeleopError

logger = logging.getLogger("teleop_client")


@dataclass(frozen=True)
class Stats:
    """Counts of frames: sent = acked + refused + pending; dropped frames found no room and are not in sent."""

    sent: int
    acked: int
    refused: int
    dropped: int
    pending: int
    lost: int  # acknowledged, but the server no longer has them
    reconnects: int
    last_error: str | None


class Reporter:
    def __init__(
        self, on_ack: Callable[[list[float]], None] | None, on_error: Callable[[TeleopError], None] | None
    ) -> None:
        self._on_ack = on_ack
        self._on_error = on_error
        self.acked = self.refused = self.lost = 0
        self.last_error: str | None = None

    def stats(self, **counts: int) -> Stats:
        return Stats(acked=self.acked, refused=self.refused, lost=self.lost, last_error=self.last_error, **counts)

    def acknowledged(self, latencies_s: list[float]) -> None:
        self.acked += len(latencies_s)
        self._call(self._on_ack, latencies_s)

    def report(self, error: TeleopError, level: int = logging.ERROR) -> None:
        logger.log(level, "%s", error)
        self.last_error = str(error)
        self._call(self._on_error, error)

    @staticmethod
    def _call(callback: Callable[[Any], None] | None, argument: Any) -> None:
        """Call the robot's function; an error in it must not break the connection."""
        try:
            if callback:
                callback(argument)
        except Exception:
            logger.exception("error in %r", callback)
