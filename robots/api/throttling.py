"""Limit the requests of anonymous clients, failed logins, and wrong keys or tokens.

Requests count for the address that a trusted proxy has seen, so a forged X-Forwarded-For does not raise a limit.
"""

import hashlib
from contextlib import suppress

from django.conf import settings
from django.core.cache import cache
from rest_framework.exceptions import Throttled
from rest_framework.throttling import BaseThrottle

from robots.client_address import counted_address

ANONYMOUS_REQUESTS, ANONYMOUS_WINDOW_S = 1200, 60
FAILED_LOGINS_OF_A_NAME, FAILED_LOGINS_OF_AN_ADDRESS, LOGIN_WINDOW_S = 5, 50, 900
FAILED_LOGINS_EVERYWHERE = 100  # of a name, from all addresses
KNOWN_ADDRESS_S = 90 * 24 * 3600
REFUSALS_WINDOW_S = 60


def address_of(request) -> str:
    return counted_address(request.META.get("REMOTE_ADDR"), request.headers)


def count_refused(code: str) -> None:
    """Count a request that is answered with 429, or with 503 because too many requests are in progress."""
    from robots.counters import REQUESTS_REFUSED

    REQUESTS_REFUSED.labels(code).inc()


def count(key: str, window_s: int) -> int:
    """Add one to the counter `key`; return its value, which counts from the first event of the window."""
    cache.add(key, 0, window_s)
    try:
        return cache.incr(key)
    except ValueError:  # the window ended between the two calls
        return 1


def count_stranger(request) -> bool:
    """Count an anonymous request; return False if its address has sent too many."""
    if count(f"anonymous:{address_of(request)}", ANONYMOUS_WINDOW_S) <= ANONYMOUS_REQUESTS:
        return True
    count_refused("anonymous")
    return False


def count_refusal(request) -> Throttled | None:
    """Count a wrong key or token; return the error to answer with if this address has sent too many.

    A valid key or token of the address is not refused: robots and people behind one address share it.
    """
    limit = settings.REFUSALS_PER_ADDRESS
    if not limit or count(f"refusals:{address_of(request)}", REFUSALS_WINDOW_S) <= limit:
        return None
    count_refused("refusals")
    detail = f"{limit} keys or tokens from this address were invalid within a minute (REFUSALS_PER_ADDRESS)."
    return Throttled(REFUSALS_WINDOW_S, detail)


class AnonymousThrottle(BaseThrottle):
    """Throttle of anonymous requests; a robot with its key, a token and a login are not counted."""

    def allow_request(self, request, view):
        return bool(request.auth or request.user.is_authenticated) or count_stranger(request)

    def wait(self):
        return ANONYMOUS_WINDOW_S


class LoginAttempts:
    """Login attempts of one address for one name; an attempt counts as failed until it has succeeded.

    An attempt is counted before the password is compared: of a hundred guesses sent at once, five are compared. A name
    that has failed too often over all addresses may still log in from an address where it logged in before, so that
    guessing does not lock out its person.
    """

    def __init__(self, request, name: str):
        address = address_of(request)
        name_here = hashlib.sha256(f"{address} {name}".encode()).hexdigest()
        self._known = f"login-known:{name_here}"
        self._everywhere = f"login-everywhere:{hashlib.sha256(name.encode()).hexdigest()}"
        self._bounds = {
            f"login:{name_here}": FAILED_LOGINS_OF_A_NAME,
            f"logins:{address}": FAILED_LOGINS_OF_AN_ADDRESS,
        }

    @property
    def are_too_many(self) -> bool:
        if any(cache.get(key, 0) >= bound for key, bound in self._bounds.items()):
            return True
        return cache.get(self._everywhere, 0) >= FAILED_LOGINS_EVERYWHERE and not self._is_known

    @property
    def _is_known(self) -> bool:
        return bool(cache.get(self._known))

    def begin(self) -> bool:
        """Count an attempt; return False if this attempt exceeds a bound."""
        counts = {key: count(key, LOGIN_WINDOW_S) for key in self._bounds}  # count all, also if one is over its bound
        if any(counts[key] > bound for key, bound in self._bounds.items()):
            return False  # not counted below: one address alone must not use up the bound of all addresses
        return count(self._everywhere, LOGIN_WINDOW_S) <= FAILED_LOGINS_EVERYWHERE or self._is_known

    def succeeded(self) -> None:
        name_here, address = self._bounds
        cache.delete(name_here)
        for key in (address, self._everywhere):
            with suppress(ValueError):  # the window has ended
                if cache.get(key, 0) > 0:
                    cache.decr(key)
        cache.set(self._known, True, KNOWN_ADDRESS_S)


class FailedLogins(BaseThrottle):
    """Throttle that answers 429 at once, as the login itself could only report its failure."""

    def allow_request(self, request, view):
        name = request.data.get("username") if isinstance(request.data, dict) else None
        if isinstance(name, str) and LoginAttempts(request, name).are_too_many:
            count_refused("logins")
            return False
        return True

    def wait(self):
        return LOGIN_WINDOW_S
