"""Marks are made, named, moved and removed on the replay, and keys jump between them."""

import pytest
from playwright.sync_api import Page, expect

from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session
from tests.services import wait_until

pytestmark = pytest.mark.postgresql  # once is enough
DASH = "\N{EN DASH}"
SLIP = {"timestamp": T0_S + 1, "note": "slips", "by": "ada"}
FALL = {"timestamp": T0_S + 3, "note": "falls", "by": "ada"}


def replay(visit, user, *marks: dict, query="?t=2") -> Page:
    """Open the replay of 4 s of frames with these marks."""
    session = make_session(range(241))
    session.set_marks(list(marks))
    session.save_meta()
    page = visit(f"/sessions/{session.pk}/replay{query}", user)
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    expect(page.locator(".marks li")).to_have_count(len(marks))
    return page


def stored() -> list[tuple[float, str]]:
    return [(mark["timestamp"] - T0_S, mark["note"]) for mark in TeleopSession.objects.get().marks]


def edit(page: Page, what: str) -> None:
    page.locator(".marks li").first.hover()
    page.get_by_role("button", name=what).first.click()


def test_m_marks_the_frame_and_takes_a_note(visit, curator):
    page = replay(visit, curator)
    page.keyboard.press("m")
    page.keyboard.type("fs n")  # no key of these is a shortcut now
    page.keyboard.press("Enter")
    expect(page.locator(".marks li")).to_contain_text([f"0:02.0 fs n {DASH} curator"])
    assert stored() == [(2, "fs n")] and TeleopSession.objects.get().meta_info.keys() == {"marks"}
    expect(page.locator(".track .mark")).to_have_count(1)
    page.keyboard.press("m")
    page.keyboard.press("Escape")  # a mark without a note
    wait_until(lambda: stored() == [(2, "fs n"), (2, "")])


def test_a_mark_is_renamed_moved_and_removed(visit, curator):
    page = replay(visit, curator, SLIP, FALL)
    edit(page, "Change the note of")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("drops")
    page.keyboard.press("Escape")
    wait_until(lambda: stored() == [(1, "drops"), (3, "falls")])
    edit(page, "Move to the cursor")
    wait_until(lambda: stored() == [(2, "drops"), (3, "falls")])
    expect(page.locator(".marks li").first).to_contain_text(f"0:02.0 drops {DASH} ada")
    edit(page, "Remove drops")
    wait_until(lambda: stored() == [(3, "falls")])
    expect(page.locator(".marks li")).to_have_count(1)


def test_u_undoes_changes_of_marks(visit, curator):
    page = replay(visit, curator, SLIP, FALL)
    edit(page, "Change the note of")
    page.keyboard.type("!")
    page.keyboard.press("Enter")
    edit(page, "Move to the cursor: slips!")
    edit(page, "Remove slips!")
    expect(page.locator("#toast")).to_contain_text(f"Removed slips! {DASH} ada.")
    page.keyboard.press("m")
    page.keyboard.press("Escape")
    for marks in (
        [(3, "falls")],
        [(2, "slips!"), (3, "falls")],
        [(1, "slips!"), (3, "falls")],
        [(1, "slips"), (3, "falls")],
    ):
        page.keyboard.press("u")
        wait_until(lambda marks=marks: stored() == marks, what=f"the marks are {marks}")
        expect(page.locator(".marks li")).to_have_count(len(marks))


def test_a_mark_that_is_still_being_moved_can_be_removed(visit, curator):
    page = replay(visit, curator, SLIP, FALL)
    page.evaluate("for (const name of ['Move', 'Remove']) document.querySelector(`.marks li [title^=${name}]`).click()")
    wait_until(lambda: stored() == [(3, "falls")])
    expect(page.locator(".marks .notice")).to_be_hidden()
    page.keyboard.press("u")
    wait_until(lambda: stored() == [(2, "slips"), (3, "falls")])


def test_undo_replaces_no_trim(visit, curator):
    page = replay(visit, curator, SLIP | {"kind": "trim_start"}, query="?t=2")
    page.keyboard.press("i")
    wait_until(lambda: stored() == [(2, "")])
    page.keyboard.press("u")
    wait_until(lambda: stored() == [(1, "slips")])
    edit(page, "Remove Trim start: slips")
    wait_until(lambda: stored() == [])
    TeleopSession.objects.update(meta_info={"marks": [FALL | {"kind": "trim_start"}]})
    page.keyboard.press("u")
    expect(page.locator("#toast")).to_contain_text("cannot be undone: the trim start was set again")
    assert stored() == [(3, "falls")]


@pytest.mark.long
def test_it_shows_the_note_that_somebody_else_has_written(visit, curator, console):
    console.expect("status of 409")
    page = replay(visit, curator, SLIP)
    TeleopSession.objects.update(meta_info={"marks": [SLIP | {"note": "grasps"}]})
    edit(page, "Change the note of")
    page.keyboard.type("!")
    page.keyboard.press("Enter")
    expect(page.locator(".marks .notice")).to_contain_text("The marks are not changed")
    expect(page.locator(".marks li")).to_contain_text([f"0:01.0 grasps {DASH} ada"])


@pytest.mark.long
def test_keys_jump_between_marks(visit, viewer):
    page = replay(visit, viewer, SLIP, FALL)
    for key, frame in [("j", 180), ("j", 180), ("k", 60)]:
        page.keyboard.press(key)
        expect(page.locator(".frame")).to_have_text(f"frame {frame}")
    page.keyboard.press("m")
    expect(page.locator(".marks button")).to_have_count(2)  # those that seek
