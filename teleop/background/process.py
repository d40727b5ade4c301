"""Run `manage.py background` beside a server, while there is background work.

It has a process of its own: NumPy, Arrow and FFmpeg take 100 MB, and would delay the robots' frames.
"""

import asyncio
import logging
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable
from contextlib import suppress

from django.conf import settings

logger = logging.getLogger(__name__)

DEBOUNCE_S = 3  # a fleet stops together, and one process is enough for all
LOOK_S = 600  # at most, for work left by a process that failed, or a worker that was killed
IDLE_S = 60  # the process ends after this time without work, which frees its memory
# The kernel ends it when this process ends in any way. It gives its job back then.
COMMAND = ["setpriv", "--pdeathsig", "TERM", sys.executable, "manage.py", "background", f"--until-idle={IDLE_S}"]

_running: "BackgroundProcess | None" = None


class BackgroundProcess:
    """Runner of `manage.py background` when there may be work, one process at a time; no caller waits for it.

    `is_left_over` asks the database, because at the start this process does not know of work. `next_due_s` asks it in
    how many seconds work is due that waits for its time, such as the retry of a webhook.
    """

    def __init__(self, is_left_over: Callable[[], Awaitable[bool]], next_due_s: Callable[[], Awaitable[float | None]]):
        self._is_left_over = is_left_over
        self._next_due_s = next_due_s
        self._due = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def is_due(self) -> None:
        """Start the process soon. Any thread may call this."""
        self._loop.call_soon_threadsafe(self._due.set)

    async def run(self) -> None:
        global _running
        if settings.BACKGROUND_WORK != "serve":
            await asyncio.Future()  # `manage.py background` runs elsewhere
        _running = self
        while True:
            wait_s = LOOK_S
            try:
                if self._due.is_set() or await self._is_left_over():
                    self._due.clear()
                    await self._work()
                wait_s = min(LOOK_S, await self._next_due_s() or LOOK_S)
            except Exception as error:  # the loop must go on after any error
                logger.warning("could not do background work; retrying later: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._due.wait()
                await asyncio.sleep(DEBOUNCE_S)

    async def _work(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, cwd=settings.BASE_DIR, stdin=DEVNULL, start_new_session=True
        )
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:  # this server stops
                process.terminate()
                await process.wait()
        if code:
            logger.warning("manage.py background exited with %d; its output is above", code)


def work_is_due() -> None:
    """Tell the server of this process, if it has one, that there is background work."""
    if _running:
        _running.is_due()
