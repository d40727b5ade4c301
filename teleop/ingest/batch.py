import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple

from teleop.ingest.transactions import is_isolatable

RETRY_S = 0.1


class _Call(NamedTuple):
    item: Any
    result: asyncio.Future


class Batch:
    """Queue that runs waiting database calls together: `await batch(item)` returns the item's result.

    `run_all(items)` returns a result for each of at most `most` items with different keys. None as a result means that
    a row is locked: the batch tries that item again soon, and the item delays no other one. If the calls fail together
    for a reason that may be one item's own, the batch runs them one by one. `discard` gets the result of a cancelled
    caller.
    """

    def __init__(
        self,
        run_all: Callable[[Sequence], Awaitable[Sequence]],
        *,
        most: int,
        key: Callable[[Any], Hashable] = id,
        discard: Callable[[Any], object] = lambda result: None,
    ):
        self._run_all = run_all
        self._most = most
        self._key = key
        self._discard = discard
        self._calls: list[_Call] = []
        self._running: Sequence[_Call] = ()
        self._is_waiting = asyncio.Event()
        self._nothing_runs = asyncio.Event()
        self._nothing_runs.set()

    async def __call__(self, item: Any) -> Any:
        call = _Call(item, asyncio.get_running_loop().create_future())
        self._add(call)
        return await call.result

    async def cancel(self, error: Exception) -> None:
        """Fail all calls with this error at once; return when the running calls are over, and discard their results."""
        calls, self._calls = [*self._calls, *self._running], []
        for call in calls:
            if not call.result.done():
                call.result.set_exception(error)
        await self._nothing_runs.wait()

    async def run(self) -> None:
        while True:
            await self._is_waiting.wait()
            calls = self._take()
            if calls:
                self._running = calls
                self._nothing_runs.clear()
                try:
                    await self._run_together(calls)
                finally:
                    self._running = []
                    self._nothing_runs.set()

    def _add(self, call: _Call) -> None:
        self._calls.append(call)
        self._is_waiting.set()

    def _take(self) -> list[_Call]:
        taken: dict[Hashable, _Call] = {}
        left = []
        for call in self._calls:
            if call.result.done():
                continue
            if len(taken) < self._most and (key := self._key(call.item)) not in taken:
                taken[key] = call
            else:
                left.append(call)
        self._calls = left
        if not left:
            self._is_waiting.clear()
        return list(taken.values())

    async def _run_together(self, calls: Sequence[_Call]) -> None:
        try:
            results = await self._run_all([call.item for call in calls])
        except Exception as error:
            if len(calls) > 1 and is_isolatable(error):
                for call in calls:
                    await self._run_together([call])
                return
            for call in calls:
                if not call.result.done():
                    call.result.set_exception(error)
            return
        for call, result in zip(calls, results, strict=True):
            if result is None:
                asyncio.get_running_loop().call_later(RETRY_S, self._add, call)
            elif call.result.done():
                self._discard(result)
            else:
                call.result.set_result(result)
