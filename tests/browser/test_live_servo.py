"""The values that motors report, in the panel of the live page and in the replay."""

import json

import pytest
from django.core.management import call_command
from playwright.sync_api import Page, expect

from robots.models import Robot
from teleop.models import TeleopSession
from teleop.servo import servo_name
from teleop.tests.recordings import make_session
from tests.browser.test_live_page import arm, stream  # noqa: F401 - a fixture
from tests.browser.users import cases
from tests.robot_socket import RobotSocket, frame

pytestmark = pytest.mark.postgresql  # once is enough
NORMAL = {"pan.temperature": 41, "pan.load": -12.5, "grip.Present_Voltage": 74, "grip.Present_Current": 100}
PHONE = {"viewport": {"width": 390, "height": 844}}


def report(robot: RobotSocket, first: int, values: dict) -> None:
    stream(robot, range(first, first + 10), lambda index: frame(index, observation={"pan.pos": 1.5} | values))


def cells(page: Page) -> list[str]:
    return page.locator("#servo li :is(b, span)").all_inner_texts()


@pytest.mark.long
def test_it_shows_the_values_of_each_motor_and_no_plots_of_them(visit, viewer, arm):  # noqa: F811
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    report(arm, 0, NORMAL)
    expect(page.locator("#servo .status")).to_have_text("within limits")
    assert cells(page) == ["pan", "41 °C", "-12.5 %", "grip", "7.4 V", "0.65 A"]
    expect(page.locator(".row h2")).to_have_text(["pan"])
    assert list(page.evaluate("window.page.series().joints")) == ["pan.pos"]
    expect(page.get_by_text("41 °C")).to_have_attribute("title", "pan temperature, at most 65 °C")


@pytest.mark.parametrize("options", cases(PHONE | {"color_scheme": "dark"}, {}, {"color_scheme": "dark"}, PHONE))
def test_it_marks_values_over_their_limits_in_colour_and_words(visit, viewer, arm, options):  # noqa: F811
    page = visit("/robots/arm/live", viewer, **options)
    expect(page.locator("#status")).to_have_text("online")
    report(arm, 0, NORMAL | {"pan.temperature": 71, "pan.load": -95, "grip.Present_Voltage": 44, "grip.error": True})
    expect(page.locator("#servo .status")).to_have_text("4 over the limit")
    expect(page.locator("#servo .over")).to_have_text(["▲ high 71 °C", "▲ high -95 %", "▼ low 4.4 V", "⚠ error 1"])
    colour = "each => getComputedStyle(each).color"
    assert page.locator("#servo .over").first.evaluate(colour) != page.get_by_text("0.65 A").evaluate(colour)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    report(arm, 10, NORMAL | {"grip.error": False})
    expect(page.locator("#servo .status")).to_have_text("within limits")
    expect(page.locator("#servo .over")).to_have_count(0)


@pytest.mark.long
def test_it_uses_the_limits_of_the_robot_and_of_its_session(visit, viewer, arm):  # noqa: F811
    Robot.objects.update(meta_info={"limits": {"temperature": 60, "current": "low"}})
    arm.send({"type": "start", "meta_info": {"limits": {"pan.temperature": 40, "voltage": [6, 7]}}})
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    report(arm, 0, NORMAL)
    expect(page.locator("#servo .over")).to_have_text(["▲ high 41 °C", "▲ high 7.4 V"])
    ignored = 'Ignored: limits.current is "low"; a number, [lower, upper] or null expected.'
    expect(page.locator("#servo .ignored")).to_have_text(ignored)


@pytest.mark.long
def test_it_hides_the_panel_if_the_motors_report_nothing(visit, viewer, arm):  # noqa: F811
    page = visit("/robots/arm/live", viewer)
    expect(page.locator("#status")).to_have_text("online")
    report(arm, 0, {"action.load": None, "overload": 5})
    expect(page.locator(".row h2")).to_have_text(["pan", "overload"])
    expect(page.locator("#servo")).to_be_hidden()


def test_the_replay_shows_them_below_the_joints_and_in_the_quality(visit, viewer):
    make = lambda index: {"observation": {"temperature": 60 + index, "pan.pos": 1.5, "pan.load": 5}}  # noqa: E731
    session = make_session(range(10), data=make)
    TeleopSession.objects.update(meta_info={"limits": 5})
    TeleopSession.objects.all().finish()
    call_command("quality")
    page = visit(f"/sessions/{session.pk}/replay", viewer)
    expect(page.locator(".joint h3")).to_have_text(["pan", "temperature", "pan.load"])
    quality = page.locator(".quality dl div")
    expect(quality.get_by_text("60 °C to 69 °C; over the limit in 4 frames")).to_be_visible()
    expect(quality.filter(has_text="Motors' load")).to_have_text("Motors' load5 %")
    expect(quality.filter(has_text="Ignored")).to_contain_text("limits is 5; an object expected")


def test_the_page_and_the_server_recognize_the_same_names(blank):
    names = ["temperature", "a.Present_Load", "a/b_VOLTAGE", "present_current", "Error", "a.b.present.error"]
    names += ["overload", "a.temp", ".load", "load.", "a.temperature.pos", "a\nb.load", "", "pre\u017fent_load"]
    module = 'async (names) => names.map((await import("/static/teleop/servo.js")).servoName)'
    found = blank.evaluate(module, names)
    expected = [servo_name(name) for name in names]
    assert [each and [each["motor"], each["kind"], each["isRegister"]] for each in found] == json.loads(
        json.dumps(expected)
    )
