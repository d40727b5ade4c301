"""How many sockets a server takes, and what a flood of strangers costs the robots: on real servers."""

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from django.contrib.auth.models import User
from websockets.exceptions import InvalidStatus

from robots.models import Robot
from tests.services import Server, wait_until
from tests.watching import login, watching
from tests.wire import bystander, frame, register, wire

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def small(_server: Server) -> Iterator[Server]:
    """Takes 2 connections of a robot, 4 of an address, 5 in all; 192.0.2.x are its robots, through a proxy."""
    limits = {"CONNECTIONS_PER_ROBOT": "2", "CONNECTIONS_PER_ADDRESS": "4", "CONNECTIONS_PER_WORKER": "5"}
    settings = {"DATABASE_URL": _server.settings["DATABASE_URL"], "TRUSTED_PROXIES": "127.0.0.1"}
    server = Server(_server.folder, **settings, **limits, REFUSALS_PER_ADDRESS="20", WATCHERS_PER_WORKER="1")
    yield server.start()
    server.stop()


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "leg", "hand", "bystander")


def fleet(server: Server, connected: ExitStack, *robots: str, address: str) -> list:
    header = {"Authorization": "Bearer a robot's key", "X-Forwarded-For": address}
    return [connected.enter_context(wire(server, each, additional_headers=header)) for each in robots]


def refused(server: Server, robot: str, address: str) -> tuple[int, str]:
    """The HTTP status, and what was said."""
    with pytest.raises(InvalidStatus) as caught, ExitStack() as connected:
        fleet(server, connected, robot, address=address)
    response = caught.value.response
    return response.status_code, json.loads(response.body)["detail"]


def test_each_limit_is_named_and_a_place_is_free_when_its_socket_is_closed(small: Server):
    with ExitStack() as connected:
        arms = fleet(small, connected, "arm", "arm", address="192.0.2.1")
        assert refused(small, "arm", "192.0.2.2") == (429, "the robot has 2 connections (CONNECTIONS_PER_ROBOT)")
        fleet(small, connected, "leg", "leg", address="192.0.2.1")
        assert refused(small, "hand", "192.0.2.1") == (429, "this address has 4 connections (CONNECTIONS_PER_ADDRESS)")
        fleet(small, connected, "hand", address="192.0.2.2")
        full = (503, "this worker has 5 connections (CONNECTIONS_PER_WORKER)")
        assert refused(small, "hand", "192.0.2.3") == full
        arms[0].say(frame(0))
        assert arms[0].hear_ack(0) == []
        wait_until(lambda: Robot.objects.get(pk="arm").last_error_code == "robot_full")
    page = urllib.request.urlopen(f"{small.url}/metrics", timeout=10).read().decode()
    for code in ("robot_full", "address_full", "worker_full"):
        assert f'teleop_handshakes_refused_total{{code="{code}"}} 1.0' in page
    wait_until(lambda: has_room(small, "arm", "arm", "leg", "leg"))


def has_room(server: Server, *robots: str) -> bool:
    with ExitStack() as connected, suppress(InvalidStatus):
        return bool(fleet(server, connected, *robots, address="192.0.2.1"))
    return False


def test_one_more_who_watches_is_told_to_come_back_and_the_robots_are_not(small: Server):
    headers = login(User.objects.create_superuser("admin"))
    with watching(small, "fleet", headers) as page, wire(small) as robot:
        with pytest.raises(InvalidStatus) as caught, watching(small, "live/arm", headers):
            pass
        assert caught.value.response.status_code == 503
        assert b"WATCHERS_PER_WORKER" in caught.value.response.body
        robot.say(frame(0))
        assert robot.hear_ack(0) == []
        assert page.next()["type"] == "fleet"


def test_a_flood_of_wrong_keys_costs_no_ack_and_is_not_listened_to(small: Server):
    def guess(number: int) -> int:
        with pytest.raises(InvalidStatus) as caught, wire(small, key=f"guess {number}"):
            pass
        return caught.value.response.status_code

    with bystander(small), ThreadPoolExecutor(2) as guessing:
        answers = list(guessing.map(guess, range(200)))
    assert answers.count(403) <= 21  # two are asked about at a time
    assert set(answers) == {403, 429}
