"""The admin in a real browser: behaviour of its pages that only a browser shows."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from teleop.models import TeleopSession
from teleop.tests.recordings import T0, make_session
from tests.browser.video_fixtures import upload

pytestmark = pytest.mark.postgresql  # once is enough
SESSIONS = "/admin/teleop/teleopsession/"


@pytest.mark.long
def test_times_are_local_with_utc_on_hover(visit, viewer):
    make_session(range(3))
    moment = visit(SESSIONS, viewer).locator("#result_list time").first
    expect(moment).to_have_text("2023-12-23 09:00:00")
    expect(moment).to_have_attribute("title", "2023-12-23 08:00:00 UTC")


@pytest.mark.long
def test_a_heartbeat_shows_its_age_with_the_time_on_hover(visit, viewer):
    robot = make_session().robot
    robot.last_heartbeat = datetime(2023, 12, 23, 8, tzinfo=UTC)
    robot.save()
    heartbeat = visit("/admin/robots/robot/", viewer).locator("#result_list time")
    expect(heartbeat).to_contain_text("d ago")
    expect(heartbeat).to_have_attribute("title", "2023-12-23 09:00:00 (2023-12-23 08:00:00 UTC)")


@pytest.mark.long
def test_a_time_range_is_picked_in_local_time(visit, viewer):
    make_session(key="at-eight")
    make_session(start=T0.replace(hour=10), key="at-ten")
    page = visit(SESSIONS, viewer)
    page.get_by_label("From").fill("2023-12-23T10:30")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    assert "from=2023-12-23T09%3A30%3A00.000Z" in page.url
    expect(page.get_by_label("From")).to_have_value("2023-12-23T10:30")


@pytest.mark.long
def test_a_video_plays_in_place(visit, viewer):
    chunk = upload(make_session(range(60)), 0, 30)
    video = visit(f"/admin/videos/videochunk/{chunk.pk}/change/", viewer).locator("video")
    video.evaluate("video => video.play()")
    assert video.evaluate("video => video.currentTime >= 0 && video.videoWidth > 0")


def test_it_saves_labels(visit, curator):
    session = make_session(range(3))
    page = visit(f"{SESSIONS}{session.pk}/change/", curator)
    page.get_by_label("Task").fill("Fold <b>")
    page.get_by_label("Tags").fill("a\nb")
    page.get_by_label("Success").select_option("Yes")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_label("Task")).to_have_value("Fold <b>")
    session.refresh_from_db()
    assert session.meta_info == {"task": "Fold <b>", "tags": ["a", "b"], "success": True}


def test_it_escapes_a_script_in_a_robot_name(visit, admin):
    session = make_session(range(3))
    session.robot.name = "<script>alert(1)</script>"
    session.robot.save()
    TeleopSession.objects.update(meta_info={"task": session.robot.name, "success": "maybe", "note": [1]})
    page = visit("/admin/robots/robot/", admin, color_scheme="dark")
    for path in ("/admin/robots/robot/arm/change/", SESSIONS, f"{SESSIONS}{session.pk}/change/"):
        expect(page.locator("#content")).to_be_visible()  # and the console is empty
        page.goto(path)
    expect(page.locator("#content")).to_be_visible()
