"""Review one session after the other: the selection, the trash, labels and their undo, without a mouse."""

import re

import pytest
from playwright.sync_api import Page, expect

from teleop.models import TeleopSession
from teleop.tests.recordings import T0, make_session
from tests.services import wait_until

pytestmark = pytest.mark.postgresql  # once is enough


@pytest.fixture
def sessions() -> list[TeleopSession]:
    """Return three sessions, newest first, as the list has them."""
    return [make_session(range(30), start=T0.replace(day=day)) for day in (3, 2, 1)]


def replay(visit, user, session: TeleopSession, query="?robot=arm") -> Page:
    page = visit(f"/sessions/{session.pk}/replay{query}", user)
    shows(page, session)
    return page


def shows(page: Page, session: TeleopSession) -> None:
    expect(page.locator(f".replay[data-ready][data-session='{session.pk}']")).to_be_visible()


def labels(session: TeleopSession) -> dict:
    session.refresh_from_db()
    return session.meta_info or {}


def test_keys_stay_in_the_selection_and_tell_where_it_ends(visit, viewer, sessions):
    page = replay(visit, viewer, sessions[1])
    expect(page.locator(".place")).to_have_text("2 of 3")
    page.keyboard.press("n")
    shows(page, sessions[2])
    expect(page.locator(".place")).to_have_text("3 of 3")
    page.keyboard.press("n")
    expect(page.locator("#toast")).to_contain_text("This is the last session of the list.")
    expect(page).to_have_url(re.compile(rf"/sessions/{sessions[2].pk}/replay\?robot=arm"))


def test_a_deleted_session_gives_way_to_the_next_and_u_brings_it_back(visit, curator, sessions):
    page = replay(visit, curator, sessions[0])
    page.keyboard.press("#")
    shows(page, sessions[1])
    expect(page.locator("#toast")).to_contain_text(f"Session {sessions[0].pk} is in the trash.")
    expect(page.locator(".place")).to_have_text("1 of 2")
    assert TeleopSession.objects.in_trash().get() == sessions[0]
    page.keyboard.press("u")
    shows(page, sessions[0])
    expect(page).to_have_url(re.compile(r"\?robot=arm"))
    assert not TeleopSession.objects.in_trash().exists()


@pytest.mark.long
def test_a_session_in_the_trash_is_restored_by_a_button(visit, curator):
    session = make_session(range(30))
    TeleopSession.objects.update(trashed_at=T0)
    page = replay(visit, curator, session, "")
    expect(page.locator("#trashed")).to_be_visible()
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#trashed")).to_be_hidden()
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
    assert not TeleopSession.objects.in_trash().exists()


@pytest.mark.long
def test_shift_labels_and_goes_on_and_u_undoes_it_from_there(visit, curator, sessions):
    page = replay(visit, curator, sessions[0])
    page.keyboard.press("Shift+F")
    shows(page, sessions[1])
    expect(page.locator("#toast")).to_contain_text(f"Session {sessions[0].pk}: label is “failure”.")
    assert labels(sessions[0]) == {"success": False}
    page.keyboard.press("u")
    expect(page.locator("#toast")).to_contain_text(f"Session {sessions[0].pk}: label is empty again.")
    assert labels(sessions[0]) == {}
    assert labels(sessions[1]) == {}


def test_it_does_not_undo_what_somebody_else_has_changed(visit, curator, sessions, console):
    console.expect("status of 409")
    page = replay(visit, curator, sessions[0])
    page.keyboard.press("Shift+F")
    shows(page, sessions[1])
    TeleopSession.objects.filter(pk=sessions[0].pk).update(meta_info={"success": True})
    page.keyboard.press("u")
    expect(page.locator("#toast")).to_contain_text("this cannot be undone")
    assert labels(sessions[0]) == {"success": True}


@pytest.mark.long
def test_it_does_not_leave_while_a_label_is_not_saved(visit, curator, sessions, console):
    console.expect("Failed to load resource")
    page = replay(visit, curator, sessions[0])
    page.route(f"**/sessions/{sessions[0].pk}", lambda route: route.abort())
    page.keyboard.press("f")
    expect(page.get_by_role("alert")).to_contain_text("Label is not saved: the server does not answer")
    page.keyboard.press("n")
    expect(page.locator("#toast")).to_contain_text("A label is not saved.")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("radio", name="No label")).to_be_checked()
    page.keyboard.press("n")
    shows(page, sessions[1])


@pytest.mark.long
def test_u_undoes_labels_one_by_one(visit, curator, sessions):
    page = replay(visit, curator, sessions[0])
    for key in "sf":
        page.keyboard.press(key)
        wait_until(lambda key=key: labels(sessions[0]) == {"success": key == "s"})
    expect(page.locator(".saved")).to_have_text("Label saved")
    for value in (True, None):
        page.keyboard.press("u")
        wait_until(lambda value=value: labels(sessions[0]).get("success") is value)
