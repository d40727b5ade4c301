import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from math import inf
from typing import Any, NamedTuple

from django.conf import settings
from django.db import Error as DatabaseFailure

from robots import channel_layer
from robots.client_address import counted_address
from robots.close_codes import Close
from robots.querysets import HandshakeRefused
from robots.worker_messages import GROUP, notify_workers
from teleop.asgi import connection_limits
from teleop.asgi.budgets import Budgets
from teleop.asgi.connection_limits import LimitExceeded
from teleop.ingest import admission
from teleop.ingest.batch import Batch
from teleop.ingest.connection import RobotConnection
from teleop.ingest.takeover import ACCEPTED, DONE, DRAIN_TIMEOUT_S, StillHeld, Takeovers
from teleop.ingest.types import Claim, Handshake, SessionLease
from teleop.ingest.writer import FrameWriter

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10
MAX_GROUP = 100
HANDSHAKES_AT_ONCE = 20  # the connections that a robot may have, after the server was unreachable

InThread = Callable[..., Awaitable[Any]]


class DatabaseUnavailable(Exception):
    """The database did not answer in time; the robot may try again later."""

    code = "database_away"


class ServerRestarting(Exception):
    """The server stops; the robot may try again later."""

    code = "restarting"


class Abandoned(Exception):
    """The client disconnected during the handshake."""


class _Waiting(NamedTuple):
    handshake: Handshake
    has_left: Callable[[], bool]
    key_hash: str = ""  # once the key is checked


class Handshakes:
    """Service that assigns sessions to connecting robots, to all that wait at a time in a few statements.

    `read` and `write` run a blocking call in a database thread. `opening` are the holders that have no connection yet.
    """

    def __init__(
        self,
        worker_name: str,
        connections: Mapping[str, RobotConnection],
        writer: FrameWriter,
        read: InThread,
        write: InThread,
    ):
        self._worker_name = worker_name
        self._connections = connections
        self._writer = writer
        self._read = read
        self._write = write
        self._numbers = count(1)
        self._opening: set[str] = set()
        self._superseded: set[str] = set()
        self._nothing_opens = asyncio.Event()
        self._nothing_opens.set()
        self._is_closing = False
        self._checks = Batch(self._check_all, most=MAX_GROUP)
        self._claims = Batch(self._claim_all, most=MAX_GROUP, key=_session_of, discard=self._release_later)
        self._lasts = Batch(self._last_frames, most=MAX_GROUP)
        self._releases = Batch(self._release_all, most=MAX_GROUP, key=lambda claim: claim.lease.session_id)
        self._takeovers = Takeovers(worker_name, self._request_handover)
        self._tasks: set[asyncio.Task] = set()
        # By robot, and only for handshakes with the robot's key: a stranger must not spend the robot's budgets.
        self._accepted = Budgets(settings.HANDSHAKES_PER_ROBOT / 60 or inf, HANDSHAKES_AT_ONCE)
        self._new_sessions = Budgets(settings.NEW_SESSIONS_PER_ROBOT / 60 or inf, settings.NEW_SESSIONS_PER_ROBOT)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._checks.run())
            group.create_task(self._claims.run())
            group.create_task(self._lasts.run())
            group.create_task(self._releases.run())

    async def open(
        self,
        robot_id: str,
        key: str | None,
        session_key: str | None,
        address: str | None,
        has_left: Callable[[], bool],
        places: ExitStack,
        takes_over: bool = True,
        expected_id: int | None = None,
    ) -> SessionLease:
        """Authenticate the robot and take its session from the connection that has it, if any.

        Without `takes_over` the handshake is refused in place of taking the session from a live connection. With
        `expected_id` it is refused if the session was deleted, or has another id.
        Once the key is checked, `places` holds the connection's places in the limits of its robot and its address.
        Raises HandshakeRefused (also LimitExceeded), DatabaseUnavailable, ServerRestarting, and Abandoned if the client
        disconnected meanwhile. After Abandoned the session stays with its holder: the holder may be the client's next
        connection, which would be closed with 4409. A caller that gets a lease must call `opened`.
        """
        if self._accepted.of(robot_id).wait_s(1):
            limit = settings.HANDSHAKES_PER_ROBOT
            detail = f"the robot connects more than {limit} times per minute (HANDSHAKES_PER_ROBOT)"
            raise LimitExceeded(429, "robot_handshakes", detail)
        holder = f"{self._worker_name}.{next(self._numbers)}"
        session_key = session_key or uuid.uuid4().hex
        handshake = Handshake(robot_id, key, session_key, holder, address, takes_over, expected_id)
        self._opening.add(holder)
        self._nothing_opens.clear()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                return await self._open(_Waiting(handshake, has_left), places)
        except BaseException as error:
            self.opened(holder)
            if self._is_closing and isinstance(error, Exception):
                raise ServerRestarting("the server is restarting") from error
            if isinstance(error, (DatabaseFailure, TimeoutError, StillHeld)):
                raise DatabaseUnavailable(str(error) or "no answer in time") from error
            raise

    async def authenticate(self, robot_id: str, key: str | None, address: str | None) -> str:
        """Return the hash of the robot's accepted key, for a connection that has no session.

        Raises HandshakeRefused (also LimitExceeded), DatabaseUnavailable and ServerRestarting.
        """
        if self._is_closing:
            raise ServerRestarting("the server is restarting")
        waiting = _Waiting(Handshake(robot_id, key, "", "", address), has_left=lambda: False)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S), connection_limits.checks.turn(counted_address(address)):
                key_hash = await self._checks(waiting)
        except (DatabaseFailure, TimeoutError) as error:
            raise DatabaseUnavailable(str(error) or "no answer in time") from error
        if isinstance(key_hash, Exception):
            raise key_hash
        return key_hash

    async def _open(self, waiting: _Waiting, places: ExitStack) -> SessionLease:
        robot_id, address = waiting.handshake.robot_id, counted_address(waiting.handshake.address)
        async with connection_limits.checks.turn(address):
            if self._is_closing:
                raise ServerRestarting("the server is restarting")
            key_hash = await self._checks(waiting)
        if isinstance(key_hash, Exception):
            raise key_hash
        self._accepted.of(robot_id).spend(1)
        places.enter_context(connection_limits.robots.hold(robot_id))
        places.enter_context(connection_limits.addresses.hold(address))
        claim = await self._claims(waiting._replace(key_hash=key_hash))
        if isinstance(claim, Exception):
            raise claim
        if claim.is_new:
            self._new_sessions.of(robot_id).spend(1)
        try:
            if waiting.has_left():
                raise Abandoned
            if self._is_closing:
                raise ServerRestarting("the server is restarting")
            if claim.previous:
                await self._take_over(claim.previous)
            if claim.is_new:
                return claim.lease
            (last_frame,) = await self._lasts(claim.lease.session_id)
        except BaseException:
            self._release_later(claim)
            raise
        return claim.lease._replace(last_frame=last_frame, is_counted=not claim.was_live)

    def opened(self, holder: str) -> bool:
        """End the handshake; return whether another one has taken its session meanwhile."""
        self._opening.discard(holder)
        if not self._opening:
            self._nothing_opens.set()
        was_superseded = holder in self._superseded
        self._superseded.discard(holder)
        return was_superseded

    async def close(self) -> None:
        """Refuse all handshakes with ServerRestarting; return when none is under way."""
        self._is_closing = True
        restarting = ServerRestarting("the server is restarting")
        await asyncio.gather(*(batch.cancel(restarting) for batch in (self._checks, self._claims, self._lasts)))
        await self._nothing_opens.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def hand_over(self, connection: RobotConnection) -> None:
        """Close a connection after a takeover of its session; return when its frames are stored or dropped.

        Raises StillHeld if the frames are in a database call that does not return.
        """
        connection.close(Close.TAKEN_OVER)
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._writer.drained(connection)
        except TimeoutError:
            self._writer.drop(connection)
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._writer.drained(connection)
        except TimeoutError as error:
            raise StillHeld("the database does not answer and may still store frames of the old connection") from error

    def on_close_request(self, holder: str, reply_to: str) -> None:
        """Hand over the session of this holder to another worker, if the holder is one of this worker's."""
        if holder in self._opening:
            self._superseded.add(holder)
            self._in_background(self._answer(reply_to, holder, DONE))
        elif holder in self._connections:
            self._in_background(self._hand_over(self._connections[holder], reply_to))
        elif holder.startswith(f"{self._worker_name}."):
            self._in_background(self._answer(reply_to, holder, DONE))

    def on_answer(self, message: dict[str, Any]) -> None:
        self._takeovers.on_answer(message)

    async def _hand_over(self, connection: RobotConnection, reply_to: str) -> None:
        await self._answer(reply_to, connection.holder, ACCEPTED)
        await self.hand_over(connection)
        await self._answer(reply_to, connection.holder, DONE)

    async def _answer(self, worker_name: str, holder: str, state: str) -> None:
        await channel_layer.send(GROUP, {"type": "takeover", "to": worker_name, "holder": holder, "state": state})

    async def _take_over(self, holder: str) -> None:
        if holder in self._connections:
            await self.hand_over(self._connections[holder])
        elif holder in self._opening:
            self._superseded.add(holder)
        elif settings.REDIS_URL and not holder.startswith(f"{self._worker_name}."):
            await self._takeovers.take_over(holder)

    async def _request_handover(self, **of: str) -> None:
        try:
            await notify_workers(code=Close.TAKEN_OVER, **of)
        except Exception as error:  # redis-py, sockets and the layer raise different errors; each is an outage
            logger.warning("could not send a message through the channel layer: %s", error)

    async def _check_all(self, waiting: Sequence[_Waiting]) -> list[str | HandshakeRefused]:
        return await self._read(admission.authenticate, [waiter.handshake for waiter in waiting])

    async def _claim_all(self, waiting: Sequence[_Waiting]) -> list[Claim | Exception | None]:
        handshakes = [waiter.handshake for waiter in waiting]
        results: list[Any] = [Abandoned() if waiter.has_left() else waiter.key_hash for waiter in waiting]
        await self._refuse_new_sessions(handshakes, results)
        admitted = [place for place, result in enumerate(results) if not isinstance(result, Exception)]
        if admitted:
            arguments = ([values[place] for place in admitted] for values in (handshakes, results))
            claims = await self._write(admission.claim, *arguments)
            for place, claim in zip(admitted, claims, strict=True):
                results[place] = claim
        return results

    async def _refuse_new_sessions(self, handshakes: Sequence[Handshake], results: list[Any]) -> None:
        """Refuse new sessions of robots that have begun too many; handshakes that resume a session pass."""
        limited = [
            place
            for place, handshake in enumerate(handshakes)
            if not isinstance(results[place], Exception) and self._new_sessions.of(handshake.robot_id).wait_s(1)
        ]
        if not limited:
            return
        existing = await self._read(admission.existing_sessions, [handshakes[place] for place in limited])
        for place, exists in zip(limited, existing, strict=True):
            if not exists:
                limit = settings.NEW_SESSIONS_PER_ROBOT
                detail = f"the robot starts more than {limit} sessions per minute (NEW_SESSIONS_PER_ROBOT)"
                results[place] = LimitExceeded(429, "new_sessions", f"{detail}; ?session=KEY resumes a session")

    async def _last_frames(self, session_ids: Sequence[int]) -> list[tuple[tuple[int, int] | None]]:
        """Return each last frame in a tuple: None alone would mean that a row is locked, and the batch would retry."""
        return [(last_frame,) for last_frame in await self._read(admission.last_frames, session_ids)]

    async def _release_all(self, claims: Sequence[Claim]) -> list[bool | None]:
        return await self._write(admission.release, claims)

    def _release_later(self, claim: Claim | HandshakeRefused) -> None:
        if isinstance(claim, Claim):
            self._in_background(self._releases(claim))

    def _in_background(self, work: Awaitable) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._end_of_task)

    def _end_of_task(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.warning("could not hand over or release a session: %s", error)


def _session_of(waiting: _Waiting) -> tuple[str, str]:
    return waiting.handshake.robot_id, waiting.handshake.session_key
