"""Move a session between two workers: the new one waits until the old one has stored or dropped its frames."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

ANSWER_TIMEOUT_S = 0.5  # a worker that runs answers within milliseconds; one that was killed never does
DRAIN_TIMEOUT_S = 2  # frames that the old worker could not store by then are dropped: nothing acknowledged them
RELEASE_TIMEOUT_S = 5

ACCEPTED, DONE = "accepted", "done"


class StillHeld(Exception):
    """The old worker runs and has not stored or dropped its frames of the session in time."""


class Takeovers:
    """Requests for sessions that other workers hold, and the wait for their answers.

    The channel layer may be unreachable, and the old worker killed or stopped: without an answer the session is taken
    all the same. A stopped worker that continues later notices the takeover at its next heartbeat; a frame that it
    stores before is one that the robot sent.
    """

    def __init__(self, worker: str, ask: Callable[..., Awaitable[None]]):
        self._worker = worker
        self._ask = ask
        self._answers: dict[str, asyncio.Queue[str]] = {}  # by the holder that has to release its session

    async def take_over(self, holder: str) -> None:
        """Wait until the holder's frames are stored or dropped, or no worker answers for it; raise StillHeld."""
        answers = self._answers[holder] = asyncio.Queue()
        try:
            await self._ask(holder=holder, reply_to=self._worker)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    answer = await answers.get()
            except TimeoutError:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_TIMEOUT_S):
                    while answer != DONE:
                        answer = await answers.get()
            if answer != DONE:
                raise StillHeld(f"the worker that has the session did not release it within {RELEASE_TIMEOUT_S} s")
        finally:
            self._answers.pop(holder, None)

    def on_answer(self, message: dict[str, Any]) -> None:
        if message["to"] == self._worker and message["holder"] in self._answers:
            self._answers[message["holder"]].put_nowait(message["state"])
