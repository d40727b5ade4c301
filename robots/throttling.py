"""How often a stranger may ask, and how often a login may fail.

Counted by the address that a trusted proxy has seen, so X-Forwarded-For buys nobody more.
"""

import hashlib

from django.core.cache import cache
from rest_framework.throttling import BaseThrottle

from robots.addresses import client_address

ANONYMOUS_REQUESTS, ANONYMOUS_WINDOW_S = 1200, 60
FAILED_LOGINS_OF_A_NAME, FAILED_LOGINS_OF_AN_ADDRESS, LOGIN_WINDOW_S = 5, 50, 900


def address_of(request) -> str:
    return client_address(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_X_FORWARDED_FOR", "")) or ""


def count(key: str, window_s: int) -> int:
    """One more of these; how many there are since the window's first."""
    cache.add(key, 0, window_s)
    try:
        return cache.incr(key)
    except ValueError:  # the window ended between the two
        return 1


def count_stranger(request) -> bool:
    """False: there were too many requests of the address."""
    return count(f"anonymous:{address_of(request)}", ANONYMOUS_WINDOW_S) <= ANONYMOUS_REQUESTS


class AnonymousThrottle(BaseThrottle):
    """For those who say nothing of who they are; a robot with its key, a token and a login are not counted."""

    def allow_request(self, request, view):
        return bool(request.auth or request.user.is_authenticated) or count_stranger(request)

    def wait(self):
        return ANONYMOUS_WINDOW_S


class LoginAttempts:
    """The logins that one address has tried for one name; an attempt counts as failed until it has succeeded.

    Counted before the password is looked at: of a hundred guesses sent at once, five are.
    """

    def __init__(self, request, name: str):
        address = address_of(request)
        of_name = hashlib.sha256(f"{address} {name}".encode()).hexdigest()
        self._bounds = {
            f"login:{of_name}": FAILED_LOGINS_OF_A_NAME,
            f"logins:{address}": FAILED_LOGINS_OF_AN_ADDRESS,
        }

    @property
    def are_too_many(self) -> bool:
        return any(cache.get(key, 0) >= bound for key, bound in self._bounds.items())

    def begin(self) -> bool:
        """False: this one is too many."""
        counts = {key: count(key, LOGIN_WINDOW_S) for key in self._bounds}  # each, also when one says no
        return all(counts[key] <= bound for key, bound in self._bounds.items())

    def succeeded(self) -> None:
        of_name, of_address = self._bounds
        cache.delete(of_name)
        if cache.get(of_address, 0) > 0:
            cache.decr(of_address)


class FailedLogins(BaseThrottle):
    """429 at once, where the login itself could only say that it failed."""

    def allow_request(self, request, view):
        name = request.data.get("username") if isinstance(request.data, dict) else None
        return not (isinstance(name, str) and LoginAttempts(request, name).are_too_many)

    def wait(self):
        return LOGIN_WINDOW_S
