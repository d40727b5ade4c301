"""Rules for all pages: permissions to see them, and no content from other sites."""

import re

import pytest
from playwright.sync_api import expect

from robots.models import Robot
from tests.browser.users import cases, staff

pytestmark = pytest.mark.postgresql  # once is enough


def test_it_redirects_to_the_login_and_back(visit, admin):
    page = visit("/?status=online")
    expect(page).to_have_url(re.compile(r"/admin/login/\?next=/%3Fstatus%3Donline"))
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("secret of admin")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/\?status=online$"))


@pytest.mark.parametrize("path", ["/", "/robots/arm/live"])
def test_it_returns_403_without_permission(visit, console, path):
    Robot.objects.create(pk="arm")
    page = visit(path, staff("outsider"))
    console.expect("status of 403")
    expect(page.get_by_role("heading")).to_have_text("Permission denied")
    expect(page.locator("#content")).to_contain_text("outsider")


def test_it_returns_404_for_an_unknown_robot(visit, viewer, console):
    console.expect("status of 404")
    page = visit("/robots/nobody/live", viewer)
    expect(page.get_by_role("heading")).to_have_text("Not found")
    expect(page.get_by_text("There is no robot nobody; it may have been deleted.")).to_be_visible()
    page.get_by_role("link", name="the fleet").click()
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()


@pytest.mark.parametrize("path", cases("/admin/robots/robot/add/", "/", "/admin/", "/admin/robots/robot/"))
def test_the_content_security_policy_forbids_inline_code(visit, admin, path):
    policy = visit(path, admin).request.get(path).headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy


def test_the_api_page_works_under_the_content_security_policy(visit):
    page = visit("/docs")
    expect(page.get_by_text("/robots/{id}/status")).to_be_visible()
    assert "script-src" not in page.request.get("/docs").headers["content-security-policy"]  # so default-src applies


@pytest.mark.long
def test_the_api_page_has_the_theme_and_a_way_back(visit, viewer):
    page = visit("/docs", viewer, color_scheme="dark")
    expect(page.locator("html")).to_have_class("dark-mode")
    page.get_by_role("link", name="Fleet").click()
    page.evaluate("localStorage.theme = 'light'")
    page.get_by_role("link", name="API").click()
    expect(page.locator("html")).not_to_have_class("dark-mode")


@pytest.mark.long
def test_the_pages_share_the_theme_of_the_admin(visit, admin):
    page = visit("/admin/", admin, color_scheme="dark")
    page.goto("/")
    ground = page.evaluate("getComputedStyle(document.querySelector('#content')).backgroundColor")
    page.get_by_role("button", name=re.compile("Toggle theme")).click()
    light = page.evaluate("getComputedStyle(document.querySelector('#content')).backgroundColor")
    assert (ground, light) == ("rgb(16, 17, 18)", "rgb(242, 244, 245)")
