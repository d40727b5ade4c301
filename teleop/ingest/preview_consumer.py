import asyncio
from contextlib import ExitStack, suppress
from functools import partial
from math import inf
from urllib.parse import parse_qs

from django.conf import settings

from robots.client_address import client_address, counted_address, joined
from robots.close_codes import Close
from robots.querysets import HandshakeRefused, RobotDisabled
from teleop.asgi import connection_limits
from teleop.asgi.budgets import Budgets
from teleop.asgi.connection_limits import ConnectionLimit, LimitExceeded
from teleop.ingest.consumer import check_id, refuse_for_now, robot_key
from teleop.ingest.handshakes import HANDSHAKES_AT_ONCE, DatabaseUnavailable, ServerRestarting
from teleop.ingest.transports import AsgiTransport, DaphneTransport
from teleop.ingest.worker import running_worker

ACCEPT = {"type": "websocket.accept"}
KEY_AGAIN_S = 30

# Not the limits of /ws/log: previews must not keep a robot from its frames.
accepted = Budgets(settings.HANDSHAKES_PER_ROBOT / 60 or inf, HANDSHAKES_AT_ONCE)
robots = ConnectionLimit(4, 429, "previews_full", "the robot already has {} connections for previews, the maximum")


class PreviewConsumer:
    """ASGI application that serves `/ws/preview/<robot_id>`: docs/protocol.md, "Previews of cameras"."""

    async def __call__(self, scope, receive, send) -> None:
        await receive()  # websocket.connect
        with ExitStack() as places:
            await self._serve(scope["url_route"]["kwargs"]["robot_id"], scope, receive, send, places)

    async def _serve(self, robot_id: str, scope, receive, send, places: ExitStack) -> None:
        worker = running_worker()
        check_id(robot_id)
        headers = joined(scope["headers"])
        key = robot_key(headers, parse_qs(scope["query_string"].decode("latin1")))
        address = client_address((scope.get("client") or [None])[0], headers)
        authenticate = partial(worker.handshakes.authenticate, robot_id, key, address)
        if accepted.of(robot_id).wait_s(1):
            detail = f"the robot opens more than {settings.HANDSHAKES_PER_ROBOT} connections for previews per minute"
            raise LimitExceeded(429, "robot_handshakes", f"{detail} (HANDSHAKES_PER_ROBOT)")
        try:
            key_hash = await authenticate()
        except (DatabaseUnavailable, ServerRestarting) as error:
            await refuse_for_now(error, scope, send, ACCEPT)
            return
        accepted.of(robot_id).spend(1)
        places.enter_context(robots.hold(robot_id))
        places.enter_context(connection_limits.addresses.hold(counted_address(address)))
        await send(ACCEPT)
        direct = scope.get("extensions", {}).get("direct")
        transport = DaphneTransport(direct) if direct else AsgiTransport(send)
        preview = worker.previews.connect(robot_id, key_hash, transport)
        checking = asyncio.create_task(_check_again(preview, authenticate))
        try:
            if direct:
                direct.share_budget(f"{robot_id} previews")  # no robot has a space in its id
                direct.attach(preview.receive)
            while (event := await receive())["type"] == "websocket.receive":
                text = event.get("text")
                preview.receive(event["bytes"] if text is None else text)
        finally:
            checking.cancel()
            worker.previews.disconnected(preview)


async def _check_again(preview, authenticate) -> None:
    """Close the connection within half a minute of a replaced key or a disabled robot if no message told the worker."""
    while True:
        await asyncio.sleep(KEY_AGAIN_S)
        with suppress(DatabaseUnavailable, ServerRestarting):
            try:
                await authenticate()
            except LimitExceeded:  # of the address, which says nothing about the key
                pass
            except RobotDisabled:
                preview.close(Close.DISABLED)
            except HandshakeRefused:
                preview.close(Close.KEY_REVOKED)
