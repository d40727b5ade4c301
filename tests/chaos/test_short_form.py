"""Everything is killed while twenty robots stream. `make chaos` is the long form."""

from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.scenarios import all_end, kill, kill_a_worker, restart, terminate
from tests.chaos.stage import postgres_database, serving, sqlite_file
from tests.services import redis


def test_nothing_is_lost_on_sqlite():
    with sqlite_file() as url, serving(url) as server, Fleet(server.url, Ledger()) as fleet:
        terminate(fleet, server, times=2)
        kill(fleet, server, times=5)
        all_end(fleet, url)


def test_nothing_is_lost_on_postgresql():
    with postgres_database() as (service, url), serving(url) as server, Fleet(server.url, Ledger()) as fleet:
        terminate(fleet, server, times=2)
        restart(fleet, service, times=1)
        kill(fleet, server, times=5)
        all_end(fleet, url)


def test_nothing_is_lost_by_two_workers():
    with (
        postgres_database() as (_, url),
        redis() as channels,
        serving(url, "--workers", "2", redis_url=channels.url) as server,
        Fleet(server.url, Ledger()) as fleet,
    ):
        kill_a_worker(fleet, server, times=1)
        restart(fleet, channels, times=1)
        terminate(fleet, server, times=1)
        all_end(fleet, url)
