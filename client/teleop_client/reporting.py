"""Count, log, and report to the robot's own code."""

import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Protocol

from .errors import ClientClosed, FrameInvalid, TeleopError

logger = logging.getLogger("teleop_client")

# A fault that lasts is reported once, and again if it returns after it was away for so long.
AWAY_S = 60.0
MAX_KEYS = 1024  # counted by name; a program may make up new keys for ever
OTHER_KEYS = "(other keys)"


@dataclass(frozen=True)
class Stats:
    """Counts of frames: sent + recovered = acked + refused + pending.

    Dropped and not_running frames, and invalid["frame"], are not in sent. While frames of an earlier process are still
    on disk, pending counts the indexes of those that may be there.
    """

    sent: int
    acked: int
    refused: int
    dropped: int
    pending: int
    lost: int  # acknowledged, but the server no longer has them
    reconnects: int
    last_error: str | None
    not_running: int = 0  # given to `send` of a client that is not started, ended, closed or in a forked process
    joint_changes: int = 0  # frames that had other joints than the frame before
    invalid: dict[str, int] = field(default_factory=dict)  # by key: frames whose value was made null or left out
    recovered: int = 0  # read from the spool: an earlier process has left them
    unspooled: int = 0  # held in memory only, because the disk did not take them
    events_pending: int = 0  # marks and other events that wait for the server's answer
    cameras: dict[str, dict[str, int]] = field(default_factory=dict)  # by camera: counts of its pictures
    films: dict[str, int] = field(default_factory=dict)  # uploaded, refused and waiting
    events_dropped: int = 0  # beyond 1,000 of a session, or after its end


class HasCounts(Protocol):
    def counts(self) -> dict[str, int]: ...


class Reporter:
    def __init__(
        self, on_ack: Callable[[list[float]], None] | None, on_error: Callable[[TeleopError], None] | None
    ) -> None:
        self._on_ack = on_ack
        self._on_error = on_error
        self.acked = self.refused = self.lost = self.not_running = self.joint_changes = 0
        self.events_dropped = 0
        self.last_error: str | None = None
        self._lock = RLock()  # a signal handler may call `send`
        self._invalid: Counter[str] = Counter()
        self._seen_at: dict[tuple[str, str], float] = {}
        self._waiting: deque[TeleopError] = deque()
        self._reasons: set[str] = set()

    def stats(self, sessions: Iterable[HasCounts]) -> Stats:
        """Return the counts of this client, and those of its sessions in sum."""
        counts: Counter[str] = Counter()
        for session in sessions:
            counts.update(session.counts())
        return Stats(
            sent=counts["sent"],
            acked=self.acked,
            refused=self.refused,
            dropped=counts["dropped"],
            pending=counts["pending"],
            lost=self.lost,
            reconnects=counts["reconnects"],
            last_error=self.last_error,
            not_running=self.not_running,
            joint_changes=self.joint_changes,
            invalid=dict(self._invalid),
            recovered=counts["recovered"],
            unspooled=counts["unspooled"],
            events_pending=counts["events_pending"],
            events_dropped=self.events_dropped,
        )

    # Any thread calls these two. A log or `on_error` may take long, so errors wait until the client's thread flushes.

    def invalid(self, faults: dict[str, tuple[str, str]], now: float) -> None:
        """Count the faults of a frame by key."""
        with self._lock:
            for key, (kind, detail) in faults.items():
                known = key in self._invalid or len(self._invalid) < MAX_KEYS
                self._invalid[key if known else OTHER_KEYS] += 1
                if known and self._is_new(key, kind, now):
                    self._waiting.append(FrameInvalid(key, kind, detail))

    def joints_changed(self, error: TeleopError, now: float) -> None:
        with self._lock:
            self.joint_changes += 1
            if self._is_new("", "joints", now):
                self._waiting.append(error)

    def _is_new(self, key: str, kind: str, now: float) -> bool:
        seen_at, self._seen_at[key, kind] = self._seen_at.get((key, kind)), now
        return seen_at is None or now - seen_at > AWAY_S

    def flush(self) -> None:
        """Report the errors that wait; called from the client's thread."""
        while self._waiting:
            self.report(self._waiting.popleft(), logging.WARNING)

    def unusable(self, reason: str) -> None:
        """Count and report a frame that was given to a client that does not run, without a lock: it may be forked."""
        self.not_running += 1
        if reason not in self._reasons:
            self._reasons.add(reason)
            self.report(ClientClosed(f"frames are dropped: {reason}"))

    def acknowledged(self, latencies_s: list[float]) -> None:
        self.acked += len(latencies_s)
        self._call(self._on_ack, latencies_s)

    def report(self, error: TeleopError, level: int = logging.ERROR) -> None:
        self.log(level, "%s", error)
        if level >= logging.ERROR:
            self.last_error = str(error)
        self._call(self._on_error, error)

    @staticmethod
    def log(level: int, message: str, *arguments: Any, **options: Any) -> None:
        """Log; an error in a handler of the robot's program must not reach its loop, or break the connection."""
        with contextlib.suppress(Exception):
            logger.log(level, message, *arguments, **options)

    def _call(self, callback: Callable[[Any], None] | None, argument: Any) -> None:
        """Call the robot's function; an error in it must not break the connection."""
        try:
            if callback:
                callback(argument)
        except (Exception, SystemExit):  # the callback is the caller's, and must not stop the robot's loop
            self.log(logging.ERROR, "error in a callback", exc_info=True)
