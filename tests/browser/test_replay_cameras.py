"""Cameras of the replay: one that does not load stops nothing, films without a preview, and the buttons of a tile."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
from tests.browser.film_replay import settle
from tests.browser.users import BLANK, cases
from tests.browser.video_fixtures import FPS, READ, upload
from tests.services import wait_until

PATIENCE_MS = 5000
pytestmark = pytest.mark.postgresql  # once is enough

COUNT_SEEKS = """() => {
  window.seeks = 0;
  for (const video of document.querySelectorAll("video")) video.addEventListener("seeking", () => window.seeks++);
}"""

Edit = Callable[[dict], dict]


@pytest.fixture
def replay(visit, viewer) -> Callable[..., Page]:
    """Return a function that opens a replay: `edit` changes a video's fields, `content` handles requests for films."""

    def replay(session: TeleopSession, query="", edit: Edit | None = None, content=None, is_timed=False) -> Page:
        page = visit(BLANK, viewer, is_timed=is_timed)
        if edit:
            page.route("**/videos?*", lambda route: _answer_edited(route, edit))
        if content:
            page.route("**/videos/*/content", content)
        page.goto(f"/sessions/{session.pk}/replay{query}")
        expect(page.locator(".replay[data-ready]")).to_be_visible()
        return page

    return replay


def _answer_edited(route: Route, edit: Edit) -> None:
    answer = route.fetch()
    page = answer.json()
    route.fulfill(response=answer, json=page | {"results": [video | edit(video) for video in page["results"]]})


def film_session(*cameras: str, chunks=1, seconds=4) -> TeleopSession:
    session = make_session(range(60 * chunks * seconds + 1))
    for camera in cameras:
        for number in range(chunks):
            upload(session, number * seconds * FPS, seconds * FPS, camera)
    return session


def tile(page: Page, camera="front"):
    return page.locator(f"[data-camera='{camera}']")


def test_a_camera_without_an_answer_does_not_stop_the_others(replay):
    session = film_session("front", "wrist")
    silent = session.videos.get(camera_key="front")
    held: list[Route] | None = []

    def content(route: Route) -> None:
        if held is not None and f"/{silent.pk}/" in route.request.url:
            held.append(route)
        else:
            route.continue_()

    page = replay(session, "?t=1", content=content, is_timed=True)
    page.keyboard.press("Space")
    expect(page.locator(".replay")).to_have_attribute("data-state", "waiting")
    page.clock.fast_forward(PATIENCE_MS)
    expect(tile(page).get_by_text("front does not load: no answer yet")).to_be_visible()
    expect(page.locator(".frame")).to_have_text(re.compile(r"frame (8\d|9\d|\d{3})$"))
    assert page.evaluate(READ, "wrist") is not None
    waiting, held = held, None
    for route in waiting:
        route.continue_()
    expect(tile(page).locator("p")).to_be_hidden()
    page.keyboard.press("Space")
    page.keyboard.press("Home")
    settle(page)
    assert page.evaluate(READ, "front") == 0


def test_a_camera_with_a_network_error_names_it_and_plays_after_it(replay, console):
    console.expect("Failed to load resource")
    session = film_session("front", "wrist")
    broken = session.videos.get(camera_key="front")
    is_down = [True]

    def content(route: Route) -> None:
        if is_down[0] and f"/{broken.pk}/" in route.request.url:
            route.abort()
        else:
            route.continue_()

    page = replay(session, "?t=1", content=content, is_timed=True)
    expect(tile(page)).to_contain_text("front does not load: the file is missing, or the browser cannot play it")
    settle(page)
    is_down[0] = False
    page.clock.fast_forward(10_000)
    page.keyboard.press("Home")
    expect(tile(page).locator("p")).to_be_hidden()
    settle(page)
    assert page.evaluate(READ, "front") == 0


@pytest.mark.long
def test_a_wrong_first_picture_makes_no_storm_of_seeks(replay):
    page = replay(film_session("front"), edit=lambda video: {"first_picture_s": -1.0, "stretch": 1})
    settle(page)
    page.evaluate(COUNT_SEEKS)
    page.keyboard.press("Space")
    expect(page.locator(".frame")).to_have_text(re.compile(r"frame ([5-9]\d|\d{3})$"))
    page.keyboard.press("Space")
    settle(page)
    assert page.evaluate("seeks") <= 10  # it was one at each drawing


@pytest.mark.parametrize("stretch, duration_s", cases((40, 0.1), (0.02, 200)))
@pytest.mark.long
def test_a_film_of_a_very_wrong_rate_stops_nothing(replay, stretch, duration_s):
    page = replay(film_session("front"), edit=lambda video: {"stretch": stretch, "duration_s": duration_s})
    settle(page)
    page.get_by_label("Speed").select_option("4")
    page.keyboard.press("Space")
    expect(page.locator(".frame")).to_have_text("frame 240")
    settle(page)


def test_it_shows_a_pending_film_when_its_proxy_is_made(replay):
    session = film_session("front")
    preview = {"preview": "pending", "codec": "mpeg4"}
    page = replay(session, "?t=1", edit=lambda video: preview, is_timed=True)
    expect(tile(page)).to_contain_text("front: a version that browsers play is being made (mpeg4)")
    expect(tile(page).locator("figcaption")).to_be_visible()
    expect(page.locator(".lane.camera .pending")).to_have_count(1)
    preview.update(preview="original")
    page.clock.fast_forward(5000)
    expect(tile(page).locator("p")).to_be_hidden()
    settle(page)
    assert page.evaluate(READ, "front") == FPS
    expect(page.locator(".lane.camera .pending")).to_have_count(0)


@pytest.mark.parametrize(
    "facts, says",
    cases(
        ({"codec": "prores", "pixel_format": "yuv422p10le"}, "front: prores cannot be played"),
        ({"codec": "hevc", "pixel_format": "gray12le"}, "front: depth (gray12le), no preview"),
    ),
)
@pytest.mark.long
def test_it_offers_the_file_of_a_film_without_preview(replay, facts, says):
    session = film_session("front")
    page = replay(session, edit=lambda video: {"preview": "none"} | facts)
    expect(tile(page)).to_contain_text(says)
    link = tile(page).get_by_role("link", name="Download")
    expect(link).to_have_attribute("href", f"/videos/{session.videos.get().pk}/content")
    expect(page.locator(".lane.camera .none")).to_have_attribute("title", "no preview")
    page.keyboard.press("End")
    settle(page)


@pytest.mark.long
def test_a_camera_can_be_enlarged(replay):
    page = replay(film_session("front", "top", "wrist"))
    button = page.get_by_role("button", name="Enlarge: front")
    area = page.locator(".cameras").bounding_box()
    for how in (lambda: button.press("Enter"), lambda: tile(page).click()):
        how()
        expect(tile(page, "wrist")).to_be_hidden()
        assert tile(page).bounding_box() == area
        expect(button).to_have_attribute("aria-pressed", "true")
        tile(page).click()
        expect(tile(page, "wrist")).to_be_visible()
    button.click()
    page.keyboard.press("Escape")
    expect(tile(page, "wrist")).to_be_visible()
    page.get_by_role("button", name="Full screen: wrist").click()
    wait_until(lambda: page.evaluate("document.fullscreenElement?.dataset.camera") == "wrist")


@pytest.mark.long
def test_a_hidden_camera_loads_nothing_and_comes_back(replay):
    session = film_session("front", "wrist", chunks=2)
    asked: list[str] = []
    page = replay(session, content=lambda route: (asked.append(route.request.url), route.continue_()))
    settle(page)
    page.get_by_role("button", name="Hide: front").press("Enter")
    show = page.get_by_role("button", name="Show front")
    expect(show).to_be_focused()
    expect(tile(page)).to_be_hidden()
    settle(page)
    expect(tile(page).locator("video[src]")).to_have_count(0)
    asked.clear()
    page.keyboard.press("End")
    settle(page)
    wrist = {str(chunk.pk) for chunk in session.videos.filter(camera_key="wrist")}
    assert {url.split("/")[-2] for url in asked} <= wrist
    show.press("Enter")
    expect(page.get_by_role("button", name="Hide: front")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert page.evaluate(READ, "front") == 7 * FPS


@pytest.mark.long
def test_sound_is_off_until_it_is_asked_for(replay):
    page = replay(film_session("front", "wrist"), edit=lambda video: {"has_audio": video["camera_key"] == "front"})
    muted = "camera => [...document.querySelectorAll(`[data-camera=${camera}] video`)].map((video) => video.muted)"
    sound = page.get_by_role("button", name="Sound: front")
    expect(sound).to_have_attribute("aria-pressed", "false")
    assert page.evaluate(muted, "front") == [True, True]
    sound.press("Enter")
    assert page.evaluate(muted, "front") == [False, False]
    assert page.evaluate(muted, "wrist") == [True, True]
    expect(page.get_by_role("button", name="Sound: wrist")).to_have_count(0)


@pytest.mark.long
def test_the_next_chunk_is_loaded_before_its_turn(replay):
    page = replay(film_session("front", "wrist", chunks=2, seconds=1))
    for camera in ("front", "wrist"):
        expect(tile(page, camera).locator("video[src]")).to_have_count(2)
    ready = "[...document.querySelectorAll('video')].map((video) => [video.readyState >= 2, video.seeking])"
    wait_until(lambda: page.evaluate(ready) == [[True, False]] * 4)
