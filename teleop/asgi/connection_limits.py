"""Limits for the number of WebSockets at a time, and for the refusals of one address.

Each process counts by itself, and only when a connection begins and ends: no code here runs for each frame.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import orjson
from django.conf import settings

from robots.client_address import counted_address, is_secure
from robots.querysets import HandshakeRefused
from teleop.monitoring import counters

logger = logging.getLogger(__name__)

WINDOW_S = 60


class LimitExceeded(HandshakeRefused):
    """A refusal for now. Its HTTP status says if the client is over its limit (429) or the server is full (503)."""

    def __init__(self, status: int, code: str, detail: str):
        super().__init__(code, detail)
        self.status = status


class ConnectionLimit:
    """A count of connections by a common key. Past the limit it raises LimitExceeded. 0 means no limit."""

    def __init__(self, limit: int, status: int, code: str, detail: str):
        self._limit, self._status, self._code, self._detail = limit, status, code, detail
        self._taken: Counter[str] = Counter()

    @contextmanager
    def hold(self, whose: str = "") -> Iterator[None]:
        if self._limit and self._taken[whose] >= self._limit:
            raise LimitExceeded(self._status, self._code, self._detail.format(self._limit))
        self._taken[whose] += 1
        try:
            yield
        finally:
            self._taken[whose] -= 1
            if not self._taken[whose]:
                del self._taken[whose]


class PerMinuteLimit:
    """How many events of each address there were since the minute began; 0 is no limit."""

    def __init__(self, limit: int, code: str, detail: str, clock: Callable[[], float] = time.monotonic):
        self._limit, self._code, self._detail, self._clock = limit, code, detail, clock
        self._since = clock()
        self._counts: Counter[str] = Counter()

    def check(self, address: str) -> None:
        """Raise LimitExceeded if the address has reached the limit."""
        if self._clock() - self._since >= WINDOW_S:
            self._since = self._clock()
            self._counts.clear()
        if self._limit and self._counts[address] >= self._limit:
            raise LimitExceeded(429, self._code, self._detail.format(self._limit))

    def note(self, address: str) -> None:
        self._counts[address] += 1


robots = ConnectionLimit(
    settings.CONNECTIONS_PER_ROBOT, 429, "robot_full", "the robot has {} connections (CONNECTIONS_PER_ROBOT)"
)
watchers = ConnectionLimit(
    settings.WATCHERS_PER_WORKER, 503, "watchers_full", "{} pages watch through this worker (WATCHERS_PER_WORKER)"
)
people = ConnectionLimit(
    settings.WATCHERS_PER_PERSON, 429, "person_full", "this person watches {} pages (WATCHERS_PER_PERSON)"
)
# A handshake costs a database query, so a client that guesses keys gets few. http_channel checks `refusals` as well,
# before the handshake.
refusals = PerMinuteLimit(
    settings.REFUSALS_PER_ADDRESS,
    "address_refused",
    "{} handshakes of this address were refused within a minute (REFUSALS_PER_ADDRESS)",
)
new_robots = PerMinuteLimit(
    settings.NEW_ROBOTS_PER_ADDRESS,
    "new_robots_full",
    "{} robots of this address were registered within a minute (NEW_ROBOTS_PER_ADDRESS)",
)


class ConnectionLimitMiddleware:
    """A wrapper of the ASGI application for WebSockets. It refuses those past a limit, and names the limit."""

    def __init__(self, application: Callable):
        self._application = application
        worker, address = settings.CONNECTIONS_PER_WORKER, settings.CONNECTIONS_PER_ADDRESS
        self._worker = ConnectionLimit(
            worker, 503, "worker_full", "this worker has {} connections (CONNECTIONS_PER_WORKER)"
        )
        self._addresses = ConnectionLimit(
            address, 429, "address_full", "this address has {} connections (CONNECTIONS_PER_ADDRESS)"
        )

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        address = address_of(scope)
        is_answered = False

        async def send_and_see(message: dict) -> None:
            nonlocal is_answered
            if message["type"] == "websocket.close" and not is_answered:
                refusals.note(address)
            is_answered = True
            await send(message)

        try:
            refusals.check(address)
            if settings.HTTPS and not came_by_tls(scope):
                refusals.note(address)
                raise LimitExceeded(403, "not_tls", "the connection is not encrypted; wss:// expected (HTTPS=1)")
            with self._worker.hold(), self._addresses.hold(address):
                await self._application(scope, receive, send_and_see)
        except LimitExceeded as refusal:
            logger.warning("refused a WebSocket of %s: %s", address, refusal.detail)
            counters.HANDSHAKES_REFUSED.labels(refusal.code).inc()
            await refuse(scope, send, refusal)


def address_of(scope: dict) -> str:
    headers = dict(scope["headers"])
    peer = (scope.get("client") or [None])[0]
    return counted_address(peer, headers.get(b"x-forwarded-for", b"").decode("latin1"))


def came_by_tls(scope: dict) -> bool:
    """Return True if Django would call it secure: a key sent in clear text is exposed, and must not seem to work."""
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-proto")
    peer = (scope.get("client") or [None])[0]
    return is_secure(peer, scope.get("scheme", "ws"), forwarded.decode("latin1"))


async def refuse(scope: dict, send: Callable, refusal: LimitExceeded) -> None:
    """Refuse before accept. Without the extension an ASGI server answers 403, after which a robot never reconnects."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        if refusal.status == HTTPStatus.FORBIDDEN:
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1013})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps({"detail": refusal.detail})})
