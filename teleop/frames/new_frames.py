"""Wait for new frames of live sessions: one query every POLL_S for all waiting requests."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import NamedTuple
from weakref import WeakKeyDictionary

from teleop.frames.sql import release_connection
from teleop.models import TeleopFrame, TeleopSession

POLL_S = 0.25


class State(NamedTuple):
    """State of a session. is_live is read before next_index, so no frame committed before the end is missed."""

    is_live: bool
    next_index: int


class NewFrames:
    """Waiting requests of one event loop. The query has its own thread, as a request's thread ends with the request."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[State], tuple[int, int]] = {}
        self._thread = ThreadPoolExecutor(1, "new-frames")
        self._task: asyncio.Task[None] | None = None

    async def wait(self, session_id: int, start: int, timeout_s: float) -> State | None:
        """Return once the session has a frame from `start` on, or is not live; None after timeout_s with neither."""
        found = asyncio.get_running_loop().create_future()
        self._waiting[found] = session_id, start
        if self._task is None or self._task.done():
            # A new context: the context of a request would run the query in the request's thread.
            self._task = asyncio.create_task(self._poll(), context=Context())
        try:
            async with asyncio.timeout(timeout_s):
                return await found
        except TimeoutError:
            return None
        finally:
            del self._waiting[found]

    async def _poll(self) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_S)
            sessions = {session_id for session_id, _ in self._waiting.values()}
            try:
                states = await asyncio.get_running_loop().run_in_executor(self._thread, states_of, sessions)
            except Exception as error:  # raised in each waiting request, which has the handler for it
                self._fail(error)
                continue
            for found, (session_id, start) in self._waiting.items():
                state = states.get(session_id)
                if state and not found.done() and (not state.is_live or state.next_index > start):
                    found.set_result(state)

    def _fail(self, error: Exception) -> None:
        for found in self._waiting:
            if not found.done():
                found.set_exception(error)


def states_of(session_ids: Iterable[int]) -> dict[int, State]:
    """Read the states of these sessions; a deleted session is not live."""
    try:
        live = set(TeleopSession.objects.live().filter(pk__in=session_ids).values_list("pk", flat=True))
        next_indexes = TeleopFrame.objects.next_indexes(session_ids)
        return {pk: State(pk in live, next_index) for pk, next_index in next_indexes.items()}
    finally:
        release_connection()


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, NewFrames] = WeakKeyDictionary()


def new_frames() -> NewFrames:
    return _of_loop.setdefault(asyncio.get_running_loop(), NewFrames())
