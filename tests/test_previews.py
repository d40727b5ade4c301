"""Pictures of cameras from a robot to the pages that watch it: on a real server."""

import json
import time
from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from websockets.exceptions import InvalidStatus

from robots.close_codes import Close
from robots.models import Robot
from robots.worker_messages import close_connections
from tests.chaos.environment import serving
from tests.preview_socket import BLUE, RED, PreviewSocket, Seen, jpeg, message, pictures, preview_socket, request, want
from tests.robot_socket import KEY, frame, register, robot_socket
from tests.services import Server, wait_until
from tests.watch_connection import Watcher, login, watching

pytestmark = pytest.mark.once

ALL = {"cameras": None, "interval_s": 0.5, "lease_s": 15}


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "leg", "tile")


@pytest.fixture
def headers() -> dict[str, str]:
    return login(User.objects.create_superuser("admin"))


@pytest.fixture(scope="module")
def hasty(_server: Server):
    """Yield a server whose leases end after 2 s, and which checks keys again every 0.2 s."""
    with serving(_server.settings["DATABASE_URL"], how="end_previews_soon", ROBOT_AUTH="key") as altered:
        yield altered


def first_picture(page: Watcher, camera: PreviewSocket) -> Seen:
    """Send pictures until the page gets one: the first may come before the page's process listens."""
    return wait_until(lambda: camera.send() or pictures(page), what="a picture")[0]


def test_a_live_page_gets_the_pictures_of_all_cameras(server: Server, headers):
    with robot_socket(server) as robot, watching(server, "live/arm", headers) as page:
        assert "preview" in robot.greeting["accepts"]
        want(page, "arm")
        assert request(robot) == ALL
        with preview_socket(server) as camera:
            found: dict[str, Seen] = {}
            while len(found) < 2:
                camera.send("front", jpeg(BLUE))
                camera.send("observation.images.wrist", jpeg(RED))
                found |= {each.camera: each for each in pictures(page)}
        assert {name: each.jpeg for name, each in found.items()} == {
            "front": jpeg(BLUE),
            "observation.images.wrist": jpeg(RED),
        }
        assert all(each.robot == "arm" and 0 <= each.age_s < 5 for each in found.values())


def test_the_fleet_page_gets_one_camera_every_two_seconds(server: Server, headers):
    with robot_socket(server, "tile") as robot, watching(server, "fleet", headers) as page:
        want(page, "tile", "leg", "unknown")
        assert request(robot) == ALL | {"interval_s": 2}
        with preview_socket(server, "tile") as camera:
            seen: list[tuple[float, str]] = []
            until = time.monotonic() + 5
            while time.monotonic() < until:
                camera.send("wrist")
                camera.send("front")
                seen += [(time.monotonic(), each.camera) for each in pictures(page)]
            times = [at for at, _ in seen]
            assert 2 <= len(times) <= 3
            assert min(later - earlier for earlier, later in pairwise(times)) > 1.5
            assert [name for _, name in seen[1:]] == ["front"] * (len(seen) - 1)
            assert request(robot)["cameras"] == ["front"]


def test_a_robot_is_asked_for_nothing_without_a_page_that_wants_pictures(hasty: Server, headers):
    with robot_socket(hasty) as robot, watching(hasty, "live/arm", headers) as page:
        wait_until(lambda: page.next()["rate_hz"] is not None, what="watched")
        want(page, "leg")  # another robot's page
        robot.send(frame(0))
        assert robot.receive_until_ack(0) == []
        want(page, "arm")
        for _ in range(2):
            request(robot)
        want(page)
        with preview_socket(hasty) as camera:
            assert camera.receive_until_close() == Close.ENDED
        robot.send(frame(1))
        assert all(each["type"] == "preview" for each in robot.receive_until_ack(1))
        with pytest.raises(TimeoutError):
            robot.websocket.recv(timeout=1.5)


def test_the_lease_is_renewed_while_a_page_watches(hasty: Server, headers):
    with robot_socket(hasty) as robot, watching(hasty, "live/arm", headers) as page:
        want(page, "arm")
        with preview_socket(hasty) as camera:
            until = time.monotonic() + 5  # past the end of the first lease
            while time.monotonic() < until:
                request(robot)
                page.next()
            first_picture(page, camera)


def test_a_page_that_sends_no_requests_wants_no_pictures(hasty: Server, headers):
    with robot_socket(hasty) as robot, watching(hasty, "live/arm", headers) as page:
        want(page, "arm")
        request(robot)
        with preview_socket(hasty) as camera:
            assert camera.receive_until_close() == Close.ENDED


def test_a_mute_robot_gets_no_message(server: Server, headers):
    with robot_socket(server, mute=True) as mute, watching(server, "live/arm", headers) as page:
        want(page, "arm")
        with robot_socket(server, "arm?session=another-one") as robot:
            request(robot)
        with pytest.raises(TimeoutError):
            mute.websocket.recv(timeout=0.5)


def test_a_robot_that_connects_while_a_page_watches_is_asked_after_its_greeting(server: Server, headers):
    with watching(server, "live/arm", headers) as page:
        want(page, "arm")
        for _ in range(2):
            with robot_socket(server, "arm?session=the-session") as robot:
                assert wait_until(lambda robot=robot: request(robot)) == ALL


def test_a_robot_that_takes_a_session_over_is_asked_too(server: Server, headers):
    path = "arm?session=the-session"
    with watching(server, "live/arm", headers) as page, robot_socket(server, path) as old:
        want(page, "arm")
        request(old)
        with preview_socket(server) as before, robot_socket(server, path) as new:
            assert old.receive_until_close()[0] == Close.TAKEN_OVER
            assert request(new) == ALL
            before.websocket.close()
            with preview_socket(server) as after:
                first_picture(page, after)


@pytest.mark.parametrize(
    "path, key",
    [("arm", "wrong"), ("arm", None), ("unknown", KEY), ("a/b", KEY), ("arm?api_key=wrong", None), ("", KEY)],
)
def test_it_refuses_a_robot_without_a_valid_key(server: Server, path, key):
    with pytest.raises(InvalidStatus) as caught, preview_socket(server, path, key):
        pass
    assert caught.value.response.status_code == 403


def test_it_refuses_the_fifth_connection_of_a_robot(server: Server):
    with preview_socket(server), preview_socket(server), preview_socket(server), preview_socket(server):
        with pytest.raises(InvalidStatus) as caught, preview_socket(server):
            pass
        assert caught.value.response.status_code == 429
        with preview_socket(server, "leg"), robot_socket(server):
            pass


@pytest.mark.parametrize(
    "data, code",
    [
        ("a text", Close.UNUSABLE),
        (b"", Close.UNUSABLE),
        (message(picture=b"<svg xmlns='http://www.w3.org/2000/svg'/>"), Close.UNUSABLE),
        (message(picture=jpeg(width=322)), Close.UNUSABLE),
        (message(picture=jpeg() + b" " * 2**16), Close.MESSAGE_TOO_BIG),
        (b"\0" * 2**21, Close.MESSAGE_TOO_BIG),
    ],
    ids=["text", "empty", "svg", "too wide", "too large", "2 MiB"],
)
def test_it_closes_the_connection_after_a_message_that_is_no_picture(server: Server, headers, data, code):
    with robot_socket(server) as robot, watching(server, "live/arm", headers) as page:
        want(page, "arm")
        request(robot)
        with preview_socket(server) as camera:
            camera.websocket.send(data)
            assert camera.receive_until_close() == code
        assert pictures(page) == []
        robot.send(frame(0))
        robot.receive_until_ack(0)


def test_staff_see_why_pictures_were_refused(server: Server):
    with preview_socket(server) as camera:
        camera.send(picture=jpeg(width=640, height=480))
        assert camera.receive_until_close() == Close.UNUSABLE
    expected = "the picture has 640 x 480 pixels; at most 320 x 640 expected; closed with 4400"
    # The errors of earlier tests' connections may be written before.
    robot = wait_until(lambda: Robot.objects.filter(pk="arm", last_error_detail=expected).first())
    assert robot.last_error_code == "invalid_preview"


def test_a_flood_of_pictures_is_dropped_and_delays_no_frame(server: Server, headers):
    with robot_socket(server) as robot, watching(server, "live/arm", headers) as page:
        want(page, "arm")
        request(robot)
        with preview_socket(server) as camera:
            begun, seen = time.monotonic(), 0
            for index in range(20):
                for number in range(20):
                    camera.send(f"camera_{number}")
                robot.send(frame(index))
                robot.receive_until_ack(index)
                seen += len(pictures(page))
            took_s = time.monotonic() - begun
        assert 0 < seen <= 8 * (2 + 2 * took_s)


def test_a_revoked_key_closes_the_connection(server: Server):
    with preview_socket(server) as camera:
        Robot.objects.get(pk="arm").issue_key()
        assert camera.receive_until_close() == Close.KEY_REVOKED


def test_a_key_that_was_replaced_unnoticed_closes_the_connection(hasty: Server, headers):
    with watching(hasty, "live/arm", headers) as page:
        want(page, "arm")
        with preview_socket(hasty) as camera:
            page.next()
            Robot.objects.filter(pk="arm").update(key_hash="of another key")
            assert camera.receive_until_close() == Close.KEY_REVOKED


def test_staff_disconnect_the_pictures_too(server: Server):
    with preview_socket(server) as camera:
        close_connections(Close.DISCONNECTED, robot_id="arm")
        assert camera.receive_until_close() == Close.DISCONNECTED


def test_the_end_of_a_session_does_not_close_the_connection(server: Server, headers):
    with robot_socket(server) as robot, watching(server, "live/arm", headers) as page, preview_socket(server) as camera:
        want(page, "arm")
        request(robot)
        robot.send({"type": "end"})
        assert robot.receive_until_close()[0] == Close.ENDED
        first_picture(page, camera)


@pytest.mark.parametrize("robots", [["a/b"], [7], "arm", ["arm"] * 101, None])
def test_it_closes_a_page_that_wants_no_robots(server: Server, headers, robots):
    with watching(server, "fleet", headers) as page:
        page.websocket.send(json.dumps({"type": "previews", "robots": robots}))
        assert page.receive_until_close() == 4400
