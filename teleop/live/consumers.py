"""Consumers of `/ws/live/<robot_id>` and `/ws/fleet` (docs/live.md)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress

import orjson
from channels.auth import get_user
from channels.db import database_sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.backends.db import SessionStore
from django.db import Error as DatabaseFailure

from robots.api.permissions import WATCH
from robots.close_codes import WatchClose
from robots.models import ROBOT_ID
from robots.querysets import HandshakeRefused
from teleop.asgi import connection_limits
from teleop.live import roster
from teleop.live.hub import FleetWatch, RobotWatch, running_hub
from teleop.monitoring import counters

logger = logging.getLogger(__name__)

DATABASE_TIMEOUT_S = 10
LOGIN_AGAIN_S = 30
NEXT = {"type": "next"}
MAX_REQUEST = 64
MAX_PREVIEWS_REQUEST, MAX_TILES = 8192, 100

Send = Callable[[dict], Awaitable[None]]


class WatchConsumer:
    """A consumer that sends one answer per request; a second request before the answer changes nothing.

    So a client that is too slow, does not read or sends requests without end gets fewer answers, and costs one flag.
    """

    async def __call__(self, scope, receive, send) -> None:
        await receive()  # websocket.connect
        with ExitStack() as places:
            await self._serve(scope, receive, send, places)

    async def _serve(self, scope, receive, send, places: ExitStack) -> None:
        address = connection_limits.address_of(scope)
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT_S):
                async with connection_limits.checks.turn(address):
                    user = await watcher(scope)
                if user is None:
                    raise HandshakeRefused("no_login", "no login of a person who may view robots and sessions")
                places.enter_context(connection_limits.watchers.hold())
                places.enter_context(connection_limits.addresses.hold(address))
                places.enter_context(connection_limits.people.hold(str(user.pk)))
                watch = await self.watch(**scope["url_route"]["kwargs"])
        except (DatabaseFailure, TimeoutError) as error:
            logger.warning("closed a watcher's connection with 1013: %s", str(error) or "no answer in time")
            watch = WatchClose.OVERLOADED
        await send({"type": "websocket.accept"})
        code: WatchClose | None
        if isinstance(watch, WatchClose):
            code = watch
        else:
            with counters.WATCHERS.track_inprogress():
                code = await self._attend(watch, scope, receive, send)
        if code is not None:
            await send({"type": "websocket.close", "code": int(code)})

    async def watch(self, robot_id: str = "") -> RobotWatch | FleetWatch | WatchClose:
        """Register a watch for the path, or return the code to close with; the fleet's path has no robot."""
        raise NotImplementedError  # each path has its own consumer

    async def _attend(self, watch: RobotWatch | FleetWatch, scope, receive, send) -> WatchClose | None:
        """Run these tasks until the first one ends; return its close code, None if the client closed the connection."""
        asked = asyncio.Event()
        direct = scope.get("extensions", {}).get("direct")
        works = (
            _requests(receive, asked, watch),
            _answers(watch, asked, send, direct),
            _logged_out(scope),
            _restarting(),
        )
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            running_hub().leave(watch)


class LiveConsumer(WatchConsumer):
    async def watch(self, robot_id: str = "") -> RobotWatch | WatchClose:
        found = await database_sync_to_async(roster.read)([robot_id]) if ROBOT_ID.fullmatch(robot_id) else {}
        return running_hub().watch_robot(robot_id, found[robot_id]) if found else WatchClose.UNKNOWN_ROBOT


class FleetConsumer(WatchConsumer):
    async def watch(self, robot_id: str = "") -> FleetWatch:
        return running_hub().watch_fleet()


async def _requests(receive, asked: asyncio.Event, watch: RobotWatch | FleetWatch) -> WatchClose | None:
    """Read requests without pause, as the server's queue has no bound."""
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        message = event["bytes"] if text is None else text
        if _is_next(message):
            watch.previews.note_request()
            asked.set()
        elif (robot_ids := _wanted_previews(message)) is not None:
            watch.want_previews(robot_ids)
        else:
            return WatchClose.NOT_NEXT
    return None


def _is_next(message: bytes | str) -> bool:
    try:
        return len(message) <= MAX_REQUEST and orjson.loads(message) == NEXT
    except orjson.JSONDecodeError:
        return False


def _wanted_previews(message: bytes | str) -> list[str] | None:
    """Return the robots that the page wants pictures of, or None for any other message."""
    if len(message) > MAX_PREVIEWS_REQUEST:
        return None
    try:
        match orjson.loads(message):
            case {"type": "previews", "robots": [*robots], **rest} if not rest and len(robots) <= MAX_TILES:
                valid = all(isinstance(robot_id, str) and ROBOT_ID.fullmatch(robot_id) for robot_id in robots)
                return robots if valid else None
    except orjson.JSONDecodeError:
        pass
    return None


async def _answers(watch: RobotWatch | FleetWatch, asked: asyncio.Event, send: Send, direct) -> None:
    while True:
        await asked.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(watch.timeout_s):
                await watch.updated.wait()
        if direct is None or not direct.has_unsent():  # else the last answer has not left this process
            asked.clear()
            for picture in watch.previews.messages():
                await send({"type": "websocket.send", "bytes": picture})
            await send({"type": "websocket.send", "text": watch.answer()})
        await asyncio.sleep(watch.interval_s)


async def _logged_out(scope) -> WatchClose:
    """Return within half a minute if the user logged out or lost the permission; a page may be open for days."""
    while True:
        await asyncio.sleep(LOGIN_AGAIN_S)
        with suppress(DatabaseFailure, TimeoutError):
            async with asyncio.timeout(DATABASE_TIMEOUT_S):
                if await watcher(scope) is None:
                    return WatchClose.LOGGED_OUT


async def _restarting() -> WatchClose:
    await running_hub().closing.wait()
    return WatchClose.RESTARTING


async def watcher(scope) -> AbstractBaseUser | None:
    """Return the user of the cookie's session if the database grants this user the permission now, else None."""
    user = await get_user({"session": SessionStore(scope["session"].session_key)})
    may_watch = user.is_active and await database_sync_to_async(user.has_perms)(WATCH)
    return user if may_watch else None
