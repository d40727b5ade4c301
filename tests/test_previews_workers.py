"""Pictures of cameras with two workers: the robot, its pictures and the page at different ones, and without Redis."""

from collections.abc import Iterator, Sequence

import pytest
import redis as redis_client

from robots.close_codes import Close
from tests.chaos.scenarios import workers
from tests.preview_socket import PreviewSocket, pictures, preview_socket, request, want
from tests.robot_socket import register, robot_socket
from tests.services import Redis, Server, wait_until
from tests.watch_connection import Watcher, watching
from tests.worker_connections import connected_to, serving_two_workers, watching_at, wire_at

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def two_workers(_server: Server, channels: Redis) -> Iterator[Server]:
    with serving_two_workers(_server, channels, "end_previews_soon") as server:
        yield server


def shows(page: Watcher, camera: PreviewSocket, robot_id: str) -> Sequence[str]:
    """Send pictures until the page gets one."""
    seen = wait_until(lambda: camera.send() or pictures(page), what="a picture")
    return [each.camera for each in seen if each.robot == robot_id]


@pytest.mark.parametrize("camera_at, page_at", [(0, 1), (1, 0), (1, 1)])
def test_pictures_reach_a_page_at_any_worker(two_workers: Server, headers, camera_at: int, page_at: int):
    pids = [worker.pid for worker in workers(two_workers)]
    name = f"robot_{camera_at}{page_at}"
    with (
        wire_at(two_workers, pids[0], name) as robot,
        watching_at(two_workers, pids[page_at], f"live/{name}", headers) as page,
        watching_at(two_workers, pids[1 - page_at], "fleet", headers) as fleet,
        connected_to(two_workers, pids[camera_at]) as end,
    ):
        want(page, name)
        want(fleet, name)
        request(robot)
        with preview_socket(two_workers, name, None, sock=end) as camera:
            assert shows(page, camera, name) == ["front"]
            assert shows(fleet, camera, name) == ["front"]


@pytest.mark.long
def test_nothing_is_sent_without_a_page_that_wants_pictures(two_workers: Server, channels: Redis, headers):
    one, another = (worker.pid for worker in workers(two_workers))
    listener = redis_client.Redis(port=channels.port).pubsub(ignore_subscribe_messages=True)
    listener.subscribe("asgi__group__previews")
    with (
        wire_at(two_workers, one, "quiet") as robot,
        watching_at(two_workers, another, "live/quiet", headers) as page,
        connected_to(two_workers, another) as end,
    ):
        wait_until(lambda: page.next()["rate_hz"] is not None, what="watched")
        wait_until(lambda: listener.get_message(timeout=1) is None, what="the end of other tests' leases")
        with preview_socket(two_workers, "quiet", None, sock=end) as camera:
            for _ in range(5):
                camera.send()
            assert camera.receive_until_close() == Close.ENDED
        assert listener.get_message(timeout=0.5) is None
        want(page, "quiet")
        request(robot)
        with preview_socket(two_workers, "quiet", None) as camera:
            shows(page, camera, "quiet")
            assert listener.get_message(timeout=5)["type"] == "message"
            want(page)
            assert camera.receive_until_close() == Close.ENDED


@pytest.mark.parametrize("how", ["kill", pytest.param("freeze", marks=pytest.mark.long)])
def test_pictures_return_after_a_redis_outage(two_workers: Server, channels: Redis, headers, how: str):
    one, another = (worker.pid for worker in workers(two_workers))
    with (
        wire_at(two_workers, one, "outage") as robot,
        watching_at(two_workers, another, "live/outage", headers) as page,
    ):
        want(page, "outage")
        request(robot)
        with preview_socket(two_workers, "outage", None) as camera:
            shows(page, camera, "outage")
            getattr(channels, how)()
            assert camera.receive_until_close() == Close.ENDED
        channels.start() if how == "kill" else channels.thaw()
        wait_until(lambda: next_message(page) and wants_again(robot), what="the robot is asked again")
        with preview_socket(two_workers, "outage", None) as camera:
            shows(page, camera, "outage")


def next_message(page) -> dict | None:
    """Return the page's next message; None if it is a picture that was on its way during the outage."""
    try:
        return page.next()
    except UnicodeDecodeError:
        return None


def wants_again(robot) -> bool:
    try:
        return bool(robot.websocket.recv(timeout=0.1))
    except TimeoutError:
        return False


@pytest.mark.long
def test_a_page_recovers_after_the_robots_worker_was_killed(two_workers: Server, headers):
    register("killed")
    one, another = workers(two_workers)
    with watching_at(two_workers, another.pid, "live/killed", headers) as page:
        want(page, "killed")
        with wire_at(two_workers, one.pid, "killed") as robot, connected_to(two_workers, one.pid) as end:
            request(robot)
            with preview_socket(two_workers, "killed", None, sock=end) as camera:
                shows(page, camera, "killed")
                one.kill()
                assert camera.receive_until_close() == 1006
        with wire_at(two_workers, another.pid, "killed") as robot:
            request(robot)
            with preview_socket(two_workers, "killed", None) as camera:
                shows(page, camera, "killed")


def test_the_last_page_ends_the_lease_of_all(two_workers: Server, headers):
    register("last")
    with watching(two_workers, "live/last", headers) as last, robot_socket(two_workers, "last", None) as robot:
        want(last, "last")
        with watching(two_workers, "fleet", headers) as first:
            want(first, "last")
            request(robot)
        with preview_socket(two_workers, "last", None) as camera:
            shows(last, camera, "last")
            want(last)
            assert camera.receive_until_close() == Close.ENDED
