"""Limits of HTTP for one address in one worker: connections, requests at a time, and requests a second.

Each process counts by itself. WebSockets have limits of their own, in teleop/asgi/connection_limits.py.
"""

import time
from collections.abc import Callable
from typing import Protocol

from django.conf import settings

from teleop.asgi.budgets import Budget, Budgets
from teleop.asgi.connection_limits import ConnectionLimit, LimitExceeded

MAX_WAIT_S = 2  # a page that loads many files at once gets all of them a little later, instead of only some
BURST_S = 0.5
NEW_CONNECTIONS_PER_S = 100
# The cost of a useless connection. An address that makes many soon has its connections closed on accept.
USELESS_COST = 20  # a connection without a request, or with a malformed one
REFUSED_COST = 10  # a connection or request past a limit of its address
UPLOADED_BYTES_PER_S, UPLOADED_BURST = 100 * 2**20, 16 * 2**20


class Rate:
    """A rate limit: `per_second` of each address after a burst. 0 means no limit."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self._budgets = Budgets(per_second, burst, clock) if per_second else None

    def reserve(self, address: str, max_wait_s: float = 0.0) -> float | None:
        """Return how many seconds the address must wait. If that is over `max_wait_s`, return None and take nothing."""
        if self._budgets is None:
            return 0.0
        budget = self._budgets.of(address)
        wait_s = budget.wait_s(1)
        if wait_s > max_wait_s:
            return None
        budget.spend(1)
        return wait_s

    def charge(self, address: str, amount: float) -> None:
        """Spend `amount` more, even from an empty budget, unless the address must already wait a second or more."""
        if self._budgets is not None and (budget := self._budgets.of(address)).wait_s(1) < 1:
            budget.spend(amount)


class Connection(Protocol):
    @property
    def is_silent(self) -> bool:
        """Return True if no received bytes wait to be read."""

    def drop(self) -> None: ...


class WaitingConnections:
    """The connections of each address that have no request: new, half-open and idle ones. 0 means no limit.

    Past the limit the connection that has waited longest is closed. The new one may become a robot's WebSocket.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._waiting: dict[str, dict[Connection, None]] = {}  # in the order of arrival

    def add(self, address: str, connection: Connection) -> bool:
        """Add the connection. Return False if another connection was closed to make room."""
        waiting = self._waiting.setdefault(address, {})
        waiting[connection] = None
        if not self._limit or len(waiting) <= self._limit:
            return True
        longest = next((other for other in waiting if other.is_silent and other is not connection), None)
        if longest is None:
            return True
        self.remove(address, longest)
        longest.drop()
        return False

    def remove(self, address: str, connection: Connection) -> None:
        waiting = self._waiting.get(address, {})
        waiting.pop(connection, None)
        if not waiting:
            self._waiting.pop(address, None)


# A fleet behind one address may reconnect all at once. Each of its robots waits until its handshake has been read.
MAX_WAITING = settings.CONNECTIONS_PER_ADDRESS and max(
    settings.CONNECTIONS_PER_ADDRESS, settings.HTTP_CONNECTIONS_PER_ADDRESS
)
uploaded_bytes = Budget(UPLOADED_BYTES_PER_S, UPLOADED_BURST)  # of all uploads: the event loop writes them to the disk
waiting = WaitingConnections(MAX_WAITING)
new_connections = Rate(NEW_CONNECTIONS_PER_S if MAX_WAITING else 0, burst=2 * MAX_WAITING)
requests_at_a_time = ConnectionLimit(
    settings.HTTP_CONNECTIONS_PER_ADDRESS,
    429,
    "http_connections",
    "this address already has {} connections with a request, the maximum (HTTP_CONNECTIONS_PER_ADDRESS)",
)
requests_per_second = Rate(settings.HTTP_REQUESTS_PER_ADDRESS, burst=BURST_S * settings.HTTP_REQUESTS_PER_ADDRESS)


def wait_for_request(address: str) -> float:
    """Return how many seconds the next request of the address must wait, or raise LimitExceeded."""
    wait_s = requests_per_second.reserve(address, MAX_WAIT_S)
    if wait_s is None:
        bound = f"at most {settings.HTTP_REQUESTS_PER_ADDRESS} per second expected (HTTP_REQUESTS_PER_ADDRESS)"
        raise LimitExceeded(429, "http_requests", f"too many requests from this address; {bound}")
    return wait_s
