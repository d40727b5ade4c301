"""Ids of HTTP requests: in each answer, and in every line that is logged during the request."""

import re
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

HEADER = b"x-request-id"
WELL_FORMED = re.compile(rb"[A-Za-z0-9_-]{8,64}")

current: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id_of(given: bytes) -> bytes:
    """Return the id that nginx gave to the request, or a new id."""
    return given if WELL_FORMED.fullmatch(given) else uuid.uuid4().hex.encode()


def with_request_ids(application: Callable) -> Callable:
    """Wrap the application. A Django middleware would not cover Django's streams and its failures.

    Each request has its own context: a server makes a task for each request, and Django's threads get a copy.
    """

    async def handle(scope: dict, receive: Callable, send: Callable[[dict], Awaitable[None]]) -> None:
        request_id = request_id_of(dict(scope["headers"]).get(HEADER, b""))
        current.set(request_id.decode())

        async def send_with_id(message: dict) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], (HEADER, request_id)]}
            await send(message)

        await application(scope, receive, send_with_id)

    return handle
