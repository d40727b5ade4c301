"""A page and a robot at different workers, and the behaviour of the page without Redis."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, takewhile

import psutil
import pytest
import redis as redis_client

from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.scenarios import wait_until_settled, workers
from tests.robot_socket import frame
from tests.services import Redis, Server, wait_until
from tests.watch_connection import watching
from tests.worker_connections import serving_two_workers, watching_at, wire_at

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def two_workers(_server: Server, channels: Redis) -> Iterator[Server]:
    with serving_two_workers(_server, channels, "end_leases_soon") as server:
        yield server


@pytest.mark.django_db
def test_the_parent_has_no_threads(two_workers: Server):
    """Threads do not survive a fork: a worker would wait for ever for their results."""
    assert psutil.Process(two_workers.pid).num_threads() == 1


def test_a_page_receives_each_frame_once_at_any_worker(two_workers: Server, headers):
    one, another = (worker.pid for worker in workers(two_workers))
    for _ in range(5):  # the page closes before the worker has joined the group
        with watching_at(two_workers, another, "live/far", headers):
            pass
    with (
        wire_at(two_workers, one, "far") as robot,
        watching_at(two_workers, one, "live/far", headers) as near,
        watching_at(two_workers, another, "live/far", headers) as far,
        watching_at(two_workers, another, "fleet", headers) as fleet,
    ):
        for page in (near, far):
            wait_until(lambda page=page: page.next()["rate_hz"] is not None, what="watched")
        for index in range(100):
            robot.send(frame(index))
        for page in (near, far):
            indexes = (index for index, _, _ in page.frames())
            assert list(takewhile(lambda index: index < 99, indexes)) == list(range(99))
        tiles = wait_until(lambda: [each for each in fleet.next()["robots"] if each["rate_hz"] is not None])
        assert [(tile["id"], tile["session_id"]) for tile in tiles] == [("far", robot.greeting["session_id"])]


def test_workers_publish_only_while_a_page_watches(two_workers: Server, channels: Redis, headers):
    listener = redis_client.Redis(port=channels.port).pubsub(ignore_subscribe_messages=True)
    listener.subscribe("asgi__group__live")
    sent = count()

    def is_silent() -> bool:
        """Return whether no message arrives for 1 s."""
        return listener.get_message(timeout=1) is None

    with Fleet(two_workers.url, Ledger(), count=2) as fleet:
        wait_until_settled(fleet)
        wait_until(is_silent, what="the end of other tests' leases")
        with watching(two_workers, "fleet", headers):
            while next(sent) < 40:  # past the end of the first lease
                wait_until(lambda: not is_silent())
        wait_until(is_silent, what="the end of the lease")
        fleet.end()


@pytest.mark.parametrize("how", ["kill", pytest.param("freeze", marks=pytest.mark.long)])
def test_pages_recover_from_a_redis_outage(two_workers: Server, channels: Redis, headers, how: str):
    one, another = (worker.pid for worker in workers(two_workers))
    with ExitStack() as stack:
        robots = stack.enter_context(Fleet(two_workers.url, Ledger(), count=1))
        wait_until_settled(robots)  # a robot has no page before it is registered
        fleet = stack.enter_context(watching_at(two_workers, one, "fleet", headers))
        page = stack.enter_context(watching_at(two_workers, another, "live/robot_000", headers))
        wait_until(lambda: page.next()["frames"], what="frames")
        getattr(channels, how)()
        wait_until(lambda: page.next()["rate_hz"] is None, what="the page hears that nothing is heard")
        wait_until(lambda: fleet.next()["full"], what="the fleet is still read from the database")
        channels.start() if how == "kill" else channels.thaw()
        wait_until(lambda: page.next()["frames"], what="frames again")
        wait_until(lambda: any(each["rate_hz"] for each in fleet.next()["live"]), what="rates again")
        robots.end()
