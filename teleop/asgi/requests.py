"""Execution of Django's requests: a limited number at a time, and each runs to its end."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import orjson
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections

from teleop.monitoring import counters

MAX_AT_WORK = 8  # twice the pool of database connections
MAX_WAIT_S = 3
BUSY = f"this worker is busy with {MAX_AT_WORK} requests, and this one has waited {MAX_WAIT_S} s; try again later"
RETRY_AFTER_S = b"5"
UPLOAD, HEALTH = ("POST", "/videos"), "/health"


class Requests:
    """The ASGI application for HTTP. Its requests wait for their turn and run to their end.

    Each request has a thread. When 250 came at once, the event loop waited for Python's lock behind all of them, and
    the acks of robots waited for 0.2 s. A request has a turn until its response begins, so that streams need none.
    Uploads have their own limits, as they may wait for a probe. Health checks need no turn: they must answer in time.

    If a client disconnects, Daphne cancels its request again and again until the request ends. Django then does not
    close the connection of a thread that still waits for its statement, and the pool never gets the connection back.
    """

    def __init__(self, application: Callable) -> None:
        self._application = application
        self._turns = asyncio.Semaphore(MAX_AT_WORK)
        self._idle: list[ThreadPoolExecutor] = []
        self._running: set[asyncio.Task] = set()  # the event loop holds no strong reference to a task

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        task = asyncio.create_task(self._run(scope, receive, send))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)

    async def _run(self, scope: dict, receive: Callable, send: Callable) -> None:
        has_turn = needs_turn(scope)
        if has_turn and not await self._has_turn_in_time():
            await refuse(send)
            return

        def end_turn() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._turns.release()

        async def send_and_end_turn(message: dict) -> None:
            if message["type"] == "http.response.start":
                end_turn()
            await send(message)

        # One thread for the request's synchronous code, which keeps Django's objects for the next request.
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(max_workers=1, thread_name_prefix="request")
        try:
            async with ThreadSensitiveContext(executor=thread):
                try:
                    await self._application(scope, receive, send_and_end_turn)
                except BaseException:
                    await sync_to_async(connections.close_all)()  # in the thread that opened them
                    raise
        finally:
            end_turn()
            if len(self._idle) < MAX_AT_WORK:
                self._idle.append(thread)
            else:
                thread.shutdown(wait=False)

    async def _has_turn_in_time(self) -> bool:
        if not self._turns.locked():
            return await self._turns.acquire()  # at once: a timeout is made only for those that wait
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                return await self._turns.acquire()
        except TimeoutError:
            return False


def needs_turn(scope: dict) -> bool:
    return not scope["path"].startswith(HEALTH) and (scope["method"], scope["path"].removesuffix("/")) != UPLOAD


async def refuse(send: Callable) -> None:
    counters.REQUESTS_REFUSED.labels("busy").inc()
    headers = [(b"content-type", b"application/json"), (b"retry-after", RETRY_AFTER_S)]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps({"detail": BUSY})})
