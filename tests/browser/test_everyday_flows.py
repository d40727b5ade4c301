"""Everyday work in few clicks: a new robot, a robot that has to stop, a new person, the own token."""

import pytest
from playwright.sync_api import Page, expect

from robots.close_codes import Close
from robots.models import Robot
from tests.robot_socket import register, robot_socket

pytestmark = pytest.mark.postgresql  # once is enough
PASSWORD = "correct horse battery"


class Hand:
    """Hand of a user: it counts the clicks."""

    def __init__(self, page: Page):
        self._page, self.clicks = page, 0

    def click(self, name: str, role: str = "button") -> None:
        self._page.get_by_role(role, name=name, exact=True).click()
        self.clicks += 1

    def copy(self) -> str:
        """Copy the first key or link of the page; return it."""
        self._page.get_by_role("button", name="Copy").first.click()
        self.clicks += 1
        expect(self._page.get_by_role("button", name="Copied")).to_be_visible()
        return self._page.locator("code.key").first.inner_text()


def test_a_new_robot_connects_after_three_clicks(visit, admin, server):
    page = visit("/admin/robots/robot/", admin)
    hand = Hand(page)
    hand.click("Add robot", "link")
    page.get_by_label("Id:").fill("so101-left")
    hand.click("Save and issue key")
    key = hand.copy()
    assert hand.clicks == 3
    expect(page.locator("#content")).to_contain_text(f'RobotClient("{server.url}", "so101-left", key=key)')
    with robot_socket(server, "so101-left", key=key) as robot:
        assert robot.greeting["next_frame_index"] == 0


def test_a_robot_is_disabled_from_its_live_page_with_two_clicks(visit, admin, server):
    register("arm")
    with robot_socket(server) as robot:
        page = visit("/robots/arm/live", admin)
        hand = Hand(page)
        hand.click("Disable", "link")
        hand.click("Disable")
        assert robot.receive_until_close()[0] == Close.DISABLED
    expect(page.get_by_text("Robot arm is disabled.")).to_be_visible()
    hand.click("Enable", "link")
    hand.click("Enable")
    expect(page.get_by_text("Robot arm is enabled.")).to_be_visible()
    assert hand.clicks == 4 and not Robot.objects.get().disabled


def test_a_curator_is_invited_with_four_clicks_and_sets_a_password(visit, admin, server):
    page = visit("/admin/auth/user/", admin)
    hand = Hand(page)
    hand.click("Add user", "link")
    page.get_by_label("Username:").fill("ada")
    hand.click("curator: also labels, exports and deletes sessions", "radio")
    hand.click("Save and show the link")
    link = hand.copy()
    assert hand.clicks == 4
    theirs = visit(link)
    theirs.get_by_label("New password:").fill(PASSWORD)
    theirs.get_by_label("New password confirmation:").fill(PASSWORD)
    theirs.get_by_role("button", name="Set the password").click()
    theirs.wait_for_url("**/review")
    expect(theirs.get_by_role("link", name="Account")).to_be_visible()


def test_people_get_their_own_token_with_four_clicks(visit, viewer):
    page = visit("/", viewer)
    hand = Hand(page)
    hand.click("Account", "link")
    hand.click("Create a token")
    page.locator("summary", has_text="Show the token").click()
    hand.clicks += 1
    token = hand.copy()
    assert hand.clicks == 4 and token == viewer.auth_token.key
