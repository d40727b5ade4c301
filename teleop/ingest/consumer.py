import asyncio
import re
from contextlib import ExitStack
from urllib.parse import parse_qs

from robots.client_address import client_address, joined
from robots.close_codes import Close
from robots.models import ROBOT_ID
from robots.querysets import HandshakeRefused
from teleop.asgi.connection_limits import address_of
from teleop.asgi.origins import check_origin
from teleop.asgi.refusals import report
from teleop.ingest.handshakes import Abandoned, DatabaseUnavailable, ServerRestarting
from teleop.ingest.transports import AsgiTransport, DaphneTransport, NullTransport
from teleop.ingest.types import ANY_ID
from teleop.ingest.worker import running_worker
from teleop.protocol import SESSION_KEY, SUBPROTOCOL

SESSION_ID = re.compile(r"[0-9]{1,18}")
TURNS = 8  # event-loop iterations, until a disconnect in the socket has passed through Twisted and Daphne


class RobotConsumer:
    """ASGI application that serves `/ws/log/<robot_id>`: docs/protocol.md.

    It has a receive loop of its own: Channels' dispatch waits for a thread on every message, which costs 100 us a
    frame. The loop waits only for the next message, because the server's queue has no bound.
    """

    async def __call__(self, scope, receive, send) -> None:
        await receive()  # websocket.connect
        robot_id = scope["url_route"]["kwargs"]["robot_id"]
        first = asyncio.ensure_future(receive())  # before accept, the only possible event is a disconnect
        try:
            with ExitStack() as places:
                await self._serve(robot_id, scope, first, receive, send, places)
        finally:
            first.cancel()

    async def _serve(self, robot_id: str, scope, first: asyncio.Future[dict], receive, send, places: ExitStack) -> None:
        def has_left() -> bool:
            return first.done() and first.result()["type"] == "websocket.disconnect"

        worker = running_worker()
        headers = joined(scope["headers"])
        query = parse_qs(scope["query_string"].decode("latin1"), keep_blank_values=True)
        mute = SUBPROTOCOL not in scope["subprotocols"]
        accept = {"type": "websocket.accept", "subprotocol": None if mute else SUBPROTOCOL}
        # If the client disconnected while this process was busy, the disconnect is queued behind the handshake.
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if has_left():
            return
        session_key, key = _session_key(robot_id, query), robot_key(headers, query)
        address = client_address((scope.get("client") or [None])[0], headers)
        takes_over, expected_id = query.get("takeover") != ["no"], _expected_id(query)
        try:
            lease = await worker.handshakes.open(
                robot_id, key, session_key, address, has_left, places, takes_over, expected_id
            )
        except (DatabaseUnavailable, ServerRestarting) as error:
            await refuse_for_now(error, scope, send, accept)
            return
        except Abandoned:
            return
        direct = scope.get("extensions", {}).get("direct")
        if direct:
            direct.share_budget(robot_id)
        transport = DaphneTransport(direct) if direct else AsgiTransport(send)
        code: int | None = None
        try:
            try:
                await send(accept)
            finally:  # even if accept fails or is cancelled, the session has an owner that releases it
                connection = worker.connect(lease, NullTransport(transport) if mute else transport)
            connection.greet()
            worker.previews.greeted(connection)
            if direct:
                direct.attach(connection.receive)
            event = await first
            while event["type"] == "websocket.receive":
                text = event.get("text")
                connection.receive(event["bytes"] if text is None else text)
                event = await receive()
            code = event.get("code")
        finally:
            worker.disconnected(connection, code)


async def refuse_for_now(error: DatabaseUnavailable | ServerRestarting, scope, send, accept: dict) -> None:
    """Accept and close the connection, so that the client tries again later."""
    code = Close.OVERLOADED if isinstance(error, DatabaseUnavailable) else Close.RESTARTING
    report(HandshakeRefused(error.code, f"closed with {code:d}: {error}"), address_of(scope), scope["path"])
    await send(accept)
    await send({"type": "websocket.close", "code": int(code)})


def check_id(robot_id: str) -> None:
    if not ROBOT_ID.fullmatch(robot_id):
        raise HandshakeRefused("invalid_id", f"the robot id must match {ROBOT_ID.pattern}")


def _session_key(robot_id: str, query: dict[str, list[str]]) -> str | None:
    check_id(robot_id)
    session_key = query.get("session", [None])[0]
    if session_key is not None and not SESSION_KEY.fullmatch(session_key):
        raise HandshakeRefused("invalid_session", f"the session key must match {SESSION_KEY.pattern}")
    return session_key


def _expected_id(query: dict[str, list[str]]) -> int | None:
    session_id = query.get("expect", [None])[0]
    if session_id == "any":
        return ANY_ID
    if session_id is not None and not SESSION_ID.fullmatch(session_id):
        raise HandshakeRefused("invalid_expect", f"the expected session id must be 'any' or match {SESSION_ID.pattern}")
    return None if session_id is None else int(session_id)


def robot_key(headers: dict[str, str], query: dict[str, list[str]]) -> str | None:
    """Return the key, and check Origin unless a header has the key.

    A web page cannot set headers of a WebSocket, while some libraries for programs send an Origin of their own.
    """
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if key := key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", ""):
        return key
    check_origin(headers, ", or the robot's key in the header Authorization or X-API-Key")
    return query.get("api_key", [None])[0]
