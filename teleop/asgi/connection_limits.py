"""Limits for the number of WebSockets at a time, and the delay of an address with many refusals.

The limits of an address and of a robot count connections whose key or login is checked, so that a stranger takes no
place of theirs. Each process counts by itself, and only when a connection begins and ends, never for a frame.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from math import inf
from weakref import WeakValueDictionary

from django.conf import settings

from robots.client_address import counted_address, joined
from robots.querysets import HandshakeRefused
from teleop.asgi.budgets import Budgets

WINDOW_S = 60
CHECKS_AT_ONCE = 50  # of one address: a fleet is checked in groups, and others wait for one group of an address
MAX_REFUSAL_DELAY_S = 5  # clients wait 10 s for an answer
DELAYED_REFUSALS = 500  # of all addresses: each keeps a connection open


class LimitExceeded(HandshakeRefused):
    """A refusal whose answer has the reason.

    Its HTTP status says if the client is over its limit (429), the server is full (503), another client is needed
    (403), or another connection has the session (409).
    """

    def __init__(self, status: int, code: str, detail: str):
        super().__init__(code, detail)
        self.status = status


class ConnectionLimit:
    """A count of connections by a common key. Past the limit it raises LimitExceeded. 0 means no limit."""

    def __init__(self, limit: int, status: int, code: str, detail: str):
        self._limit, self._status, self._code, self._detail = limit, status, code, detail
        self._taken: Counter[str] = Counter()

    @contextmanager
    def hold(self, key: str = "") -> Iterator[None]:
        if self._limit and self._taken[key] >= self._limit:
            raise LimitExceeded(self._status, self._code, self._detail.format(self._limit))
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]


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


class Checks:
    """The handshakes whose key or login is being checked: `at_once` of each address, in the order of arrival.

    The others of the address wait. `limit` bounds how many wait.
    """

    def __init__(self, at_once: int, limit: ConnectionLimit):
        self._at_once, self._limit = at_once, limit
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        with self._limit.hold(address):
            turns = self._turns.setdefault(address, asyncio.Semaphore(self._at_once))
            async with turns:
                yield


class RefusalDelay:
    """A delay of the refusals of an address that has more than `limit` a minute; 0 is no limit.

    It slows down a client that guesses, and costs no other handshake of the address. With DELAYED_REFUSALS delayed at
    a time the next refusals are answered at once.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic):
        self._budgets = Budgets(limit / WINDOW_S or inf, limit, clock)
        self._delayed = ConnectionLimit(DELAYED_REFUSALS, 503, "delayed", "")

    def reserve(self, address: str) -> float:
        """Count a refusal; return the seconds to wait before it is answered."""
        budget = self._budgets.of(address)
        wait_s = budget.wait_s(1)
        if wait_s < MAX_REFUSAL_DELAY_S:
            budget.spend(1)
        return min(wait_s, MAX_REFUSAL_DELAY_S)

    async def wait(self, address: str) -> None:
        wait_s = self.reserve(address)
        with suppress(LimitExceeded), self._delayed.hold():
            await asyncio.sleep(wait_s)


worker = ConnectionLimit(
    settings.CONNECTIONS_PER_WORKER,
    503,
    "worker_full",
    "this worker already has {} connections, the maximum (CONNECTIONS_PER_WORKER)",
)
addresses = ConnectionLimit(
    settings.CONNECTIONS_PER_ADDRESS,
    429,
    "address_full",
    "this address already has {} connections, the maximum (CONNECTIONS_PER_ADDRESS)",
)
checks = Checks(
    CHECKS_AT_ONCE,
    ConnectionLimit(
        settings.CONNECTIONS_PER_ADDRESS,
        429,
        "address_unchecked",
        "{} handshakes from this address wait for the check of their key, the maximum (CONNECTIONS_PER_ADDRESS)",
    ),
)
robots = ConnectionLimit(
    settings.CONNECTIONS_PER_ROBOT,
    429,
    "robot_full",
    "the robot already has {} connections, the maximum (CONNECTIONS_PER_ROBOT)",
)
watchers = ConnectionLimit(
    settings.WATCHERS_PER_WORKER,
    503,
    "watchers_full",
    "this worker already serves {} live pages, the maximum (WATCHERS_PER_WORKER)",
)
people = ConnectionLimit(
    settings.WATCHERS_PER_PERSON,
    429,
    "person_full",
    "this user already has {} live pages open, the maximum (WATCHERS_PER_PERSON)",
)
refusal_delay = RefusalDelay(settings.REFUSALS_PER_ADDRESS)
new_robots = PerMinuteLimit(
    settings.NEW_ROBOTS_PER_ADDRESS,
    "new_robots_full",
    "{} robots were registered from this address within a minute, the maximum (NEW_ROBOTS_PER_ADDRESS)",
)


def address_of(scope: dict) -> str:
    return counted_address((scope.get("client") or [None])[0], joined(scope["headers"]))
