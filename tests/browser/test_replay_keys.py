"""Labelling without a mouse: keys by position, fields that keys enter and leave, and texts that are never lost."""

import pytest
from playwright.sync_api import Page, expect

from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
from tests.browser.users import BLANK
from tests.services import wait_until

pytestmark = pytest.mark.postgresql  # once is enough

# A key as the browser reports it with another layout, or with Caps Lock.
PRESS = "([code, key]) => document.body.dispatchEvent(new KeyboardEvent('keydown', { code, key, bubbles: true }))"


@pytest.fixture
def page(visit, curator) -> Page:
    page = visit(f"/sessions/{make_session(range(30)).pk}/replay", curator)
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    return page


def meta_info() -> dict:
    return TeleopSession.objects.get().meta_info or {}


def test_letters_are_keys_by_position(page):
    page.evaluate(PRESS, ["KeyF", "ㄹ"])  # a Korean layout
    wait_until(lambda: meta_info() == {"success": False})
    page.evaluate(PRESS, ["KeyS", "S"])  # Caps Lock
    wait_until(lambda: meta_info() == {"success": True})
    page.keyboard.press("c")
    wait_until(lambda: meta_info() == {})


def test_keys_enter_and_leave_fields_which_are_saved(page):
    page.keyboard.press("Enter")
    page.keyboard.type("slips\nfalls")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Note")).not_to_be_focused()
    wait_until(lambda: meta_info() == {"note": "slips\nfalls"})
    page.keyboard.press("t")
    page.keyboard.type("blue,")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_label("Tags")).not_to_be_focused()
    expect(page.get_by_label("Tags")).to_have_value("blue")
    page.keyboard.press("u")
    wait_until(lambda: meta_info() == {"note": "slips\nfalls"})
    page.keyboard.press("l")
    page.keyboard.type("Fold")
    page.keyboard.press("Enter")
    wait_until(lambda: meta_info() == {"note": "slips\nfalls", "task": "Fold"})


@pytest.mark.long
def test_a_text_is_saved_while_it_is_written(page):
    note = page.get_by_label("Tags")
    note.press_sequentially("one, ")
    wait_until(lambda: meta_info() == {"tags": ["one"]})
    expect(page.locator(".saved")).to_have_text("Tags saved")
    expect(note).to_have_value("one, ")  # the writer goes on behind the comma
    note.press_sequentially("two")
    note.blur()
    wait_until(lambda: meta_info() == {"tags": ["one", "two"]})


def test_a_closed_page_loses_no_text(page):
    page.get_by_label("Note").press_sequentially("the last word")
    page.goto(BLANK)
    wait_until(lambda: meta_info() == {"note": "the last word"})
