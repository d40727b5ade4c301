"""Send frames of watched robots to the channel layer too: the worker's half of the live path."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

import orjson

from teleop.ingest.connection import RobotConnection
from teleop.ingest.parse import Frame
from teleop.joints import joint_values, other_values, part_of

logger = logging.getLogger(__name__)

GROUP = "live"
LEASE_S = 15  # watchers renew a lease every 5 s
TICK_S = 0.1
RATE_S = 2
MAX_TICK_BYTES = 2**18  # of one robot's frames: 6 in 100 ms are 3 KB, a robot with a backlog sends without end
VALUES = 12


class RobotSnapshot(NamedTuple):
    """State of one robot in a message to the watchers; bytes are JSON, built here and only spliced by the watchers."""

    robot_id: str
    session_id: int
    holder: str  # the connection, which counts `numbered`
    numbered: int  # frames so far that were to be sent: if it grew by more than `frames` holds, some were dropped
    state: bytes  # members of an object
    values: bytes
    frames: list[bytes]


class Tap:
    """Sender of one message every 100 ms with all watched robots of this worker; without watchers it sends none.

    A lease is for the frames of one robot, or for a summary of all, and expires if it is not renewed. One message is
    in transit at a time: while the layer takes none, `LiveSampler` keeps frames up to its bound.
    """

    def __init__(
        self,
        connections: Mapping[str, RobotConnection],
        send: Callable[[dict], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ):
        self._connections = connections
        self._send = send
        self._clock = clock
        self._leases: dict[str | None, float] = {}  # time of expiry by robot; None: all robots
        self._renewed = asyncio.Event()
        self._sending: asyncio.Task | None = None
        self._is_failing = False

    def renew(self, robot_ids: Iterable[str], fleet: bool) -> None:
        watched = [*robot_ids, None] if fleet else robot_ids
        self._leases.update(dict.fromkeys(watched, self._clock() + LEASE_S))
        self._attach_all()
        self._renewed.set()

    def attach(self, connection: RobotConnection) -> None:
        """Start or stop watching at once, not with the next tick: watchers see a new session from its first frame."""
        has_frames = connection.robot_id in self._leases
        if has_frames or None in self._leases:
            connection.watched = connection.watched or LiveSampler(connection, self._clock)
            connection.watched.has_frames = has_frames
        else:
            connection.watched = None

    def _attach_all(self) -> None:
        for connection in self._connections.values():
            self.attach(connection)

    async def run(self) -> None:
        while True:
            await self._renewed.wait()
            while self.is_leased():
                self.tick()
                await asyncio.sleep(TICK_S)
            self._renewed.clear()

    def is_leased(self) -> bool:
        """Remove expired leases; return whether any lease is left."""
        now = self._clock()
        leases = {of: until for of, until in self._leases.items() if until > now}
        if len(leases) < len(self._leases):
            self._leases = leases
            self._attach_all()
        return bool(leases)

    def tick(self) -> None:
        if (self._sending is None or self._sending.done()) and (reports := self.reports()):
            self._sending = asyncio.create_task(self._send_all(reports))

    def reports(self) -> list[RobotSnapshot]:
        watched = [connection.watched for connection in self._connections.values() if connection.is_open]
        return [sampler.report(with_values=None in self._leases) for sampler in watched if sampler is not None]

    async def _send_all(self, reports: list[RobotSnapshot]) -> None:
        try:
            await self._send({"type": "live", "robots": list(map(tuple, reports))})
            self._is_failing = False
        except Exception as error:  # redis-py, sockets and the layer each have errors of their own
            if not self._is_failing:  # ten times a second is too often to log it
                logger.warning("could not send live frames through the channel layer: %s", error)
            self._is_failing = True


class LiveSampler:
    """Sample of one connection since the last report: the newest frames received, up to MAX_TICK_BYTES."""

    def __init__(self, connection: RobotConnection, clock: Callable[[], float]):
        self.has_frames = False
        self._connection = connection
        self._clock = clock
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._numbered = 0
        self._newest: Frame | None = None
        self._received = 0
        self._received_at = clock()
        self._history: deque[tuple[float, int]] = deque(maxlen=round(RATE_S / TICK_S))
        self._history.append((self._received_at, 0))
        self._waiting: tuple[int, float] | None = None  # one frame at a time is followed from receipt to commit
        self._lag_s: float | None = None
        self._values = b"[]"

    def received(self, frame: Frame) -> None:
        self._received += 1
        self._received_at = self._clock()
        self._newest = frame
        if self._waiting is None:
            self._waiting = frame.frame_index, self._received_at
        if self.has_frames:
            self._numbered += 1
            self._frames.append(frame)
            self._bytes += len(frame.data)
            while self._bytes > MAX_TICK_BYTES:
                self._bytes -= len(self._frames.popleft().data)

    def committed(self, frame_index: int) -> None:
        if self._waiting and self._waiting[0] <= frame_index:
            self._lag_s = self._clock() - self._waiting[1]
            self._waiting = None

    def report(self, with_values: bool) -> RobotSnapshot:
        connection = self._connection
        lag_s = self._ack_lag_s()
        state = {
            "session_id": connection.session_id,
            "rate_hz": self._rate_hz(),
            "ack_lag_ms": None if lag_s is None else round(lag_s * 1000, 1),
            "frame_count": connection.frame_count,
        }
        frames = [b"[%d,%.6f,%b]" % (index, us / 1e6, data) for index, us, data in self._frames]
        self._frames.clear()
        self._bytes = 0
        return RobotSnapshot(
            connection.robot_id,
            connection.session_id,
            connection.holder,
            self._numbered,
            orjson.dumps(state)[1:-1],
            self._newest_values() if with_values else b"[]",
            frames,
        )

    def _rate_hz(self) -> float | None:
        """Return the frames per second of the last 2 s, from receipt to receipt: each frame of a batch counts."""
        then, received = self._history[0]
        seconds = max(self._received_at, self._clock() - RATE_S / 4) - then
        self._history.append((self._received_at, self._received))
        return round((self._received - received) / seconds, 1) if seconds > RATE_S / 4 else None

    def _ack_lag_s(self) -> float | None:
        """Return the newest commit's lag, or a frame's wait until now if longer: the database may be unreachable."""
        waits_s = self._clock() - self._waiting[1] if self._waiting else 0.0
        return max(self._lag_s or 0.0, waits_s) or None

    def _newest_values(self) -> bytes:
        if self._newest is not None:
            observation = part_of(orjson.loads(self._newest.data), "observation")
            values = joint_values(observation) or other_values(observation)
            self._values = orjson.dumps(rounded(islice(values, VALUES)))
            self._newest = None
        return self._values


def rounded(values: Iterable[float | None]) -> list[float | None]:
    """Keep four digits, which is more than a small graph shows: a value in full takes up to 18 bytes."""
    return [float(f"{value:.4g}") if type(value) is float else value for value in values]
