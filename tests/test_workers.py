"""Two workers as one fleet: an event at one reaches a robot at the other, with Redis and without."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.core.management import call_command

from tests.chaos.environment import serving
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.scenarios import wait_until_settled, workers
from tests.robot_socket import KEY, RobotSocket, frame, register, robot_socket
from tests.services import ROOT, Redis, Server, wait_until
from tests.worker_connections import holders, rss, wire_at

AT_ONCE_S = 1
HEARTBEAT_S = 3 + 2  # and reserve for a busy machine
ROBOTS = 3


@pytest.fixture(scope="module")
def server(url: str, channels: Redis) -> Iterator[Server]:
    with serving(url, "--workers", "2", redis_url=channels.url) as server:
        wait_until(lambda: len(holders(server)) == 2, what="both workers take connections")
        yield server


def manage(server: Server, *command: str) -> str:
    """Run a command in its own process, as staff would, and return its output."""
    whole = [sys.executable, "manage.py", *command]
    environment = server.environment()
    return subprocess.run(whole, cwd=ROOT, env=environment, check=True, stdout=-1, text=True, timeout=30).stdout.strip()


def seconds_to_close(robot: RobotSocket) -> tuple[int, float]:
    begun = time.monotonic()
    return robot.receive_until_close()[0], time.monotonic() - begun


def take_over(server: Server, path: str) -> float:
    """Return the seconds until the old worker has closed its connection for a new one at the other worker."""
    one, another = (worker.pid for worker in workers(server))
    with wire_at(server, one, path) as old, wire_at(server, another, path) as new:
        old_closed = seconds_to_close(old)
        new.send(frame(new.greeting["next_frame_index"]))
        new.receive_until_ack(new.greeting["next_frame_index"])
    assert old_closed[0] == 4409
    return old_closed[1]


def test_a_take_over_reaches_the_other_worker_at_once(server: Server):
    for _ in range(3):  # by chance, one heartbeat may come at once
        assert take_over(server, "taken?session=morning-run") < AT_ONCE_S


def test_staff_disconnect_a_robot_at_any_worker(server: Server):
    with ExitStack() as stack:
        robots = [stack.enter_context(wire_at(server, worker.pid, "sent_away")) for worker in workers(server)]
        other = stack.enter_context(robot_socket(server, "another", key=None))
        manage(
            server, "shell", "-c", "from robots.worker_messages import *; close_connections(4403, robot_id='sent_away')"
        )
        for robot in robots:
            code, seconds = seconds_to_close(robot)
            assert (code, seconds < AT_ONCE_S) == (4403, True)
        other.send(frame(0))
        other.receive_until_ack(0)


@pytest.mark.once
def test_a_replaced_key_disconnects_a_robot_at_any_worker(start_server):
    server = start_server("--workers", "2")  # on the database and the Redis of this process
    register("keyed")
    wait_until(lambda: len(holders(server)) == 2, what="both workers take connections")
    with ExitStack() as stack:
        robots = [stack.enter_context(wire_at(server, worker.pid, "keyed", KEY)) for worker in workers(server)]
        call_command("robot_key", "keyed")
        for robot in robots:
            code, seconds = seconds_to_close(robot)
            assert (code, seconds < AT_ONCE_S) == (4401, True)


def test_it_notices_a_take_over_without_redis_by_the_second_heartbeat(url: str, server: Server):
    """Two servers share one database, like two machines; no Redis connects them."""
    path = "far?session=morning-run"
    with (
        serving(url) as one,
        robot_socket(one, path, key=None) as old,
        robot_socket(server, path, key=None),
    ):
        code, seconds = seconds_to_close(old)
        assert (code, seconds < 2 * HEARTBEAT_S) == (4409, True)


@pytest.mark.parametrize("how", [pytest.param("kill", marks=pytest.mark.long), "freeze"])
def test_ingest_continues_without_redis_and_messages_resume(server: Server, channels: Redis, how: str):
    with Fleet(server.url, Ledger(), ROBOTS) as fleet:
        wait_until_settled(fleet)
        before = rss(server)
        getattr(channels, how)()
        begun, acked = time.monotonic(), fleet.acked
        assert take_over(server, f"{how}?session=morning-run") < 2 * HEARTBEAT_S
        wait_until(lambda: time.monotonic() - begun > 4, what="time to notice, to try again and to collect")
        rate = (fleet.acked - acked) / (time.monotonic() - begun)
        assert rate > ROBOTS * 60 / 2  # if ingest waited for Redis, it would be near 0
        assert fleet.reconnects == 0
        assert rss(server) - before < 20 * 2**20
        channels.start() if how == "kill" else channels.thaw()
        wait_until(lambda: take_over(server, f"{how}?session=evening-run") < AT_ONCE_S, 20, "notices again")
        fleet.end()
