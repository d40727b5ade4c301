"""The refusals of WebSockets: each is logged, counted, kept with its robot, and answered."""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus

import orjson
from django.conf import settings

from robots.client_address import is_secure, joined
from robots.querysets import HandshakeRefused, RobotDisabled
from teleop.asgi import connection_limits
from teleop.asgi.connection_limits import LimitExceeded, address_of
from teleop.ingest.worker import worker_if_any
from teleop.monitoring import counters

logger = logging.getLogger(__name__)

ROBOT_PATH = re.compile(r"/ws/(?:log|preview)/(.+)")


class RefusalMiddleware:
    """The outermost ASGI application for WebSockets. It answers the refusals that the inner applications raise."""

    def __init__(self, application: Callable):
        self._application = application

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        try:
            if settings.HTTPS and not came_by_tls(scope):
                raise LimitExceeded(403, "not_tls", "the connection is not encrypted; wss:// expected (HTTPS=1)")
            with connection_limits.worker.hold():
                await self._application(scope, receive, send)
        except HandshakeRefused as refusal:
            address = address_of(scope)
            report(refusal, address, scope["path"])
            if refusal.status != HTTPStatus.SERVICE_UNAVAILABLE:  # another worker may have room
                await connection_limits.refusal_delay.wait(address)
            await answer(refusal, scope, send)


def came_by_tls(scope: dict) -> bool:
    """Return True if Django would call it secure: a key sent in clear text is exposed, and must not seem to work."""
    peer = (scope.get("client") or [None])[0]
    return is_secure(peer, scope.get("scheme", "ws"), joined(scope["headers"]))


def report(refusal: HandshakeRefused, address: str, path: str) -> None:
    """Log and count a refusal, and keep it as the last error of the robot that the path names."""
    logger.warning("refused a WebSocket from %s to %.120r: %s (%s)", address, path, refusal.detail, refusal.code)
    counters.HANDSHAKES_REFUSED.labels(refusal.code).inc()
    robot = ROBOT_PATH.fullmatch(path)
    if robot and (worker := worker_if_any()):
        worker.note_refusal(robot[1], refusal)


async def answer(refusal: HandshakeRefused, scope: dict, send: Callable) -> None:
    """Answer before accept: 403 without a reason to a stranger, or the reason of LimitExceeded or RobotDisabled.

    An ASGI server without the extension would answer 403 to all, after which a robot never reconnects.
    """
    has_extension = "websocket.http.response" in scope.get("extensions", {})
    if isinstance(refusal, LimitExceeded | RobotDisabled) and has_extension:
        headers = [(b"content-type", b"application/json")]
        body = {"detail": refusal.detail} | ({"code": refusal.code} if isinstance(refusal, RobotDisabled) else {})
        await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": orjson.dumps(body)})
    elif refusal.status == HTTPStatus.FORBIDDEN:
        await send({"type": "websocket.close"})
    else:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1013})
