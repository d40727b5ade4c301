"""Limit the number of concurrent long requests: downloads, and requests that wait for frames.

Import this module where a request is answered, not when the URLs are loaded: it imports the counters, and `serve` has
to set the folder of prometheus-client before.
"""

import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

from django.conf import settings
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from robots.api.throttling import address_of
from robots.models import Robot
from teleop.asgi.connection_limits import ConnectionLimit, LimitExceeded
from teleop.frames.export import working
from teleop.monitoring import counters

RETRY_AFTER_S = 5
MAX_WAIT_TO_WORK_S = 10


class ManyAtWork(APIException):
    status_code = 503
    default_detail = (
        f"this worker is busy with other plots and downloads; waited {MAX_WAIT_TO_WORK_S} s; try again later"
    )
    default_code = "many_at_work"
    wait = RETRY_AFTER_S  # Retry-After


class TooManyAtATime(APIException):
    status_code = 429
    default_code = "too_many_at_a_time"
    wait = RETRY_AFTER_S  # Retry-After


class Place:
    """A request's place, held until `release` is called or the object is no longer referenced.

    If a client disconnects while its view runs, Django drops the response without closing it.
    """

    def __init__(self, limit: "RequestLimit", stack: ExitStack):
        self._limit, self._stack = limit, stack

    def release(self) -> None:
        with self._limit.lock:
            self._stack.close()

    __del__ = release

    def held_for(self, content: AsyncIterable[bytes]) -> "Held":
        """Return the content of a response; it holds the place until the response ends or its client disconnects."""
        return Held(content, self)


class RequestLimit:
    """A limit for requests of one kind, per client and per worker process. Views run in threads, so it has a lock."""

    def __init__(self, code: str, kind: str, by_client: str, by_worker: str):
        self.lock = threading.RLock()  # the garbage collector may release a place while this thread has the lock
        client, worker = getattr(settings, by_client), getattr(settings, by_worker)
        self._clients = ConnectionLimit(
            client, 429, f"{code}_client_full", f"you already have {{}} {kind}, the maximum ({by_client})"
        )
        self._worker = ConnectionLimit(
            worker, 429, f"{code}_worker_full", f"this worker already has {{}} {kind}, the maximum ({by_worker})"
        )

    def take(self, request: Request) -> Place:
        """Raise TooManyAtATime if there is no place for another request of this client."""
        with self.lock, ExitStack() as stack:
            try:
                stack.enter_context(self._clients.hold(_client_of(request)))
                stack.enter_context(self._worker.hold())
            except LimitExceeded as full:
                counters.REQUESTS_REFUSED.labels(full.code).inc()
                raise TooManyAtATime(f"{full.detail}; try again later") from None
            return Place(self, stack.pop_all())


class Held:
    """The content of a response, which holds a place until it is closed."""

    def __init__(self, content: AsyncIterable[bytes], place: Place):
        self._content, self._place = content, place

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._content)

    def close(self) -> None:
        """Release the place; Django calls this when the response ends."""
        self._place.release()


def _client_of(request: Request) -> str:
    if isinstance(request.auth, Robot):
        return f"robot {request.auth.pk}"
    return f"user {request.user.pk}" if request.user.is_authenticated else f"address {address_of(request)}"


@contextmanager
def turn_to_work() -> Iterator[None]:
    """Wait until this thread may work on frames; raises ManyAtWork. The caller holds no database connection."""
    if not working.acquire(timeout=MAX_WAIT_TO_WORK_S):
        counters.REQUESTS_REFUSED.labels(ManyAtWork.default_code).inc()
        raise ManyAtWork
    try:
        yield
    finally:
        working.release()


waits = RequestLimit("waits", "requests that wait for frames", "WAITS_PER_USER", "WAITS_PER_WORKER")
downloads = RequestLimit("downloads", "downloads", "DOWNLOADS_PER_USER", "DOWNLOADS_PER_WORKER")
