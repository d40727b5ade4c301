"""A database thread: it runs calls in order, reports that it is stuck or dead, and asks for recovery after failures."""

import asyncio
import threading

import pytest

from teleop.ingest.database import DatabaseThread
from tests.services import wait_until


class Recoveries(list):
    def __call__(self, error, failures_in_a_row):
        self.append((str(error), failures_in_a_row))


def fail():
    raise ValueError("no")


def test_it_runs_calls_in_order_in_one_thread():
    thread = DatabaseThread("test", lambda: None, Recoveries())
    ran = []

    async def run():
        await asyncio.gather(*(thread(lambda n=n: ran.append((n, threading.get_ident()))) for n in range(9)))

    asyncio.run(run())
    assert [number for number, _ in ran] == list(range(9))
    assert len({ident for _, ident in ran}) == 1


def test_it_counts_failures_in_a_row():
    recoveries = Recoveries()
    thread = DatabaseThread("test", lambda: None, recoveries)

    async def run():
        for function in (fail, fail, lambda: None, fail):
            if function is fail:
                with pytest.raises(ValueError, match="no"):
                    await thread(function)
            else:
                await thread(function)

    asyncio.run(run())
    assert [failures for _, failures in recoveries] == [1, 2, 1]


def test_it_reports_a_call_that_takes_too_long():
    thread, go_on = DatabaseThread("test", lambda: None, Recoveries()), threading.Event()

    async def run():
        assert thread.problem(0) is None
        call = asyncio.ensure_future(thread(go_on.wait))
        await asyncio.get_running_loop().run_in_executor(None, wait_until, lambda: thread.problem(0))
        assert thread.problem(3600) is None
        go_on.set()
        await call
        assert thread.problem(0) is None

    asyncio.run(run())


def test_it_survives_a_recovery_that_fails():
    thread = DatabaseThread("test", lambda: None, lambda *_: fail())

    async def run():
        with pytest.raises(ValueError, match="no"):
            await thread(fail)
        assert await thread(lambda: "alive") == "alive"

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_reports_that_it_has_died():
    def die(_error, _failures):
        raise SystemExit

    thread = DatabaseThread("test", lambda: None, die)

    async def run():
        call = asyncio.ensure_future(thread(fail))
        await asyncio.get_running_loop().run_in_executor(None, wait_until, lambda: not thread.is_alive)
        call.cancel()

    asyncio.run(run())
    assert thread.problem(3600) == "its database thread has died"
