"""What is computed of a session that has ended, in a process of its own: NumPy and Arrow are 60 MB, and would hold up
the robots' frames.
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

DEBOUNCE_S = 3  # a fleet stops together, and one process does for all
LOOK_S = 600  # for what was left by a process that failed, or a worker that was killed
# It takes what processor time there is left, and the kernel ends it with this process, however that ends.
COMMAND = ["nice", "-n", "19", "setpriv", "--pdeathsig", "KILL", sys.executable, "manage.py", "quality"]
ENDED_BY_PEOPLE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class QualityProcess:
    """Runs `manage.py quality` when some are due, one at a time; nothing waits for it.

    `is_left_over` asks the database, as at the start nobody knows.
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
            except Exception as error:  # it must go on, whatever one turn met
                logger.warning("quality could not be computed now: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._due.wait()
                await asyncio.sleep(DEBOUNCE_S)

    async def _compute(self) -> None:
        code, session_id = await self._run("--limited")
        if code < 0 and -code not in ENDED_BY_PEOPLE and session_id:
            # By its limits, or for want of memory. What it was at would end the next process too.
            reason = f"the process that computed it was ended by {signal.Signals(-code).name}"
            logger.warning("session %s gets no quality: %s", session_id, reason)
            code, _ = await self._run("--give-up", reason, "--session", session_id)
            self._due.set()  # the others
        if code:
            logger.warning("manage.py quality ended with %d; its output is above", code)

    async def _run(self, *options: str) -> tuple[int, str]:
        """Return the exit code, and the id of the session that was begun last."""
        # One thread for NumPy's algebra, of which none is used: 20 ms and a stack for each that it would start.
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
