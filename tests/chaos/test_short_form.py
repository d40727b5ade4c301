"""Kill each process while a few robots stream. `make chaos` is the long form."""

import pytest

from tests.chaos.database_faults import every_row_rejected
from tests.chaos.environment import postgres_database, serving, sqlite_file
from tests.chaos.failover import fail_over
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.process_scenarios import kill_each
from tests.chaos.robot_process import ProcessFleet
from tests.chaos.scenarios import (
    all_end,
    kill,
    kill_a_worker,
    lock_rows,
    outlast,
    restart,
    terminate,
    wait_until_settled,
)
from tests.chaos.uploaders import Uploaders, all_are_stored, kill_during_uploads
from tests.services import redis, wait_until
from tests.standby import postgres_pair, url_of_both

ROBOTS = 4  # each costs 0.1 s of CPU a second


def test_it_loses_no_frame_on_sqlite():
    with sqlite_file() as url, serving(url) as server, Fleet(server.url, Ledger(), ROBOTS) as fleet:
        terminate(fleet, server, times=1)
        kill(fleet, server, times=1)
        all_end(fleet, url)


def test_it_loses_no_frame_on_postgresql():
    """One server has all these faults: its start and that of its database take as much CPU as a fault."""
    with postgres_database() as (service, url), serving(url) as server, Fleet(server.url, Ledger(), ROBOTS) as fleet:
        outlast(fleet, every_row_rejected(service), seconds=2)
        lock_rows(fleet, url, seconds=3)
        restart(fleet, service, times=1)
        terminate(fleet, server, times=1)
        kill(fleet, server, times=1)
        all_end(fleet, url)


@pytest.mark.long
def test_it_loses_no_frame_with_two_workers():
    with (
        postgres_database() as (_, url),
        redis() as channels,
        serving(url, "--workers", "2", redis_url=channels.url) as server,
        Fleet(server.url, Ledger(), ROBOTS) as fleet,
    ):
        kill_a_worker(fleet, server, times=1)
        restart(fleet, channels, times=1)
        terminate(fleet, server, times=1)
        all_end(fleet, url)


@pytest.mark.long
def test_it_loses_no_frame_in_a_failover_to_a_synchronous_standby():
    with postgres_pair() as (primary, standby):
        url = url_of_both(primary, standby)
        with serving(url) as server, Fleet(server.url, Ledger(), ROBOTS) as fleet:
            fail_over(fleet, primary, standby)
            all_end(fleet, url)


@pytest.mark.long
def test_it_loses_no_frame_of_killed_programs_of_robots(tmp_path):
    with sqlite_file() as url, serving(url) as server, ProcessFleet(server.url, tmp_path, count=2) as fleet:
        wait_until_settled(fleet)
        kill_each(fleet)
        server.kill()
        wait_until(lambda: all(robot.waiting > 60 for robot in fleet.robots), what="robots keep frames")
        kill_each(fleet)
        server.start()
        all_end(fleet, url)


@pytest.mark.long
def test_it_loses_no_film_that_it_answered(tmp_path):
    with (
        sqlite_file() as url,
        serving(url, MEDIA_ROOT=str(tmp_path)) as server,
        Uploaders(server, tmp_path, count=3) as uploaders,
    ):
        kill_during_uploads(uploaders, server, times=1)
        all_are_stored(uploaders, server, url)
