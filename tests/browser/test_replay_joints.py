"""Values and plots of joints: groups, the chooser, booleans and texts, the pointer, and the cursor while it plays."""

import pytest
from playwright.sync_api import Page, expect

from teleop.tests.recordings import make_session

pytestmark = pytest.mark.postgresql  # once is enough
NOTHING = "\N{EN DASH}"


def data(index: int) -> dict:
    return {
        "observation": {"left_arm.pos": index, "right_arm.pos": -index, "closed": index >= 120, "mode": "<b>grasp</b>"},
        "action": {"left_arm.pos": index + 0.5},
    }


@pytest.fixture
def page(visit, viewer) -> Page:
    page = visit(f"/sessions/{make_session(range(241), data=data).pk}/replay?t=1", viewer)
    expect(page.locator(".replay[data-state=paused]")).to_be_visible()
    return page


def values(page: Page, joint: str) -> list[str]:
    return page.locator(f"[data-joint='{joint}'] .number").all_inner_texts()


def test_it_shows_numbers_booleans_texts_and_differences(page):
    assert values(page, "left_arm.pos") == ["60.00", "60.50", "-0.500"]
    assert values(page, "right_arm.pos") == ["-60.00", NOTHING, NOTHING]
    assert values(page, "closed") == ["false", NOTHING, NOTHING]
    expect(page.locator(".texts")).to_have_text("mode<b>grasp</b>")
    page.keyboard.press("End")
    expect(page.locator("[data-joint=closed] .observation")).to_have_text("true")
    expect(page.locator(".joint h3")).to_have_text(["left_arm", "right_arm", "closed"])


@pytest.mark.long
def test_it_hides_groups_and_remembers_them(page):
    page.get_by_text("Joints", exact=True).click()
    page.get_by_label("All left").uncheck()
    expect(page.locator(".joint:visible")).to_have_count(2)
    expect(page.get_by_role("heading", name="Left")).to_be_hidden()
    page.reload()
    expect(page.locator(".replay[data-state=paused]")).to_be_visible()
    expect(page.locator(".chooser summary")).to_have_text("Joints 2 of 3")
    expect(page.locator(".joint:visible h3")).to_have_text(["right_arm", "closed"])
    page.get_by_text("Joints").click()
    page.get_by_role("button", name="All", exact=True).first.click()
    page.keyboard.press("Escape")
    expect(page.locator(".joint:visible")).to_have_count(3)
    assert values(page, "left_arm.pos") == ["60.00", "60.50", "-0.500"]


@pytest.mark.long
def test_groups_fold_and_stay_folded(page):
    left = page.locator(".group").get_by_role("button", name="Left")
    left.press("Enter")
    expect(left).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".joint:visible h3")).to_have_text(["right_arm", "closed"])
    page.get_by_text("Joints", exact=True).click()
    page.locator(".chooser").get_by_role("button", name="Right").press("Enter")
    expect(page.locator(".chooser label:visible")).to_have_text(["All left", "left_arm", "All right", "closed"])
    page.reload()
    expect(page.locator(".replay[data-state=paused]")).to_be_visible()
    expect(page.locator(".joint:visible h3")).to_have_text(["right_arm", "closed"])
    left.press("Enter")
    assert values(page, "left_arm.pos") == ["60.00", "60.50", "-0.500"]
    page.get_by_text("Joints", exact=True).click()
    expect(page.locator(".chooser [aria-expanded=false]")).to_have_accessible_name("Right")


@pytest.mark.long
def test_it_shows_the_values_under_the_pointer_until_the_clock_moves(page):
    box = page.locator("[data-joint=closed] .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 10)
    expect(page.locator(".frame")).to_have_text("frame 180 (pointer)")
    expect(page.locator("[data-joint='left_arm.pos'] .observation")).to_have_text("180.0")
    page.keyboard.press(".")
    expect(page.locator("[data-joint='left_arm.pos'] .observation")).to_have_text("61.00")


def test_the_cursor_moves_without_scripts_while_it_plays(page):
    moving = "document.querySelector('.joints .playhead i').getAnimations().length"
    share = """() => {
      const box = document.querySelector('.joints .playhead');
      const { left, width } = box.getBoundingClientRect();
      return (box.querySelector('i').getBoundingClientRect().left + 1 - left) / width;
    }"""
    # The page itself looks at each picture: this process may look too late.
    page.evaluate(f"(function look() {{ window.hasMoved ||= {moving}; requestAnimationFrame(look); }})()")
    page.keyboard.press("Space")  # three seconds are left
    page.wait_for_function("() => window.hasMoved")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".replay[data-state=paused]")).to_be_visible()  # at the end
    assert page.evaluate(moving) == 0
    assert page.evaluate(share) == pytest.approx(1, abs=0.005)
    page.keyboard.press("Home")
    expect(page.locator(".frame")).to_have_text("frame 0")
    assert page.evaluate(share) == pytest.approx(0, abs=0.005)
