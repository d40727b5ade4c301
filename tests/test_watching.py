"""Permission to watch robots live, and the messages to a page: on a real server."""

import time

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from websockets.exceptions import InvalidStatus

from robots.api.permissions import WATCH
from robots.models import Robot
from tests.chaos.environment import serving
from tests.preview_socket import preview_socket
from tests.robot_socket import frame, register, robot_socket
from tests.services import Server, wait_until
from tests.watch_connection import login, watching

pytestmark = pytest.mark.once

PATHS = ["live/arm", "fleet"]


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "leg")


def staff(name: str = "staff", *permissions: str) -> User:
    """Return a user with permissions: those of the live pages, or the given ones. The staff box is not needed."""
    user = User.objects.create_user(name)
    codenames = permissions or [name.partition(".")[2] for name in WATCH]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def headers() -> dict[str, str]:
    return login(staff())


def refused(server: Server, path: str, headers: dict[str, str], **options) -> int:
    """Return the HTTP status of the refusal."""
    with pytest.raises(InvalidStatus) as caught, watching(server, path, headers, **options):
        pass
    return caught.value.response.status_code


@pytest.mark.parametrize("path", PATHS)
def test_it_refuses_with_403_without_login(server: Server, path):
    for cookie in ("", "sessionid=", "sessionid=wrong", "sessionid=%00", "sessionid=" + "x" * 4000):
        assert refused(server, path, {"Cookie": cookie}) == 403


@pytest.mark.parametrize("path", PATHS)
def test_it_refuses_with_403_without_permission(server: Server, path):
    for user in (staff("customer", "none"), staff("other", "view_videochunk")):
        assert refused(server, path, login(user)) == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [None, "http://evil.example", "https://localhost.evil.example", "null"])
def test_it_refuses_a_foreign_origin(server: Server, headers, path, origin):
    assert refused(server, path, headers, origin=origin) in (400, 403)


@pytest.mark.parametrize("robot_id", ["unknown", "", "a/b", "%00", "x" * 65])
def test_an_unknown_robot_is_closed_with_4404(server: Server, headers, robot_id):
    with watching(server, f"live/{robot_id}", headers) as page:
        assert page.receive_until_close() == 4404


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "message", ["", "next", "{", '{"type":"start"}', '{"type":"next","x":1}', b"\x00", "[" * 2**19, '"' + "x" * 2**19]
)
def test_it_closes_with_4400_on_any_message_but_next(server: Server, headers, path, message):
    with watching(server, path, headers) as page:
        page.websocket.send(message)
        assert page.receive_until_close() == 4400


def test_a_page_receives_every_frame_in_order_and_the_state(server: Server, headers):
    with robot_socket(server) as robot, watching(server, "live/arm", headers) as page:
        before = wait_until(lambda: (state := page.next())["rate_hz"] is not None and state, what="watched")
        assert (before["robot_id"], before["frames"]) == ("arm", [])
        frames = page.frames()
        for index in range(100):
            robot.send(frame(index, observation={"shoulder_pan.pos": index / 8}, action={"shoulder_pan.pos": 1e30}))
        for index in range(100):
            found = next(frames)
            assert found[0] == index
            assert found[1] == pytest.approx(frame(index)["timestamp"], abs=1e-5)
            assert found[2] == {"observation": {"shoulder_pan.pos": index / 8}, "action": {"shoulder_pan.pos": 1e30}}
        robot.receive_until_ack(99)
        after = page.next()
        assert (after["status"], after["session_id"]) == ("online", robot.greeting["session_id"])
        assert (after["frame_count"], after["missed"], after["frames"]) == (100, 0, [])
        assert 0 < after["ack_lag_ms"] < 30_000


def test_a_page_sees_sessions_begin_and_end(server: Server, headers):
    with watching(server, "live/arm", headers) as page:
        assert [page.next()[name] for name in ("status", "session_id", "rate_hz")] == ["offline", None, None]
        for session in ("first-of-two", "second-of-two"):
            with robot_socket(server, f"arm?session={session}") as robot:
                robot.send(frame(0))
                found = wait_until(lambda: (state := page.next())["frames"] and state)
                assert (found["session_id"], found["frames"][0][0]) == (robot.greeting["session_id"], 0)
                wait_until(lambda: page.next()["status"] == "online")
        wait_until(lambda: (state := page.next())["status"] == "offline" and state["session_id"] is None)


def test_the_fleet_receives_all_robots_and_then_updates_of_live_ones(server: Server, headers):
    Robot.objects.filter(pk="leg").update(name="<script>alert(1)</script>")
    with robot_socket(server) as robot, watching(server, "fleet", headers) as page:
        robot.send(frame(0, observation={"joint_positions": [1, 2.5]}))
        first = page.next()
        assert (first["full"], [robot["id"] for robot in first["robots"]]) == (True, ["arm", "leg"])
        assert first["robots"][1]["name"] == "<script>alert(1)</script>"
        update = wait_until(lambda: (found := page.next())["live"] and found)
        assert not update["full"]
        assert [(each["id"], each["values"]) for each in update["live"]] == [("arm", [1, 2.5])]
        Robot.objects.filter(pk="leg").update(name="Left bench")
        update = wait_until(lambda: (found := page.next())["robots"] and found, 10, "the changed row")
        assert [(each["id"], each["name"], each["values"]) for each in update["robots"]] == [("leg", "Left bench", [])]


@pytest.mark.parametrize("path", PATHS)
def test_it_sends_exactly_one_answer_per_request(server: Server, headers, path):
    with robot_socket(server) as robot, watching(server, path, headers) as page:
        robot.send(frame(0))
        page.next()
        with pytest.raises(TimeoutError):
            page.receive(timeout=1.5)
        page.request_update()
        page.receive()
        with pytest.raises(TimeoutError):
            page.receive(timeout=1.5)


@pytest.mark.parametrize("path, most_hz", [("live/arm", 10), ("fleet", 4)])
def test_it_limits_the_rate_of_answers(server: Server, headers, path, most_hz):
    with robot_socket(server) as robot, watching(server, path, headers) as page:
        page.next()
        begun, answers, index = time.monotonic(), 0, 0
        while time.monotonic() - begun < 2:
            robot.send(frame(index))
            page.next()
            answers, index = answers + 1, index + 1
        assert 0.5 * most_hz < answers / (time.monotonic() - begun) < most_hz + 1


def test_it_reports_the_number_of_missed_frames_to_a_slow_page(server: Server, headers):
    with robot_socket(server) as robot, watching(server, "live/arm", headers) as page:
        wait_until(lambda: page.next()["rate_hz"] is not None, what="watched")
        large = {"note": "x" * 30_000}
        for index in range(50):
            robot.send(frame(index, observation=large))
            robot.receive_until_ack(index)
        found = wait_until(lambda: (state := page.next())["frames"] and state)
        indexes = [index for index, _, _ in found["frames"]]
        assert indexes == sorted(indexes)
        assert (indexes[0] > 10, found["missed"]) == (True, indexes[-1] + 1 - len(indexes))


@pytest.fixture(scope="module")
def asking_often(_server: Server):
    """Yield a server that checks logins again every 0.2 s."""
    with serving(_server.settings["DATABASE_URL"], how="recheck_logins_often", ROBOT_AUTH="key") as altered:
        yield altered


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(lambda: Session.objects.all().delete(), id="logged out"),
        pytest.param(lambda: User.objects.update(is_active=False), id="inactive"),
        pytest.param(lambda: User.objects.get().user_permissions.clear(), id="no permission"),
        pytest.param(lambda: User.objects.update(password="another"), id="another password"),
    ],
)
def test_it_closes_with_4401_when_a_user_loses_access(asking_often: Server, headers, path, what):
    with watching(asking_often, path, headers) as page:
        page.next()
        what()
        assert page.receive_until_close() == 4401


def test_it_closes_pages_and_pictures_with_1012_when_the_server_stops(start_server, headers):
    server = start_server()
    with (
        watching(server, "fleet", headers) as fleet,
        watching(server, "live/arm", headers) as page,
        preview_socket(server) as camera,
    ):
        fleet.next()
        begun = time.monotonic()
        server.terminate()
        assert [each.receive_until_close() for each in (fleet, page, camera)] == [1012, 1012, 1012]
        assert server.stop() == 0
        assert time.monotonic() - begun < 5
