import logging
import time
from collections.abc import Callable


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
