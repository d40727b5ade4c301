"""What a page has read before a change, and gets after it, does not hide the change."""

from collections.abc import Callable

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
from tests.browser.users import BLANK
from tests.robot_socket import frame, register, robot_socket
from tests.services import wait_until

pytestmark = pytest.mark.postgresql  # once is enough


def hold_reads(page: Page, pattern: str) -> Callable[[], None]:
    """Hold the server's answers to GET requests until the returned function is called."""
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if route.request.method == "GET":
            held.append((route, route.fetch()))
        else:
            route.continue_()

    def release() -> None:
        assert held
        for route, answer in held:
            route.fulfill(response=answer)
        page.unroute(pattern, hold)
        page.evaluate("fetch('/health/live')")  # the page gets this answer after those

    page.route(pattern, hold)
    return release


def test_a_new_mark_stays_on_the_replay(visit, curator):
    session = make_session(range(10))
    page = visit(BLANK, curator)
    release = hold_reads(page, f"**/sessions/{session.pk}/marks")
    page.goto(f"/sessions/{session.pk}/replay")
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    page.keyboard.press("i")
    expect(page.locator(".marks li")).to_contain_text(["Trim start"])
    release()
    assert page.locator(".marks li").count() == 1


def test_marks_are_shown_after_a_change_that_was_refused(visit, curator, console):
    console.expect("status of 400")
    session = make_session(range(10))
    session.set_marks([{"timestamp": session.start_time.timestamp(), "kind": "trim_end", "note": "", "by": "ada"}])
    session.save_meta()
    page = visit(BLANK, curator)
    release = hold_reads(page, f"**/sessions/{session.pk}/marks")
    page.goto(f"/sessions/{session.pk}/replay?t=0.1")
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    page.keyboard.press("i")
    expect(page.locator(".marks .notice")).to_contain_text("The marks are not changed")
    release()
    expect(page.locator(".marks li")).to_contain_text(["Trim end"])


def test_a_new_label_is_not_taken_for_a_change_by_somebody_else(visit, curator):
    session = make_session(range(10))
    page = visit(f"/sessions/{session.pk}/replay", curator)
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    release = hold_reads(page, f"**/sessions/{session.pk}")
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.keyboard.press("s")
    expect(page.locator(".labels .saved")).to_have_text("Label saved")
    release()
    assert page.get_by_label("Success").is_checked()
    assert page.locator(".labels .notice").is_hidden()


def test_a_new_mark_stays_on_the_live_page(visit, server, curator):
    register("arm")
    with robot_socket(server) as robot:
        page = visit(BLANK, curator)
        release = hold_reads(page, "**/sessions/*/marks")
        page.goto("/robots/arm/live")
        robot.send({"frames": [frame(index) for index in range(60)]})
        robot.receive_until_ack(59)
        wait_until(lambda: page.evaluate("window.page.series().times.length") >= 60, what="the frames are plotted")
        page.keyboard.press("m")
        page.keyboard.press("Enter")
        expect(page.locator("#marking")).to_be_hidden()
        assert len(TeleopSession.objects.get().marks) == 1
        release()
        assert len(page.evaluate("window.page.series().marks")) == 1
