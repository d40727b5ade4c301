"""When to reconnect: the action for each close code, and the seconds to wait."""

import json
import random
from dataclasses import dataclass
from typing import Any

from .errors import Fatal, KeyRevoked, SessionDeleted, SessionTaken

CODE_NETWORK = 1006
CODE_TOO_BIG = 1009
CODE_STAFF = 4403
CODE_DISABLED = 4410
REFUSAL_DISABLED = "robot_disabled"  # in the body of a 403 at the handshake
CODES_AT_FAULT = {1007, CODE_TOO_BIG, 4400}
CODES_STOP: dict[int, tuple[type[Fatal], str]] = {
    4401: (KeyRevoked, "the robot's key was revoked"),
    4409: (SessionTaken, "another connection took the session"),
}
# Answers to a drain, which asks for them in the address.
STATUSES_STOP: dict[int, tuple[type[Fatal], str]] = {
    409: (SessionTaken, "another connection has the session"),
    410: (SessionDeleted, "the session was deleted on the server"),
}
# HTTP statuses below 500 that mean "later", not "no".
STATUS_LATER = {408, 425, 429}


@dataclass(frozen=True)
class Delays:
    """Seconds before the next connection; the jitter keeps a fleet from reconnecting at the same time.

    Up to a tenth is added to `staff` and `disabled`; up to half is cut from the others.
    """

    first: float = 0.5  # doubles with every failure ...
    most: float = 30.0  # ... up to this
    most_local: float = 10.0  # ... or this, if the robot's own network is down: then no fleet returns at once
    slow: float = 30.0  # after a message at fault, or a refused handshake
    staff: float = 60.0  # after staff disconnected the robot
    disabled: float = 600.0  # after staff disabled the robot


DEFAULT_DELAYS = Delays()


def in_words(code: int, reason: str) -> str:
    """Return a close code with its reason, which may be empty."""
    return f"{code} {reason}".rstrip()


def is_disabled(status: int, body: bytes | bytearray | None) -> bool:
    """Return whether a refused handshake says that staff have disabled the robot."""
    return status == 403 and _answer(body).get("code") == REFUSAL_DISABLED


def reason(status: int, body: bytes | bytearray | None) -> str:
    """Return why a handshake was refused, in the server's words if it gave some."""
    detail = _answer(body).get("detail")
    return f"HTTP {status} at the handshake" + (f": {detail}" if isinstance(detail, str) else "")


def _answer(body: bytes | bytearray | None) -> dict[str, Any]:
    try:
        answer = json.loads(body or b"null")
    except ValueError:  # of a proxy
        return {}
    return answer if isinstance(answer, dict) else {}


class Backoff:
    """Delay that doubles with every failure until `reset`, which is due after an acknowledgement of the server."""

    def __init__(self, delays: Delays, rng: random.Random) -> None:
        self._delays = delays
        self._rng = rng
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next(self, is_local: bool = False) -> float:
        most = self._delays.most_local if is_local else self._delays.most
        delay = min(self._delays.first * 2**self._failures, most)
        self._failures = min(self._failures + 1, 30)
        return self._jitter(delay)

    def slow(self) -> float:
        return self._jitter(self._delays.slow)

    def staff(self) -> float:
        return self._delays.staff * self._rng.uniform(1.0, 1.1)

    def disabled(self) -> float:
        return self._delays.disabled * self._rng.uniform(1.0, 1.1)

    def _jitter(self, delay: float) -> float:
        return delay * self._rng.uniform(0.5, 1.0)
