"""Each HTTP request has an id: in its answer, and in every line that is logged while it is handled."""

import re
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

HEADER = b"x-request-id"
WELL_FORMED = re.compile(rb"[A-Za-z0-9_-]{8,64}")

current: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id_of(given: bytes) -> bytes:
    """The one that nginx gave it, or a new one."""
    return given if WELL_FORMED.fullmatch(given) else uuid.uuid4().hex.encode()


def with_request_ids(application: Callable) -> Callable:
    """Around Django rather than one of its middlewares: what it streams and what fails in it is in here too.

    The context is the request's own: a server makes a task for each, and Django's threads get a copy.
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
