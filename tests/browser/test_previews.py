"""Pictures of cameras on the pages, from a robot that sends pictures of one colour."""

import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

from tests.browser.users import BLANK, cases
from tests.preview_socket import BLUE, RED, jpeg, preview_socket, request
from tests.robot_socket import RobotSocket, frame, register, robot_socket
from tests.services import Server, wait_until

pytestmark = pytest.mark.postgresql  # once is enough

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "is_mobile": True, "has_touch": True}
PIXEL = """canvas => {
  const pixel = new OffscreenCanvas(1, 1).getContext("2d");
  pixel.drawImage(canvas, canvas.width / 2, canvas.height / 2, 1, 1, 0, 0, 1, 1);
  return [...pixel.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}"""


# Let the page's clock jump. A page ages pictures by it; timers stay as they are.
JUMP = "ms => { const now = performance.now.bind(performance); performance.now = () => now() + ms; }"
numbers = itertools.count(1)


@pytest.fixture
def robot_id() -> str:
    """Return the id of a new robot: the server repeats a request for pictures to the same id only after 4 s."""
    return f"arm-{next(numbers)}"


@pytest.fixture
def arm(server: Server, robot_id: str) -> Iterator[RobotSocket]:
    register(robot_id)
    with robot_socket(server, robot_id) as robot:
        robot.send({"frames": [frame(index) for index in range(60)]})
        robot.receive_until_ack(59)
        yield robot


@contextmanager
def sending(server: Server, robot_id: str, **cameras: tuple[int, int, int]) -> Iterator[None]:
    """Send pictures of these cameras, each of one colour, until the block ends."""
    stop = threading.Event()

    def send(robot) -> None:
        while not stop.wait(0.3):
            for name, colour in cameras.items():
                robot.send(name, jpeg(colour, 320, 240))

    with preview_socket(server, robot_id) as robot:
        sender = threading.Thread(target=send, args=[robot], daemon=True)
        sender.start()
        try:
            yield
        finally:
            stop.set()
            sender.join()


def colour(canvas) -> tuple[int, ...]:
    return tuple(canvas.evaluate(PIXEL))


def expect_colour(canvas, expected: tuple[int, int, int]) -> None:
    wait_until(lambda: colour(canvas) == pytest.approx(expected, abs=12), what=f"the colour {expected}")


def camera(page: Page, name: str):
    return page.locator(f"#previews [data-camera='{name}']")


@pytest.mark.parametrize("device", cases({"viewport": PHONE["viewport"]}, PHONE, {}))
def test_the_live_page_shows_all_cameras_with_their_age(visit, server, viewer, arm, robot_id, device):
    page = visit(f"/robots/{robot_id}/live", viewer, **device)
    request(arm)
    with sending(server, robot_id, wrist=RED, front=BLUE):
        for name, expected in (("front", BLUE), ("wrist", RED)):
            expect(camera(page, name)).to_be_visible()
            expect_colour(camera(page, name).locator("canvas"), expected)
            expect(camera(page, name).locator(".age")).to_have_text(re.compile(r"^[0-4]\.\d s$"))
        names = page.locator("#previews .camera")
        expect(names).to_have_text(["front", "wrist"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        boxes = [camera(page, name).bounding_box() for name in ("front", "wrist")]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"] for box in boxes)


@pytest.mark.long
def test_an_old_picture_is_grey_and_a_new_one_is_not(visit, server, viewer, arm, robot_id):
    page = visit(f"/robots/{robot_id}/live", viewer)
    request(arm)
    with sending(server, robot_id, front=BLUE):
        expect(camera(page, "front")).to_be_visible()
        expect(camera(page, "front")).not_to_have_class(re.compile("old"))
    page.evaluate(JUMP, 5000)
    expect(camera(page, "front")).to_have_class(re.compile("old"))
    expect(camera(page, "front").locator(".age")).to_have_text(re.compile(r"^[5-9]\.\d s$"))
    with sending(server, robot_id, front=RED):
        expect(camera(page, "front")).not_to_have_class(re.compile("old"))
        expect_colour(camera(page, "front").locator("canvas"), RED)


@pytest.mark.long
def test_it_explains_why_there_is_no_preview(visit, viewer, arm, robot_id):
    page = visit(f"/robots/{robot_id}/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    page.evaluate(JUMP, 10_000)
    expect(page.get_by_text("No preview: the robot's program sends no pictures of cameras.")).to_be_visible()
    expect(page.locator("#previews")).to_be_hidden()


@pytest.mark.long
def test_a_damaged_picture_leaves_the_last_one(visit, server, viewer, arm, robot_id):
    page = visit(f"/robots/{robot_id}/live", viewer)
    request(arm)
    with sending(server, robot_id, front=BLUE):
        expect_colour(camera(page, "front").locator("canvas"), BLUE)
    whole = jpeg(RED, 320, 240)
    damaged = whole[: whole.index(b"\xff\xda")] + b"\xff\xd9"  # only its head
    with preview_socket(server, robot_id) as robot:
        wait_until(lambda: robot.send("second", damaged) or camera(page, "second").count(), what="a damaged picture")
        robot.send("third", whole)
        expect_colour(camera(page, "third").locator("canvas"), RED)
    assert colour(camera(page, "second").locator("canvas")) == (0, 0, 0)
    assert colour(camera(page, "front").locator("canvas")) == pytest.approx(BLUE, abs=12)


def test_a_tile_of_the_fleet_shows_one_camera(visit, server, viewer, arm, robot_id):
    page = visit("/", viewer)
    picture = page.locator(f"[data-robot='{robot_id}'] .picture")
    expect(picture).to_be_hidden()
    request(arm)
    with sending(server, robot_id, front=BLUE, wrist=RED):
        expect(picture).to_be_visible()
        expect(picture).to_have_attribute("title", "front")
        expect_colour(picture, BLUE)
        graph = page.locator(f"[data-robot='{robot_id}'] .graph").bounding_box()
        assert graph["x"] + graph["width"] <= picture.bounding_box()["x"]


def sent(page: Page, path: str) -> list[list[str]]:
    """Open the page, and return a list that grows with the robots that it wants pictures of."""
    wanted: list[list[str]] = []

    def note(payload: str) -> None:
        if (message := json.loads(payload))["type"] == "previews":
            wanted.append(message["robots"])

    page.on("websocket", lambda socket: socket.on("framesent", note))
    page.goto(path)
    return wanted


def test_a_hidden_page_wants_no_pictures(visit, viewer, arm, robot_id):
    page = visit(BLANK, viewer, is_new=True)
    wanted = sent(page, f"/robots/{robot_id}/live")
    expect(page.locator("#status")).to_have_text("online")
    for is_hidden in (True, False):
        page.evaluate(
            "hidden => Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })", is_hidden
        )
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    wait_until(lambda: page.evaluate("1") and wanted == [[robot_id], [], [robot_id]])


@pytest.mark.long
def test_the_fleet_page_wants_pictures_of_visible_tiles_only(visit, viewer):
    register(*(f"robot_{number:03}" for number in range(80)))
    page = visit(BLANK, viewer, is_new=True, viewport={"width": 1920, "height": 1080})
    wanted = sent(page, "/")
    wait_until(lambda: page.evaluate("1") and wanted and 20 < len(wanted[-1]) < 50)
    assert "robot_000" in wanted[-1] and "robot_079" not in wanted[-1]
    page.locator("[data-robot='robot_079']").scroll_into_view_if_needed()
    wait_until(lambda: page.evaluate("1") and "robot_079" in wanted[-1])
    page.get_by_placeholder("Search").fill("robot_042")
    wait_until(lambda: page.evaluate("1") and wanted[-1] == ["robot_042"])
