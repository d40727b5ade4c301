"""`make chaos`: databases that are read-only, locked, without permission for frames, or replaced by their standby.

Each test runs with one worker and with two.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.chaos.database_faults import (
    SESSION_DELETED,
    SESSION_FOR_NO_KEY_UPDATE,
    SESSION_FOR_UPDATE,
    every_row_rejected,
    inserts_revoked,
    read_only,
)
from tests.chaos.environment import database_of_a_role, migrated, postgres_database, serving_with
from tests.chaos.failover import cancel_waits, fail_over, lose_unreplicated_rows
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.scenarios import all_end, lock_rows, outlast, terminate
from tests.services import Postgres, Server
from tests.standby import Standby, postgres_pair, url_of_both

ROBOTS, MINUTE_S = 50, 60
pytestmark = pytest.mark.timeout(900)
ONE_AND_TWO_WORKERS = pytest.mark.parametrize("count", [1, 2])


@ONE_AND_TWO_WORKERS
def test_it_loses_no_frame_while_the_database_is_read_only(count: int):
    with (
        postgres_database() as (service, url),
        serving_with(count, url) as server,
        Fleet(server.url, Ledger(), ROBOTS) as fleet,
    ):
        for seconds in (4, 20):
            outlast(fleet, read_only(service), seconds)
            terminate(fleet, server, times=1)
        all_end(fleet, url)


@ONE_AND_TWO_WORKERS
def test_it_refuses_no_frame_while_inserts_are_revoked_or_rejected(count: int):
    with (
        database_of_a_role() as (service, url),
        serving_with(count, url) as server,
        Fleet(server.url, Ledger()) as fleet,
    ):
        outlast(fleet, inserts_revoked(service), MINUTE_S)
        for sqlstate in ("P0001", "23514"):
            outlast(fleet, every_row_rejected(service, sqlstate), MINUTE_S)
        all_end(fleet, url)


@ONE_AND_TWO_WORKERS
def test_it_refuses_no_frame_while_a_trigger_is_added_and_dropped(count: int):
    """The trigger may begin or end while a group is judged: some rows of it fail, and the next ones are accepted."""
    with (
        database_of_a_role() as (service, url),
        serving_with(count, url) as server,
        Fleet(server.url, Ledger()) as fleet,
    ):
        for _ in range(30):
            outlast(fleet, every_row_rejected(service, "23514"), seconds=1)
        all_end(fleet, url)


@ONE_AND_TWO_WORKERS
def test_a_row_locked_for_a_minute_delays_only_its_own_robot(count: int):
    with postgres_database() as (_, url), serving_with(count, url) as server, Fleet(server.url, Ledger()) as fleet:
        lock_rows(fleet, url, MINUTE_S, SESSION_FOR_UPDATE)
        for statement in (SESSION_FOR_NO_KEY_UPDATE, SESSION_DELETED):
            lock_rows(fleet, url, 15, statement)
        all_end(fleet, url)


@ONE_AND_TWO_WORKERS
def test_it_loses_no_frame_in_a_failover_to_a_synchronous_standby(count: int):
    with replicated(count) as (fleet, _, primary, standby):
        fail_over(fleet, primary, standby)


@ONE_AND_TWO_WORKERS
def test_it_acknowledges_no_row_that_was_not_replicated(count: int):
    """Few robots: large groups use up their part of the sequence, which alone causes a write to the log."""
    with replicated(count, robots=4, fps=20) as (fleet, server, primary, standby):
        lose_unreplicated_rows(fleet, server, primary, standby)


@ONE_AND_TWO_WORKERS
def test_it_acknowledges_no_commit_with_a_cancelled_wait_for_the_standby(count: int):
    with replicated(count) as (fleet, _, primary, standby):
        cancel_waits(fleet, primary, standby)


@contextmanager
def replicated(count: int, robots: int = 20, fps: int = 60) -> Iterator[tuple[Fleet, Server, Postgres, Standby]]:
    """Stream to a replicated pair; afterwards check the remaining database against the ledger."""
    with postgres_pair() as (primary, standby):
        url = migrated(url_of_both(primary, standby))
        with serving_with(count, url) as server, Fleet(server.url, Ledger(), robots, fps) as fleet:
            yield fleet, server, primary, standby
            all_end(fleet, url)
