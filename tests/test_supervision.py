"""A worker that has lost one of its tasks restarts, and its robots continue."""

from pathlib import Path

import pytest

from tests.chaos.environment import serving, sqlite_file
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.scenarios import all_end, wait_until_settled
from tests.services import Redis, wait_until

pytestmark = pytest.mark.once


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.long), 2])
def test_it_restarts_when_a_task_of_a_worker_ends(channels: Redis, tmp_path: Path, workers: int):
    options = ("--workers", str(workers))
    settings = {"redis_url": channels.url, "how": "end_a_task_once", "MEDIA_ROOT": str(tmp_path)}
    with (
        sqlite_file() as url,
        serving(url, *options, **settings) as server,
        Fleet(server.url, Ledger(), count=2) as fleet,
    ):
        wait_until(lambda: fleet.reconnects, what="robots reconnect")
        wait_until_settled(fleet)
        assert "the sweep has ended" in server.output()
        assert "a task of the worker has ended unexpectedly; the process restarts" in server.output()
        assert server.process.poll() is None
        all_end(fleet, url)
