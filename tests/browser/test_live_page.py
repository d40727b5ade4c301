"""The live page on real streams: the plot shows the robot's values. `page.series()` returns the plotted values."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from robots.models import Robot
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
from tests.browser.users import BLANK, cases
from tests.robot_socket import RobotSocket, frame, register, robot_socket
from tests.services import Server, wait_until

pytestmark = pytest.mark.postgresql  # once is enough

SCRIPT = "<script>document.title = 'taken'</script>"


@pytest.fixture
def arm(server: Server) -> Iterator[RobotSocket]:
    register("arm")
    with robot_socket(server) as robot:
        yield robot


def sine(index: int, **changes) -> dict:
    """Return a sine of 0.5 Hz, with an action that is a quarter of a turn ahead."""
    angle = math.tau * 0.5 * index / 60
    parts = {"observation": {"pan.pos": math.sin(angle)}, "action": {"pan.pos": math.cos(angle)}}
    return frame(index, **parts | changes)


def stream(robot: RobotSocket, indexes: range, make=sine) -> None:
    robot.send({"frames": [make(index) for index in indexes]})
    robot.receive_until_ack(indexes[-1])


def series(page: Page) -> dict:
    return page.evaluate("window.page.series()")


def plotted(page: Page, joint: str = "pan.pos", part: str = "observation") -> list:
    return series(page)["joints"].get(joint, {}).get(part, [])


def wait_for(page: Page, count: int, joint: str = "pan.pos") -> None:
    wait_until(lambda: len(plotted(page, joint)) >= count, what=f"{count} frames are plotted")


def test_the_plot_follows_a_sine(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    for begin in range(0, 300, 60):
        stream(arm, range(begin, begin + 60))
        wait_for(page, begin + 60)
    shown = series(page)
    first = shown["times"][0]
    turns = [math.tau * 0.5 * (at - first) for at in shown["times"]]
    assert shown["joints"]["pan.pos"]["observation"] == pytest.approx([math.sin(turn) for turn in turns], abs=1e-3)
    assert shown["joints"]["pan.pos"]["action"] == pytest.approx([math.cos(turn) for turn in turns], abs=1e-3)
    assert shown["gaps"] == []
    expect(page.locator("#status")).to_have_text("online")
    expect(page.locator("[data-joint='pan.pos'] [data-part=observation]")).to_have_text("0.052")


@pytest.mark.long
def test_it_shows_the_last_thirty_seconds(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    for begin in range(0, 2400, 600):
        stream(arm, range(begin, begin + 600))
    wait_until(lambda: (times := series(page)["times"]) and times[-1] - times[0] > 29)
    times = series(page)["times"]
    assert times[-1] - times[0] <= 30


@pytest.mark.long
def test_it_plots_frames_sent_before_the_page_was_opened(visit, viewer, arm):
    stream(arm, range(300))
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    stream(arm, range(300, 310))
    wait_for(page, 310)
    assert series(page)["gaps"] == []


@pytest.mark.long
def test_it_plots_frames_of_a_robot_that_stopped_sending(visit, viewer, arm):
    stream(arm, range(300))
    wait_for(visit("/robots/arm/live", viewer), 300)


def test_a_gap_is_marked_and_not_bridged(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    stream(arm, range(60))
    stream(arm, range(90, 150))
    wait_for(page, 121)
    shown = series(page)
    assert len(shown["gaps"]) == 1
    begin, end = shown["gaps"][0]
    assert end - begin == pytest.approx(31 / 60, abs=1e-3)
    assert shown["joints"]["pan.pos"]["observation"][60] is None
    assert begin < shown["times"][60] < end
    expect(page.locator("#missing")).to_have_text("30")


def test_it_plots_a_joint_set_that_changes_mid_session(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    stream(arm, range(30))
    stream(arm, range(30, 60), lambda index: frame(index, observation={"joint_positions": [1.0, 2.0]}))
    wait_for(page, 60, "joint_positions.1")
    assert plotted(page)[29:31] == [pytest.approx(math.sin(math.tau * 29 / 120)), None]
    assert plotted(page, "joint_positions.1")[29:31] == [None, 2.0]
    expect(page.locator(".row")).to_have_count(3)


@pytest.mark.long
def test_it_plots_extreme_values(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    odd = [1e30, -1e308, 1e308, 0.0, 5e-324, -1e30]
    stream(arm, range(60), lambda index: frame(index, observation={"pan.pos": odd[index % 6], "lift.pos": 1e30}))
    wait_for(page, 60)
    expect(page.locator("[data-joint='pan.pos'] [data-part=observation]")).to_have_text("-1.0e+30")


@pytest.mark.long
def test_it_shows_a_message_without_frames_or_values(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    expect(page.get_by_text("Connected; no frames yet.")).to_be_visible()
    stream(arm, range(3), lambda index: frame(index, observation={"state": None}))
    expect(page.get_by_text("The frames have no values")).to_be_visible()


def test_it_shows_booleans_and_texts_after_the_positions(visit, viewer, arm):
    values = {"mode": "auto", "closed": True, "pan.pos": 1.5}
    stream(arm, range(3), lambda index: frame(index, observation=values, action={"closed": False}))
    page = visit("/robots/arm/live", viewer)
    expect(page.locator(".row h2")).to_have_text(["pan", "mode", "closed"])
    expect(page.locator(".row [data-part=observation]")).to_have_text(["1.500", "auto", "true"])
    expect(page.locator(".row [data-part=action]")).to_contain_text(["", "", "false"])


def test_it_follows_the_robot_status(visit, server, viewer):
    register("arm")
    page = visit("/robots/arm/live", viewer)
    expect(page.get_by_text("The robot is offline.")).to_be_visible()
    expect(page.get_by_role("link", name="Replay")).to_be_hidden()
    with robot_socket(server) as robot:
        stream(robot, range(60))
        expect(page.locator("#status")).to_have_text("online")
        stream(robot, range(60, 120))
        wait_for(page, 120)
        robot.send({"type": "end"})
        robot.receive_until_close()
    expect(page.locator("#status")).to_have_text("offline")
    expect(page.locator(".row")).to_have_count(1)  # the last half minute stays
    expect(page.locator("#rate")).not_to_contain_text("Hz")
    page.reload()
    expect(page.get_by_role("link", name="Replay")).to_be_visible()  # of the robot's last session


@pytest.mark.long
def test_it_plots_a_new_session_after_a_gap(visit, server, viewer):
    register("arm")
    page = visit("/robots/arm/live", viewer)
    for begin in (0, 5):
        with robot_socket(server) as robot:
            expect(page.locator("#status")).to_have_text("online")
            make = lambda index, late=begin: frame(index, timestamp=frame(index)["timestamp"] + late)  # noqa: E731
            stream(robot, range(60), make)
            wait_for(page, 60 if not begin else 121, "shoulder_pan.pos")
            robot.send({"type": "end"})
            robot.receive_until_close()
    assert len(series(page)["gaps"]) == 1


@pytest.mark.long
def test_it_pauses_and_resumes_the_plot(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    stream(arm, range(60))
    wait_for(page, 60)
    page.keyboard.press(" ")
    stream(arm, range(60, 120))
    expect(page.locator("#frames")).to_have_text("120")
    assert len(plotted(page)) == 60
    page.keyboard.press(" ")
    wait_for(page, 120)


@pytest.mark.long
def test_it_keeps_the_joint_selection_after_a_reload(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    both = {"observation": {"pan.pos": 1.0, "lift.pos": 2.0}}
    expect(page.locator("#status")).to_have_text("online")
    stream(arm, range(60), lambda index: frame(index, **both))
    expect(page.locator(".row")).to_have_count(2)
    page.get_by_text("Joints", exact=True).click()
    page.get_by_label("pan", exact=True).uncheck()
    expect(page.locator(".row")).to_have_count(1)
    page.reload()
    stream(arm, range(60, 120), lambda index: frame(index, **both))
    expect(page.locator(".row h2")).to_have_text(["lift"])


@pytest.mark.long
def test_groups_fold_and_stay_folded(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    names = ["left_pan.pos", "right_pan.pos", "right_lift.pos", "lift.pos"]
    stream(arm, range(60), lambda index: frame(index, observation=dict.fromkeys(names, 1.0)))
    groups = page.get_by_role("group", name="Groups of joints").get_by_role("button")
    expect(groups).to_have_text(["Left 1", "Right 2"])
    groups.last.press("Enter")
    expect(page.locator(".row h2")).to_have_text(["left_pan", "lift"])
    page.reload()
    expect(page.locator(".row h2")).to_have_text(["left_pan", "lift"])
    expect(groups.last).to_have_attribute("aria-expanded", "false")
    groups.last.click()
    expect(page.locator(".row h2")).to_have_text(["left_pan", "right_pan", "right_lift", "lift"])


@pytest.mark.long
def test_all_plots_have_one_time_axis(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    names = ["pan.pos", "a_joint_with_a_name_that_is_much_too_long_for_its_place.pos", "lift.pos"]
    stream(arm, range(60), lambda index: frame(index, observation=dict(zip(names, (1, 1e30, -index), strict=True))))
    expect(page.locator(".u-over")).to_have_count(3)
    spans = "plots => plots.map((plot) => [plot.getBoundingClientRect().left, plot.getBoundingClientRect().right])"
    assert len({tuple(span) for span in page.locator(".u-over").evaluate_all(spans)}) == 1


@pytest.mark.long
def test_the_cursor_shows_the_values_of_all_joints(visit, viewer, arm):
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    for begin in range(0, 1800, 600):
        values = lambda index: frame(index, observation={"pan.pos": index / 60, "lift.pos": -index / 60})  # noqa: E731
        stream(arm, range(begin, begin + 600), values)
    wait_for(page, 1800)
    plot = page.locator("[data-joint='pan.pos'] .u-over")
    box = plot.bounding_box()
    plot.hover(position={"x": box["width"] / 2, "y": 10})
    pan, lift = (page.locator(f"[data-joint='{joint}'] [data-part=observation]") for joint in ("pan.pos", "lift.pos"))
    wait_until(lambda: float(pan.inner_text()) == pytest.approx(15, abs=0.1))
    assert float(lift.inner_text()) == -float(pan.inner_text())


def test_it_fetches_missed_frames_from_the_database(visit, viewer, arm):
    stream(arm, range(60))
    session = arm.greeting["session_id"]
    page = visit(BLANK, viewer, is_new=True)
    answers = [(range(0), 0), (range(50, 60), 0)]  # pop() takes the last

    def answer(indexes: range, missed: int) -> str:
        frames = [[index, sine(index)["timestamp"], sine(index)] for index in indexes]
        live = {"status": "online", "session_id": session, "task": None, "fps": 60, "rate_hz": 60, "ack_lag_ms": 20}
        return json.dumps({"type": "live", "frame_count": 60, "missed": missed, "frames": frames} | live)

    def attend(socket) -> None:
        def hear(message: str) -> None:
            if "next" in message:
                socket.send(answer(*(answers.pop() if len(answers) > 1 else answers[0])))

        socket.on_message(hear)

    page.route_web_socket("**/ws/live/arm", attend)
    page.goto("/robots/arm/live")
    wait_for(page, 60)
    stream(arm, range(60, 120))
    answers.append((range(110, 120), 50))
    wait_for(page, 120)
    assert series(page)["gaps"] == []


def test_it_saves_a_mark_with_the_session(visit, curator, arm):
    page = visit("/robots/arm/live", curator)
    stream(arm, range(60))
    wait_for(page, 60)
    page.keyboard.press("m")
    stream(arm, range(60, 120))  # the mark has the time of the key
    page.get_by_placeholder("Note").fill("the gripper slips")
    page.keyboard.press("Enter")
    expect(page.locator("#marking")).to_be_hidden()
    mark = {"timestamp": pytest.approx(sine(59)["timestamp"]), "note": "the gripper slips", "by": "curator"}
    assert TeleopSession.objects.get().meta_info["marks"] == [mark]
    assert series(page)["marks"] == [mark | {"kind": None}]


def test_it_shows_why_a_mark_was_refused_and_keeps_the_note(visit, curator, console, arm):
    console.expect("status of 409")
    page = visit("/robots/arm/live", curator)
    stream(arm, range(60))
    wait_for(page, 60)
    page.route("**/marks", lambda route: route.fulfill(status=409, json={"detail": "it has 1000 marks"}))
    page.get_by_role("button", name="Mark").click()
    page.get_by_placeholder("Note").fill("the gripper slips")
    page.keyboard.press("Enter")
    expect(page.get_by_text("it has 1000 marks")).to_be_visible()
    expect(page.get_by_placeholder("Note")).to_have_value("the gripper slips")


@pytest.mark.long
def test_an_offline_robot_has_its_last_error_and_its_last_sessions(visit, viewer):
    moment = datetime(2026, 1, 5, 8, tzinfo=UTC)
    session = make_session(range(2), is_live=True)
    TeleopSession.objects.update(meta_info={"task": SCRIPT, "success": False})
    error = {"last_error_code": "index_reused", "last_error_detail": "frame 5 again", "last_error_at": moment}
    Robot.objects.update(last_heartbeat=moment, **error)
    TeleopSession.objects.all().finish()
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#last-error")).to_have_text("2026-01-05 09:00:00 frame 5 again")
    expect(page.locator("#heartbeat")).to_have_text("2026-01-05 09:00:00")
    expect(page.locator("#last-sessions li")).to_contain_text([SCRIPT])
    expect(page.locator("#last-sessions li")).to_contain_text(["failure"])
    expect(page.get_by_role("link", name=f"Session {session.pk}")).to_have_attribute(
        "href", f"/sessions/{session.pk}/replay"
    )


@pytest.mark.parametrize("width", cases(390, 820, 1366))
@pytest.mark.long
def test_buttons_are_on_the_screen_whatever_the_name(visit, curator, arm, width):
    Robot.objects.update(name="A name that is much too long for the bar of the page " * 3)
    page = visit("/robots/arm/live", curator, viewport={"width": width, "height": 844})
    stream(arm, range(3), lambda index: frame(index, observation={f"joint_{n}.pos": n for n in range(12)}))
    expect(page.locator(".u-over")).to_have_count(12)
    for name in ("Mark", "Pause"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.locator("h1").bounding_box()["width"] > 200
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert min(plot["width"] for plot in (each.bounding_box() for each in page.locator(".u-over").all())) > 200


@pytest.mark.parametrize("key", cases("ㅡ", "M"))
@pytest.mark.long
def test_the_key_of_a_mark_is_that_of_its_place(visit, curator, arm, key):
    """With a Korean layout, or with Caps Lock, the key has another letter."""
    stream(arm, range(3))
    page = visit("/robots/arm/live", curator)
    wait_for(page, 3)
    page.evaluate(
        "key => document.body.dispatchEvent(new KeyboardEvent('keydown', {key, code: 'KeyM', bubbles: true}))", key
    )
    expect(page.get_by_placeholder("Note")).to_be_focused()


@pytest.mark.long
def test_a_low_rate_is_shown_with_the_expected_one(visit, viewer):
    register("arm")
    page = visit(BLANK, viewer, is_new=True)
    live = {"status": "online", "session_id": None, "task": None, "fps": 60, "rate_hz": 30.04, "ack_lag_ms": 20}
    answer = json.dumps({"type": "live", "frame_count": 0, "missed": 0, "frames": []} | live)
    page.route_web_socket(
        "**/ws/live/arm", lambda socket: socket.on_message(lambda message: "next" in message and socket.send(answer))
    )
    page.goto("/robots/arm/live")
    expect(page.locator("#rate.trouble")).to_have_text("30.0 of 60 Hz")


def test_it_escapes_a_script_in_a_robot_name(visit, viewer):
    Robot.objects.create(pk="arm", name=SCRIPT)
    page = visit("/robots/arm/live", viewer)
    expect(page.get_by_role("heading", name=SCRIPT)).to_be_visible()
    assert "live" in page.title()


def test_it_shows_a_viewer_no_mark_controls(visit, viewer, arm):
    stream(arm, range(3))
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    assert page.get_by_role("button", name="Mark").count() == 0
    page.keyboard.press("m")
    assert page.locator("form:not(#logout-form)").count() == 0
