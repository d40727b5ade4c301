"""The fleet page on real streams; tests of two hundred robots, or of odd data, use answers made by the test."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from robots.models import Robot
from tests.browser.users import BLANK
from tests.robot_socket import frame, register, robot_socket
from tests.services import wait_until

pytestmark = pytest.mark.postgresql  # once is enough

FULL_HD = {"width": 1920, "height": 1080}
SCRIPT = "<script>document.title = 'taken'</script>"


def tile(page: Page, robot_id: str):
    return page.locator(f"[data-robot='{robot_id}']")


def state(robot_id: str, **changes) -> dict:
    """Return a robot of an answer, online and well."""
    well = {"name": None, "robot_type": "so101", "status": "online", "task": None, "fps": 60, "last_heartbeat": None}
    well |= {"last_error": None, "session_id": 1, "rate_hz": 60.0, "ack_lag_ms": 20.0, "frame_count": 60}
    return {"id": robot_id, "values": [1.0, 2.0]} | well | changes


def answering(page: Page, robots, live=lambda n: []) -> None:
    """Answer in place of the server: the n-th has `robots(n)` and `live(n)`, and is full without the latter.

    No session has stored frames.
    """

    def attend(socket) -> None:
        answers = iter(range(1_000_000))

        def answer(message: str) -> None:
            if "next" in message:
                n = next(answers)
                fleet = {"full": not (n and live(n)), "robots": robots(n), "live": live(n)}
                socket.send(json.dumps({"type": "fleet"} | fleet))

        socket.on_message(answer)

    page.route_web_socket("**/ws/fleet", attend)
    page.route("**/sessions/*/frames?*", lambda route: route.fulfill(json={"results": []}))


def test_a_tile_follows_the_robot_status(visit, server, viewer):
    register("arm")
    page = visit("/", viewer)
    status = tile(page, "arm").locator(".status")
    expect(status).to_have_text("offline")
    with robot_socket(server) as robot:
        robot.send({"type": "start", "meta_info": {"task": "Fold the towel"}}, *map(frame, range(60)))
        robot.receive_until_ack(59)
        expect(status).to_have_text("online")
        expect(tile(page, "arm").locator(".task")).to_have_text("Fold the towel")
        expect(tile(page, "arm").locator(".frames")).to_have_text("60 frames")
        expect(tile(page, "arm").locator(".lag")).to_have_text(re.compile(r"ack \d+ ms"))
        session = str(robot.greeting["session_id"])
        expect(tile(page, "arm").locator(".replay")).to_have_attribute("href", f"/sessions/{session}/replay")
        robot.send({"type": "end"})
        robot.receive_until_close()
    expect(status).to_have_text("offline")


def test_a_tile_shows_the_error_of_a_refused_frame(visit, server, viewer):
    register("arm")
    page = visit("/", viewer)
    with robot_socket(server) as robot:
        robot.send(frame(0, timestamp=1e18))
        robot.receive("error")
        expect(tile(page, "arm").locator(".error")).to_contain_text("timestamp is 1e+18")


def test_a_graph_begins_with_stored_frames(visit, server, viewer, console):
    console.expect("willReadFrequently")
    register("arm")
    with robot_socket(server) as robot:
        for begin in range(0, 1500, 100):  # 25 s
            robot.send({"frames": [frame(index) for index in range(begin, begin + 100)]})
            robot.receive_until_ack(begin + 99)
        page = visit("/", viewer)
        is_drawn = """share => {
          const canvas = document.querySelector(".graph canvas");
          if (!canvas?.width) return false;
          const picture = canvas.getContext("2d").getImageData(canvas.width * share, 0, 3, canvas.height);
          return picture.data.some((value) => value);
        }"""
        page.wait_for_function(is_drawn, arg=0.25, timeout=20_000)  # live it would take 22 s


@pytest.mark.long
def test_an_offline_robot_with_an_error_is_offline(visit, viewer):
    error = {"code": "invalid_frame", "detail": "observation is a list", "at": "2026-01-01T12:00:00Z"}
    page = visit(BLANK, viewer, is_new=True)
    answering(page, lambda n: [state("arm", status="offline", values=[], rate_hz=None, last_error=error)])
    page.goto("/")
    expect(tile(page, "arm").locator(".status")).to_have_text("offline")
    expect(tile(page, "arm").locator(".error")).to_have_text(re.compile("^Last error .* ago: observation is a list$"))
    expect(page.locator(".chip b")).to_have_text(["1", "0", "0", "0", "1"])


@pytest.mark.long
def test_it_sorts_robots_with_problems_first(visit, viewer):
    robots = [
        state("a-offline", status="offline", values=[], rate_hz=None, ack_lag_ms=None),
        state("b-online"),
        state("c-slow", rate_hz=30.0),
        state("d-slow-by-intent", rate_hz=30.0, fps=30),
        state("e-late", ack_lag_ms=2000),
        state("f-error", status="error", values=[]),
    ]
    page = visit(BLANK, viewer, is_new=True)
    answering(page, lambda n: robots)
    page.goto("/")
    expect(page.locator(".tile")).to_have_count(6)
    order = page.locator(".tile").evaluate_all("tiles => tiles.map((tile) => tile.dataset.robot)")
    assert order == ["f-error", "c-slow", "e-late", "b-online", "d-slow-by-intent", "a-offline"]
    expect(tile(page, "c-slow").locator(".status")).to_have_text("low rate, 30 of 60 Hz")
    expect(tile(page, "e-late").locator(".status")).to_have_text("late acks, 2.0 s")


@pytest.mark.long
def test_it_keeps_the_rate_that_caused_the_trouble_while_the_rate_recovers(visit, viewer):
    """A session of another rate than 60 too: the words name both numbers."""

    def live(n: int) -> list[dict]:
        return [{"id": "arm", "session_id": 1, "rate_hz": 3.0 if n < 3 else 9.5, "values": [1.0]}] if n else []

    page = visit(BLANK, viewer, is_new=True)
    answering(page, lambda n: [] if n else [state("arm", fps=10, rate_hz=10.0, name="Left bench")], live)
    page.goto("/")
    expect(tile(page, "arm").locator(".rate")).to_have_text("9.5 Hz")
    expect(tile(page, "arm").locator(".status")).to_have_text("low rate, 3 of 10 Hz")
    expect(tile(page, "arm").locator(".name")).to_have_text("Left bench")
    expect(page.get_by_label("Trouble 1")).to_have_count(1)


@pytest.mark.long
def test_it_plots_numbers_without_names_of_positions(visit, viewer, server):
    register("arm", "leg")
    page = visit("/", viewer)
    with robot_socket(server) as arm, robot_socket(server, "leg") as leg:
        arm.send(*(frame(index, observation={"x": index / 60, "closed": index > 30}) for index in range(60)))
        leg.send(*(frame(index, observation={"mode": "idle"}) for index in range(60)))
        for robot in (arm, leg):
            robot.receive_until_ack(59)
        expect(tile(page, "leg").locator(".silent")).to_have_text("no numbers to plot")
        expect(tile(page, "arm").locator(".frames")).to_have_text("60 frames")
        expect(tile(page, "arm").locator(".silent")).to_have_text("")


@pytest.mark.long
def test_no_tile_moves_under_the_pointer(visit, viewer):
    page = visit(BLANK, viewer, is_new=True)
    leg = state("leg")
    answering(page, lambda n: [state("arm"), leg])
    page.goto("/")
    tile(page, "arm").hover()
    leg["status"] = "error"
    expect(tile(page, "leg").locator(".status")).to_have_text("error")
    expect(page.locator(".tile").first).to_have_attribute("data-robot", "arm")
    page.get_by_role("heading", name="Fleet").hover()
    expect(page.locator(".tile").first).to_have_attribute("data-robot", "leg")


@pytest.mark.long
def test_search_and_filter_are_in_the_url(visit, viewer):
    Robot.objects.create(pk="arm", name="Left bench", status="error")
    Robot.objects.create(pk="leg")
    page = visit("/", viewer)
    page.get_by_placeholder("Search").fill("BENCH")
    page.get_by_label("Error 1").check(force=True)
    expect(page).to_have_url(re.compile(r"\?status=error&text=BENCH$"))
    page.reload()
    expect(tile(page, "arm")).to_be_visible()
    expect(tile(page, "leg")).to_be_hidden()
    page.get_by_label("Offline 0").check(force=True)
    expect(page.get_by_text("No robot matches the filter")).to_be_visible()


def test_it_escapes_a_script_in_a_robot_name(visit, viewer):
    Robot.objects.create(pk="arm", name=SCRIPT)
    page = visit("/", viewer)
    expect(tile(page, "arm").locator(".name")).to_have_text(SCRIPT)
    assert page.title().startswith("Fleet")


@pytest.mark.long
def test_it_shows_a_message_without_robots(visit, viewer):
    expect(visit("/", viewer).get_by_text("There are no robots yet")).to_be_visible()


@pytest.mark.long
def test_it_plots_extreme_values(visit, viewer):
    odd = [[1e30, -1e308, None], [1e308], [], [0.0, 0.0, 0.0, 5e-324]]
    page = visit(BLANK, viewer, is_new=True)
    answering(page, lambda n: [state("arm", values=odd[n % 4], frame_count=n)])
    page.goto("/")
    expect(tile(page, "arm").locator(".frames")).to_have_text(re.compile(r"^\d\d+ frames"))  # several rounds of them


def test_it_reconnects_after_a_lost_connection(visit, viewer, server, console):
    console.expect("WebSocket connection|ERR_CONNECTION_REFUSED")
    Robot.objects.create(pk="arm")
    page = visit("/", viewer)
    expect(tile(page, "arm")).to_be_visible()
    server.stop()
    expect(page.get_by_text("connection to the server is lost")).to_be_visible()
    expect(page.locator("#tiles")).to_have_class(re.compile("stale"))
    expect(page.get_by_role("button", name="Reconnect now")).to_be_visible()
    server.start()
    page.evaluate("document.querySelector('#connection button')?.click()")  # the page may have reconnected by now
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.locator("#tiles")).not_to_have_class(re.compile("stale"))


def test_it_shows_a_message_after_logout(visit, viewer, server, console):
    console.expect("WebSocket connection|ERR_CONNECTION_REFUSED")
    page = visit("/", viewer)
    expect(page.get_by_text("no robots yet")).to_be_visible()
    page.context.clear_cookies()
    server.restart()
    expect(page.get_by_text("You are logged out.")).to_be_visible()


def test_it_draws_only_the_visible_of_200_tiles(visit, viewer):
    """30 tiles fit the screen, and the page draws only visible tiles."""

    def fleet(n: int) -> list[dict]:
        return [state(f"robot_{i:03}", values=[(n * 7 + i * j) % 50 for j in range(6)]) for i in range(200)]

    page = visit(BLANK, viewer, is_new=True, viewport=FULL_HD)
    answering(page, fleet)
    page.goto("/")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(200)
    on_screen = "tiles => tiles.filter((tile) => tile.getBoundingClientRect().bottom <= innerHeight).length"
    assert tiles.evaluate_all(on_screen) >= 30
    drawn = "canvases => canvases.filter((canvas) => canvas.width !== 300).length"  # 300: the default of a canvas
    wait_until(lambda: page.locator(".tile canvas").evaluate_all(drawn) >= 30)
    assert page.locator(".tile canvas").evaluate_all(drawn) <= 60


GRAPH = """async () => {
  const { MiniGraph } = await import("/static/teleop/minigraph.js");
  const canvas = document.body.appendChild(document.createElement("canvas"));
  canvas.style = "width: 300px; height: 50px; --joint-0: red";
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const graph = new MiniGraph(canvas);
  const columns = () => {
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const has = (x) => [...Array(canvas.height).keys()].some((y) => data[4 * (y * canvas.width + x) + 3]);
    return [...Array(canvas.width).keys()].filter(has);
  };
  const found = [];
  for (let at = 0; at <= 40_000; at += 250) {
    if (at < 20_000 || at > 25_000) graph.add(at, [at % 500]);
    graph.draw(false);
    if (at % 10_000 === 0) found.push(columns());
  }
  canvas.remove();
  return found.map((all) => [all[0], all.at(-1), all.filter((x, n) => n && x > all[n - 1] + 5).length]);
}"""


@pytest.mark.long
def test_a_graph_moves_to_the_left_and_shows_a_gap_of_the_data(visit, viewer):
    """The window of 30 s has 300 pixels; the data have a gap of 5 s."""
    _, early, *_, end = visit("/", viewer).evaluate(GRAPH)
    assert early == [pytest.approx(200, abs=3), pytest.approx(299, abs=2), 0]
    assert end == [pytest.approx(0, abs=3), pytest.approx(299, abs=2), 1]
