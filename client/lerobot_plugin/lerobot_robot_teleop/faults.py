"""Report exceptions of the stream in place of raising them: lerobot's loop must go on."""

import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

logger = logging.getLogger(__package__)


class Faults:
    """Count exceptions by the method that raised them, and log the first of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def report(self, method: str) -> None:
        """Count the present exception, and log it if it is the first of this method."""
        self.counts[method] += 1
        if self.counts[method] == 1:
            with contextlib.suppress(Exception):  # of a handler of the log
                logger.exception("the stream to the server has a fault in %s; lerobot goes on", method)


class HasFaults(Protocol):
    faults: Faults


T = TypeVar("T", bound=HasFaults)
P = ParamSpec("P")


def never_raises(method: Callable[Concatenate[T, P], None]) -> Callable[Concatenate[T, P], None]:
    """Report an exception of a method of an object that has `faults`."""

    @functools.wraps(method)
    def guarded(self: T, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:  # a fault of the stream must not stop the loop that moves the robot
            self.faults.report(method.__name__)

    return guarded
