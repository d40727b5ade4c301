import logging
import re
import time
from collections.abc import Callable

from pythonjsonlogger.orjson import OrjsonFormatter

from teleop.asgi import request_ids

# What comes after the name of a parameter or a header, as an URL (any name with an escape), a header, Python (a list of
# values too) or JSON write them down; and a key or token by itself, which is longer than any word beside "token".
SECRET = re.compile(
    r"""(?ix)
    (  (?:api(?:_|-|%5f|%2d)key|authorization) [^\w\s]+\s* [\[(]? (?:b?\\?['"])? (?:(?:bearer|token)\s+)?
    |  [?&][^\s=&'"]*%[^\s=&'"]*=
    |  \b(?:bearer|token)\s+ (?=[\w-]{20})
    )
    [^\s&'"\\,)\]]+"""
)


class RequestId(logging.Filter):
    """Puts the id of the request that is being handled into the record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if request_id := request_ids.current.get():
            record.request_id = request_id
        return True


class Masked(logging.Formatter):
    """Keys are secret wherever they turn up: Django and Twisted write a request down with its query string."""

    def format(self, record: logging.LogRecord) -> str:
        return SECRET.sub(r"\1***", super().format(record))


class TextFormatter(Masked):
    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        return f"{text} [request {record.request_id}]" if hasattr(record, "request_id") else text


class JSONFormatter(Masked, OrjsonFormatter):
    """Its objects have `request_id` as they have all that a record was given."""


class RateLimit(logging.Filter):
    """Lets `most` records pass in each `seconds`; what was held back is counted in the next that passes.

    For loggers that anybody on the network can make write, by connecting with a wrong key again and again.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self._most, self._seconds, self._clock = most, seconds, clock
        self._since = clock()
        self._passed = self._held_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if self._clock() - self._since >= self._seconds:
            if self._held_back:
                record.msg = f"{record.msg} ({self._held_back} more were not logged)"
            self._since, self._passed, self._held_back = self._clock(), 0, 0
        if self._passed < self._most:
            self._passed += 1
            return True
        self._held_back += 1
        return False
