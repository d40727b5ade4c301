"""The worker's half of previews: ask robots for pictures while a user watches, and pass these on to the watchers.

Nothing here waits, and no picture is kept longer than the channel layer needs to take it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import Any

from robots.close_codes import Close
from robots.querysets import HandshakeRefused
from teleop.asgi.budgets import Budget
from teleop.ingest.connection import IGNORED_US, RobotConnection, Transport
from teleop.ingest.preview_picture import InvalidPicture, Picture, read_picture
from teleop.monitoring import counters
from teleop.protocol import MAX_PREVIEW_BYTES, MAX_PREVIEW_CAMERAS, MAX_PREVIEWS_PER_S

logger = logging.getLogger(__name__)

GROUP = "previews"
LEASE_S = 15  # watchers renew a lease every 5 s
REPEAT_S = 4  # several processes may have watchers, and each renews
SWEEP_INTERVAL_S = 1
GRACE_S = 6  # for a new worker, which learns of leases when they are renewed
TICK_S = 0.1
INTERVAL_S = 1 / MAX_PREVIEWS_PER_S
TILE_INTERVAL_S = 2
EARLY_S = 0.2  # pictures are never exactly one interval apart
RECENT_S = 5
PICTURE_BYTE_US = 0.002  # to unmask it
INVALID = "invalid_preview"
MAX_PENDING_BYTES = 2**20  # in a tick, of all robots


class PreviewConnection:
    """A robot's connection for pictures (no I/O)."""

    def __init__(self, robot_id: str, key_hash: str, transport: Transport, previews: "Previews"):
        self.robot_id = robot_id
        self.key_hash = key_hash
        self.opened_at = previews.clock()
        self._transport = transport
        self._previews = previews
        self._is_open = True
        self._least_lag_s = inf  # receipt minus capture: the clocks' difference, and the shortest way here

    def receive(self, message: bytes | str) -> float:
        """Process one message; return an estimate of the CPU time that it wasted, in microseconds."""
        if not self._is_open:
            return IGNORED_US
        if len(message) > MAX_PREVIEW_BYTES:
            self._refuse(Close.MESSAGE_TOO_BIG, f"a message has {len(message)} bytes; {MAX_PREVIEW_BYTES} expected")
            return IGNORED_US
        try:
            picture = read_picture(message)
        except InvalidPicture as error:
            self._refuse(Close.UNUSABLE, str(error))
            return IGNORED_US
        lag_s = self._previews.clock() - picture.captured_at
        self._least_lag_s = min(self._least_lag_s, lag_s)
        if self._previews.offer(self.robot_id, picture, lag_s - self._least_lag_s):
            return 0
        return IGNORED_US + len(message) * PICTURE_BYTE_US

    def _refuse(self, code: Close, detail: str) -> None:
        counters.REFUSED.labels(INVALID).inc()
        self._previews.note_refusal(self.robot_id, HandshakeRefused(INVALID, f"{detail}; closed with {code:d}"))
        self.close(code)

    def close(self, code: Close) -> None:
        if self._is_open:
            self._is_open = False
            self._transport.close(code)


class _Camera:
    def __init__(self, clock: Callable[[], float]):
        self.rate = Budget(MAX_PREVIEWS_PER_S, MAX_PREVIEWS_PER_S, clock)
        self.received_at = -inf


class _Lease:
    """The interest of users in one robot: in all its cameras, for its own page, or in one, for its tile."""

    def __init__(self, clock: Callable[[], float]):
        self.page_until = self.tile_until = -inf
        self._clock = clock
        self._cameras: dict[str, _Camera] = {}
        self._tile_at = self._requested_at = -inf
        self._request: dict[str, Any] = {}

    @property
    def has_ended(self) -> bool:
        return max(self.page_until, self.tile_until) <= self._clock()

    def request(self) -> dict[str, Any]:
        """Return the members of a `preview` message."""
        if self.page_until > self._clock():
            return {"cameras": None, "interval_s": INTERVAL_S, "lease_s": LEASE_S}
        first = self._first_camera()
        return {"cameras": first and [first], "interval_s": TILE_INTERVAL_S, "lease_s": LEASE_S}

    def due_request(self) -> dict[str, Any] | None:
        """Return the request if it has changed, or if the robot got it some time ago; else None."""
        now, request = self._clock(), self.request()
        if request == self._request and now - self._requested_at < REPEAT_S:
            return None
        self._request, self._requested_at = request, now
        return request

    def takes(self, name: str) -> bool:
        """Return whether a picture of this camera is within the rate, and a user wants it."""
        now, camera = self._clock(), self._camera(name)
        if camera is None:
            return False
        camera.received_at = now
        if camera.rate.wait_s(1):
            return False
        camera.rate.spend(1)
        if self.page_until > now:
            return True
        if name != self._first_camera() or now - self._tile_at < TILE_INTERVAL_S - EARLY_S:
            return False
        self._tile_at = now
        return True

    def _camera(self, name: str) -> _Camera | None:
        if name not in self._cameras:
            if len(self._cameras) >= MAX_PREVIEW_CAMERAS:
                self._cameras = {known: self._cameras[known] for known in self._recent()}
            if len(self._cameras) >= MAX_PREVIEW_CAMERAS:
                return None
            self._cameras[name] = _Camera(self._clock)
        return self._cameras[name]

    def _first_camera(self) -> str | None:
        return min(self._recent(), default=None)

    def _recent(self) -> list[str]:
        since = self._clock() - RECENT_S
        return [name for name, camera in self._cameras.items() if camera.received_at > since]


class Previews:
    """The leases on pictures of robots, the robots' connections for them, and the pictures that are on their way.

    Every worker knows all leases, as a robot's two connections may be at two workers. The pictures of 0.1 s are one
    message to the watchers, and one message is in transit at a time. Meanwhile a newer picture replaces an older one
    of its camera; past MAX_PENDING_BYTES pictures are dropped.
    """

    def __init__(
        self,
        connections: Mapping[str, RobotConnection],
        send: Callable[[dict], Awaitable[None]],
        note_refusal: Callable[[str, HandshakeRefused], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        self.clock = clock
        self.note_refusal = note_refusal
        self._connections = connections
        self._send = send
        self._leases: dict[str, _Lease] = {}
        self._sockets: set[PreviewConnection] = set()
        self._is_closing = False
        self._pending: dict[tuple[str, str], tuple[float, bytes]] = {}
        self._pending_bytes = 0
        self._sending: asyncio.Task | None = None
        self._is_failing = False

    def renew(self, pages: Iterable[str], tiles: Iterable[str]) -> None:
        """Extend the leases on robots that users watch on their own page, or on a tile of the fleet; ask the robots."""
        until, renewed = self.clock() + LEASE_S, {*pages, *tiles}
        leases = {robot_id: self._leases.setdefault(robot_id, _Lease(self.clock)) for robot_id in renewed}
        for robot_id in pages:
            leases[robot_id].page_until = until
        for robot_id in tiles:
            leases[robot_id].tile_until = until
        due = {robot_id: request for robot_id, lease in leases.items() if (request := lease.due_request())}
        for connection in self._connections.values() if due else ():
            if connection.robot_id in due:
                connection.request_preview(due[connection.robot_id])

    def greeted(self, connection: RobotConnection) -> None:
        """Ask a robot that has just connected, if a user watches it."""
        lease = self._leases.get(connection.robot_id)
        if lease and not lease.has_ended:
            connection.request_preview(lease.request())

    def connect(self, robot_id: str, key_hash: str, transport: Transport) -> PreviewConnection:
        socket = PreviewConnection(robot_id, key_hash, transport, self)
        self._sockets.add(socket)
        if self._is_closing:
            socket.close(Close.RESTARTING)
        return socket

    def disconnected(self, socket: PreviewConnection) -> None:
        self._sockets.discard(socket)

    def close_matching(self, wanted: Mapping[str, Any], code: Close) -> None:
        """Close the connections that have this robot_id and key_hash; they belong to no session."""
        if wanted.keys() <= {"robot_id", "key_hash"}:
            for socket in list(self._sockets):
                if all(getattr(socket, name) == value for name, value in wanted.items()):
                    socket.close(code)

    def close(self) -> None:
        """Close all connections, also those that are being opened: the server is stopping."""
        self._is_closing = True
        for socket in list(self._sockets):
            socket.close(Close.RESTARTING)

    async def sweep(self) -> None:
        """Forget leases that have ended, and close the connections without a lease."""
        self._leases = {robot_id: lease for robot_id, lease in self._leases.items() if not lease.has_ended}
        for socket in list(self._sockets):
            if socket.robot_id not in self._leases and self.clock() - socket.opened_at > GRACE_S:
                socket.close(Close.ENDED)

    def offer(self, robot_id: str, picture: Picture, late_s: float) -> bool:
        """Pass on a picture; return False if it is dropped."""
        lease = self._leases.get(robot_id)
        if lease and lease.takes(picture.camera) and self._put(robot_id, picture, late_s):
            return True
        counters.PREVIEWS_DROPPED.inc()
        return False

    def _put(self, robot_id: str, picture: Picture, late_s: float) -> bool:
        key = robot_id, picture.camera
        replaced = len(self._pending[key][1]) if key in self._pending else 0
        if self._pending_bytes - replaced + len(picture.jpeg) > MAX_PENDING_BYTES:
            return False
        self._pending[key] = late_s, picture.jpeg
        self._pending_bytes += len(picture.jpeg) - replaced
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        return True

    async def _send_all(self) -> None:
        while self._pending:
            await asyncio.sleep(TICK_S)
            pictures = [(*key, *picture) for key, picture in self._pending.items()]
            count, size = len(pictures), self._pending_bytes
            self._pending, self._pending_bytes = {}, 0
            try:
                await self._send({"type": "previews", "pictures": pictures})
                counters.PREVIEWS.inc(count)
                counters.PREVIEW_BYTES.inc(size)
                self._is_failing = False
            except Exception as error:  # redis-py, sockets and the layer each have errors of their own
                if not self._is_failing:
                    logger.warning("could not send previews through the channel layer: %s", error)
                self._is_failing = True
