"""Compute the quality of ended sessions in a process of its own.

NumPy and Arrow are 60 MB, and would delay the robots' frames.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from subprocess import DEVNULL, PIPE

from django.conf import settings

logger = logging.getLogger(__name__)

DEBOUNCE_S = 3  # a fleet stops together, and one process is enough for all
LOOK_S = 600  # for sessions left by a process that failed, or a worker that was killed
# The child takes only spare processor time, and the kernel kills it when this process ends in any way.
COMMAND = ["nice", "-n", "19", "setpriv", "--pdeathsig", "KILL", sys.executable, "manage.py", "quality"]
ENDED_BY_PEOPLE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class QualityProcess:
    """Runner of `manage.py quality` when sessions are due, one process at a time; no caller waits for it.

    `is_left_over` asks the database, because at the start this process does not know the due sessions.
    """

    def __init__(self, is_left_over: Callable[[], Awaitable[bool]]):
        self._is_left_over = is_left_over
        self._due = asyncio.Event()

    def is_due(self) -> None:
        self._due.set()

    async def run(self) -> None:
        while True:
            try:
                if self._due.is_set() or await self._is_left_over():
                    self._due.clear()
                    await self._compute()
            except Exception as error:  # the loop must go on after any error
                logger.warning("could not compute the quality of sessions; retrying later: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._due.wait()
                await asyncio.sleep(DEBOUNCE_S)

    async def _compute(self) -> None:
        code, session_id = await self._run("--limited")
        if code < 0 and -code not in ENDED_BY_PEOPLE and session_id:
            # Ended by its limits, or for lack of memory. The same session would end the next process too.
            reason = f"the process that computed the quality was killed by {signal.Signals(-code).name}"
            logger.warning("session %s has no quality: %s", session_id, reason)
            code, _ = await self._run("--give-up", reason, "--session", session_id)
            self._due.set()  # for the other sessions
        if code:
            logger.warning("manage.py quality exited with %d; its output is above", code)

    async def _run(self, *options: str) -> tuple[int, str]:
        """Return the exit code, and the id of the session that was begun last."""
        # One thread for NumPy's algebra, which is not used: each further thread would cost 20 ms and a stack.
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, *options),
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=DEVNULL,
            stdout=PIPE,
            start_new_session=True,
        )
        session_id = ""
        async for line in process.stdout or ():
            if line.endswith(b" begins\n"):
                session_id = line.split()[1].decode()
        return await process.wait(), session_id
