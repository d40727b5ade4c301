"""Calls that wait for the database run together, and no call fails because of another one."""

import asyncio

import pytest
from django.db import IntegrityError, OperationalError

from teleop.ingest import batch
from teleop.ingest.batch import Batch


class Calls:
    """Record of the groups that a batch runs; `fails` and `locked` name items that fail or are locked."""

    def __init__(self):
        self.groups = []
        self.fails = {}
        self.locked = {}
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, items):
        self.groups.append(list(items))
        await self.go_on.wait()
        for item in items:
            if item in self.fails:
                raise self.fails[item]
        results = []
        for item in items:
            self.locked[item] = self.locked.get(item, 0) - 1
            results.append(None if self.locked[item] >= 0 else item * 10)
        return results


def run(story, **options):
    """Run `story(batch, calls)` beside a batch and return its result."""

    async def main():
        calls = Calls()
        together = Batch(calls, **{"most": 100} | options)
        running = asyncio.create_task(together.run())
        try:
            return await asyncio.wait_for(story(together, calls), 10), calls
        finally:
            running.cancel()

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def _retries_come_soon(monkeypatch):
    monkeypatch.setattr(batch, "RETRY_S", 0.001)


def test_it_runs_waiting_calls_in_one_batch():
    async def story(together, calls):
        return await asyncio.gather(*(together(item) for item in range(5)))

    results, calls = run(story)
    assert (results, calls.groups) == ([0, 10, 20, 30, 40], [[0, 1, 2, 3, 4]])


def test_it_limits_the_size_of_a_batch():
    async def story(together, calls):
        return await asyncio.gather(*(together(item) for item in range(5)))

    results, calls = run(story, most=2)
    assert (results, calls.groups) == ([0, 10, 20, 30, 40], [[0, 1], [2, 3], [4]])


def test_it_runs_items_of_one_key_one_after_another():
    async def story(together, calls):
        return await asyncio.gather(*(together(item) for item in (1, 2, 3)))

    results, calls = run(story, key=lambda item: item % 2)
    assert (results, calls.groups) == ([10, 20, 30], [[1, 2], [3]])


def test_it_retries_a_locked_item_without_delaying_others():
    async def story(together, calls):
        calls.locked[1] = 3
        waiting = asyncio.ensure_future(together(1))
        others = await asyncio.gather(together(2), together(3))
        assert not waiting.done()
        return [*others, await waiting]

    results, calls = run(story)
    assert results == [20, 30, 10]
    assert calls.groups[1:] == [[1]] * 3


def test_it_runs_calls_one_by_one_after_an_integrity_error():
    async def story(together, calls):
        calls.fails[2] = IntegrityError("the robot is deleted")
        return await asyncio.gather(*(together(item) for item in (1, 2, 3)), return_exceptions=True)

    results, calls = run(story)
    assert (results[0], str(results[1]), results[2]) == (10, "the robot is deleted", 30)
    assert calls.groups == [[1, 2, 3], [1], [2], [3]]


def test_it_fails_all_calls_at_once_if_the_database_is_unavailable():
    """Run one by one, each call would wait for the connection's timeout."""

    async def story(together, calls):
        calls.fails[1] = OperationalError("connection refused")
        return await asyncio.gather(*(together(item) for item in (1, 2, 3)), return_exceptions=True)

    results, calls = run(story)
    assert ({str(result) for result in results}, len(calls.groups)) == ({"connection refused"}, 1)


def test_it_does_not_run_a_cancelled_call():
    async def story(together, calls):
        calls.go_on.clear()
        first = asyncio.ensure_future(together(1))
        await asyncio.sleep(0)
        second, third = (asyncio.ensure_future(together(item)) for item in (2, 3))
        await asyncio.sleep(0)
        second.cancel()
        calls.go_on.set()
        return await asyncio.gather(first, third)

    results, calls = run(story)
    assert results == [10, 30]
    assert 2 not in [item for group in calls.groups[1:] for item in group]


def test_it_discards_the_result_of_a_cancelled_call():
    discarded = []

    async def story(together, calls):
        calls.go_on.clear()
        first = asyncio.ensure_future(together(1))
        while not calls.groups:  # noqa: ASYNC110
            await asyncio.sleep(0)
        first.cancel()
        calls.go_on.set()
        return await together(2)

    run(story, discard=discarded.append)
    assert discarded == [10]


def test_it_cancels_all_calls_and_discards_the_running_result():
    discarded = []

    async def story(together, calls):
        calls.go_on.clear()
        begun = asyncio.ensure_future(together(1))
        while not calls.groups:  # noqa: ASYNC110
            await asyncio.sleep(0)
        queued = asyncio.ensure_future(together(2))
        await asyncio.sleep(0)
        cancelling = asyncio.ensure_future(together.cancel(ConnectionError("restarting")))
        results = await asyncio.gather(begun, queued, return_exceptions=True)
        assert not cancelling.done()
        calls.go_on.set()
        await cancelling
        return results

    results, calls = run(story, discard=discarded.append)
    assert [str(result) for result in results] == ["restarting"] * 2
    assert (discarded, calls.groups) == ([10], [[1]])
