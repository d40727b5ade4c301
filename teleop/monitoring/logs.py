import logging
import re
import time
from collections.abc import Callable

from pythonjsonlogger.orjson import OrjsonFormatter

from teleop.asgi import request_ids

# The value after the name of a parameter or a header, as a URL (any name with an escape), a header, Python (also a list
# of values) or JSON writes it; and a key or token by itself, which is longer than any word beside "token". An escaped
# name ends at the next "?" or "&": without that end a path of many "?%" takes minutes, in which Python's lock is held.
SECRET = re.compile(
    r"""(?ix)
    (  (?:api(?:_|-|%5f|%2d)key|authorization) [^\w\s]+\s* [\[(]? (?:b?\\?['"])? (?:(?:bearer|token)\s+)?
    |  [?&][^\s=&?%'"]*%[^\s=&?'"]*=
    |  \b(?:bearer|token)\s+ (?=[\w-]{20})
    )
    [^\s&'"\\,)\]]+"""
)


class RequestId(logging.Filter):
    """A filter that adds the id of the current request to the record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if request_id := request_ids.current.get():
            record.request_id = request_id
        return True


class RefusedRequest(logging.Filter):
    """A filter that removes the traceback of a request that the server refused: the client is at fault.

    Django logs PermissionDenied and SuspiciousOperation with one, and any client can cause them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
        return True


class Masked(logging.Formatter):
    """A formatter that masks keys everywhere: Django and Twisted log a request with its query string."""

    def format(self, record: logging.LogRecord) -> str:
        return SECRET.sub(r"\1***", super().format(record))


class TextFormatter(Masked):
    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        return f"{text} [request {record.request_id}]" if hasattr(record, "request_id") else text


class JSONFormatter(Masked, OrjsonFormatter):
    """A formatter of JSON objects. They contain `request_id`, like all other attributes added to a record."""


class RateLimit(logging.Filter):
    """A filter that passes `most` records in each `seconds`. The next one that passes has the count of the rest.

    It is for loggers that any host on the network can trigger, by connecting with a wrong key again and again.
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
