"""The pair of marks that trims a session for exports, on the replay."""

import pytest
from playwright.sync_api import Page, expect

from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session
from tests.services import wait_until

pytestmark = pytest.mark.postgresql  # once is enough
DASH = "\N{EN DASH}"
TRIMMED = [{"timestamp": T0_S + 2, "kind": "trim_start"}, {"timestamp": T0_S + 6, "kind": "trim_end"}]


def replay(visit, user, *marks: dict, query="?t=4") -> Page:
    """Open the replay of 8 s of frames with these marks."""
    session = make_session(range(481))
    session.set_marks([{"note": "", "by": "ada"} | mark for mark in marks])
    session.save_meta()
    page = visit(f"/sessions/{session.pk}/replay{query}", user)
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    return page


def shaded(page: Page) -> list[list[float]]:
    """Return begin and end of the shaded parts, in percent of the session."""
    shares = (
        "parts => parts.map(({ style }) => [parseFloat(style.left), parseFloat(style.left) + parseFloat(style.width)])"
    )
    return page.locator(".trimmed").evaluate_all(shares)


def kinds() -> list[tuple[str, float]]:
    return [(mark["kind"], mark["timestamp"] - T0_S) for mark in TeleopSession.objects.get().marks]


def test_keys_set_the_pair_at_the_frame_that_is_shown(visit, curator):
    page = replay(visit, curator, query="?t=2")
    page.keyboard.press("i")
    expect(page.locator(".marks li")).to_contain_text([f"0:02.0 Trim start {DASH} curator"])
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".frame")).to_have_text("frame 420")
    page.keyboard.press("o")
    expect(page.locator(".marks li")).to_have_count(2)
    assert kinds() == [("trim_start", 2), ("trim_end", 7)]
    wait_until(lambda: shaded(page) == [[0, 25], [87.5, 100]])


@pytest.mark.long
def test_a_button_moves_a_mark_of_the_pair(visit, curator):
    page = replay(visit, curator, *TRIMMED)
    wait_until(lambda: shaded(page) == [[0, 25], [75, 100]])
    page.get_by_role("button", name="Trim start").and_(page.locator("[name=trim_start]")).click()
    expect(page.locator(".marks li").first).to_contain_text("0:04.0 Trim start")
    assert kinds() == [("trim_start", 4), ("trim_end", 6)]
    wait_until(lambda: shaded(page) == [[0, 50], [75, 100]])


@pytest.mark.long
def test_a_mark_of_the_pair_is_removed(visit, curator):
    page = replay(visit, curator, *TRIMMED)
    page.get_by_label(f"Remove Trim start {DASH} ada").click()
    expect(page.locator(".marks li")).to_have_count(1)
    assert kinds() == [("trim_end", 6)]
    wait_until(lambda: shaded(page) == [[75, 100]])


def test_it_shows_why_a_start_after_the_end_is_refused(visit, curator, console):
    console.expect("status of 400")
    page = replay(visit, curator, *TRIMMED, query="?t=7")
    page.keyboard.press("i")
    expect(page.locator(".marks .notice")).to_contain_text("The marks are not changed: timestamp: ")
    assert kinds() == [("trim_start", 2), ("trim_end", 6)]


@pytest.mark.long
def test_a_viewer_sees_the_pair_and_cannot_change_it(visit, viewer):
    page = replay(visit, viewer, *TRIMMED)
    expect(page.locator(".marks li")).to_have_count(2)
    page.keyboard.press("i")
    expect(page.locator(".marks button")).to_have_count(2)  # those that seek
    wait_until(lambda: shaded(page) == [[0, 25], [75, 100]])
    assert kinds() == [("trim_start", 2), ("trim_end", 6)]
