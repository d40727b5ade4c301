"""Replay: videos and plots agree, missing data is visibly missing, and labels."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models import F
from playwright.sync_api import Page, expect

from robots.models import Robot
from teleop.models import TeleopSession
from teleop.tests.recordings import T0, make_session, record
from tests.browser.users import cases
from tests.browser.video_fixtures import FPS, READ, upload
from tests.services import wait_until

NOTHING = "\N{EN DASH}"
pytestmark = pytest.mark.postgresql  # once is enough

FALL_BEHIND = """() => new Promise((done) => {
  const video = document.querySelector(".camera video:not([hidden])");
  video.addEventListener("seeked", done, { once: true });
  video.currentTime -= 0.2;
})"""


def indexed(index: int) -> dict:
    """Return a joint whose value is the frame's index."""
    return {"observation": {"gripper.pos": index}, "action": {"gripper.pos": -index}}


def film_session(frames=480, **changes) -> TeleopSession:
    return make_session(range(frames), data=indexed, **changes)


@pytest.fixture
def replay(visit, viewer) -> Callable[..., Page]:
    def replay(session: TeleopSession, query="", user=None, **options) -> Page:
        page = visit(f"/sessions/{session.pk}/replay{query}", user or viewer, **options)
        expect(page.locator(".replay[data-ready]")).to_be_visible()
        return page

    return replay


def settle(page: Page) -> None:
    expect(page.locator(".replay")).to_have_attribute("data-state", "paused")


def frame_shown(page: Page) -> int:
    """Return the frame's index, which is the value under the cursor."""
    return round(float(page.locator(".joint .observation").inner_text()))


def scrub(page: Page, share: float) -> None:
    """Drag the pointer over the plot to a share of its width."""
    plot = page.locator(".joint .u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, y, steps=5)
    page.mouse.up()


def test_after_a_scrub_video_and_plot_agree_within_a_frame(replay):
    session = film_session()
    for first in (0, 120):  # two adjacent chunks of 4 s
        upload(session, first, 120)
    page = replay(session)
    for share in (0.013, 0.31, 0.4999, 0.5001, 0.9999):
        scrub(page, share)
        settle(page)
        index = frame_shown(page)
        assert index == pytest.approx(share * 479, abs=1.5)
        assert abs(page.evaluate(READ, "front") / FPS - index / 60) <= 1 / FPS


@pytest.mark.parametrize("rate", cases(4, 1))
def test_a_playing_video_stays_in_sync_with_the_clock(replay, rate):
    session = film_session(frames=1800)
    upload(session, 0, 900)
    page = replay(session, "?t=1")
    page.get_by_label("Speed").select_option(str(rate))
    page.keyboard.press("Space")
    expect(page.locator(".frame")).to_have_text(re.compile(r"frame ([2-9]\d\d|\d{4})$"))
    both = "read => [eval(read)('front'), parseInt(document.querySelector('.frame').textContent.match(/\\d+/))]"

    def agree() -> bool:
        number, index = page.evaluate(both.replace("eval(read)", f"({READ})"), None)
        return (
            number is not None and abs(number / FPS - index / 60) <= rate * 2 / FPS
        )  # the picture and the text are read at slightly different times

    wait_until(agree)
    page.evaluate(FALL_BEHIND)
    wait_until(agree)
    page.keyboard.press("Space")
    settle(page)
    assert abs(page.evaluate(READ, "front") / FPS - frame_shown(page) / 60) <= 1 / FPS


@pytest.mark.long
def test_comma_and_period_step_by_one_frame_across_gaps(replay):
    session = make_session([*range(100), *range(160, 200)], data=indexed)
    page = replay(session, "?t=1.633334")
    shown = page.locator(".frame")
    expect(shown).to_have_text("frame 98")
    for key, frame in [(".", 99), (".", 160), (".", 161), (",", 160), (",", 99), (",", 98)]:
        page.keyboard.press(key)
        expect(shown).to_have_text(f"frame {frame}")
        expect(page.locator(".joint .observation")).to_have_text(f"{frame:.1f}" if frame > 99 else f"{frame:.2f}")


@pytest.mark.long
def test_the_url_keeps_the_time_and_opens_at_it(replay):
    session = film_session()
    page = replay(session, "?task=Fold")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"replay\?task=Fold&t=6\.983"))
    page.reload()
    expect(page.locator(".frame")).to_have_text("frame 419")
    expect(page.locator(".time")).to_contain_text("0:06.983")


def test_it_saves_a_label_set_by_key(replay, curator):
    session = film_session(frames=10)
    page = replay(session, user=curator)
    page.keyboard.press("f")
    expect(page.get_by_text("Label saved")).to_be_visible()
    session.refresh_from_db()
    assert session.meta_info == {"success": False} and session.staff_labels == ["success"]
    page.keyboard.press("s")
    expect(page.get_by_role("radio", name="Success")).to_be_checked()
    wait_until(lambda: TeleopSession.objects.get().meta_info == {"success": True})


def test_it_saves_task_tags_and_note_on_blur(replay, curator):
    session = film_session(frames=10)
    page = replay(session, user=curator)
    for label, text in {"Task": "Fold", "Tags": "towel, blue,", "Note": "crooked"}.items():
        page.get_by_label(label).fill(text)
    page.get_by_label("Note").blur()
    meta = {"task": "Fold", "tags": ["towel", "blue"], "note": "crooked"}
    wait_until(lambda: TeleopSession.objects.get().meta_info == meta)


@pytest.mark.long
def test_it_ignores_shortcuts_typed_into_a_note(replay, curator):
    page = replay(film_session(frames=10), user=curator)
    page.get_by_label("Note").press_sequentially("safe pens?")
    expect(page.get_by_label("Note")).to_have_value("safe pens?")
    assert page.url.endswith("replay") or "t=0" in page.url
    assert not TeleopSession.objects.get().meta_info


def label(session: TeleopSession, **changes) -> None:
    """Label the session as another user in another place."""
    session.refresh_from_db()
    session.merge_meta(changes, by_staff=True)
    session.save_meta()


def test_it_asks_before_overwriting_a_concurrent_label(replay, curator, console):
    console.expect("status of 409")
    session = film_session(frames=10)
    page = replay(session, user=curator)
    label(session, success=True)
    page.keyboard.press("f")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("changed by someone else: “success”. Your value, “failure”, is not saved.")
    assert TeleopSession.objects.get().meta_info == {"success": True}
    notice.get_by_role("button", name="Save my value").click()
    wait_until(lambda: TeleopSession.objects.get().meta_info == {"success": False})


@pytest.mark.long
def test_it_shows_changes_by_others_on_focus(replay, curator):
    session = film_session(frames=10)
    page = replay(session, user=curator)
    label(session, task="Fold")
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.get_by_role("alert")).to_contain_text("Someone else has changed task: “Fold”.")
    expect(page.get_by_label("Task")).to_have_value("Fold")


def test_a_viewer_has_no_controls_and_may_not_change_labels(replay, console):
    console.expect("status of 403")
    session = film_session(frames=10, key="viewed")
    label(session, task="Fold", success=False)
    page = replay(session)
    expect(page.locator("[data-label=task]")).to_have_text("Fold")
    expect(page.locator("[data-label=success]")).to_have_text("failure")
    assert page.locator("form.labels, .labels input, .labels textarea").count() == 0
    assert page.get_by_role("link", name="Delete").count() == 0
    page.keyboard.press("s")
    change = "([api, path]) => import(api).then(({ patch }) => patch(path, { meta_info: {} })).catch(String)"
    answer = page.evaluate(change, ["/static/teleop/api.js", f"/sessions/{session.pk}"])
    assert "You do not have permission" in answer
    session.refresh_from_db()
    assert session.meta_info["success"] is False


@pytest.mark.long
def test_it_shows_a_gap_in_the_frames(replay):
    session = make_session([*range(100), *range(400, 500)], data=indexed)
    page = replay(session, "?t=4")
    expect(page.locator(".frame")).to_have_text("no frame at this time")
    expect(page.locator(".joint .observation")).to_have_text(NOTHING)
    gap = page.locator(".lane.frames .gap").bounding_box()
    lane = page.locator(".lane.frames").bounding_box()
    assert gap["width"] / lane["width"] == pytest.approx(301 / 499, abs=0.01)


@pytest.mark.parametrize("step_s, width", cases((-7200, 1920), (365 * 86400, 390)))
@pytest.mark.long
def test_it_gives_each_frame_room_if_the_clock_stepped(replay, step_s, width):
    session = film_session()
    after = session.frames.filter(frame_index__gte=240)
    after.update(timestamp=F("timestamp") + timedelta(seconds=step_s))
    TeleopSession.objects.filter(pk=session.pk).finish()
    call_command("quality")
    session.start_time = T0 + timedelta(seconds=step_s)
    upload(session, 120, 120)  # by the clock after the step: frames 240 to 479
    page = replay(session, viewport={"width": width, "height": 900})
    how = "back by 2:00:00" if step_s < 0 else "ahead by 365 days"
    expect(page.locator("#notice")).to_contain_text(f"The robot's clock stepped {how}")
    expect(page.locator("#notice")).to_contain_text("at 0:04.0, frame 240.")
    expect(page.locator(".time")).to_contain_text("/ 0:07.983")
    for share in (0.25, 0.75):
        scrub(page, share)
        settle(page)
        assert frame_shown(page) == pytest.approx(share * 479, abs=3)
    assert abs(page.evaluate(READ, "front") / FPS - frame_shown(page) / 60) <= 1 / FPS


@pytest.mark.long
def test_it_shows_no_video_between_two_chunks(replay):
    session = film_session()
    upload(session, 0, 60)
    upload(session, 120, 120)
    page = replay(session, "?t=3")
    camera = page.locator("[data-camera=front]")
    expect(camera.get_by_text("No video at this time")).to_be_visible()
    expect(camera.locator("video:visible")).to_have_count(0)
    scrub(page, 0.75)
    settle(page)
    expect(camera.get_by_text("No video at this time")).to_be_hidden()
    assert abs(page.evaluate(READ, "front") / FPS - frame_shown(page) / 60) <= 1 / FPS
    assert page.locator(".lane.camera .piece").count() == 2


def test_it_plays_across_the_end_of_a_chunk(replay):
    session = film_session()
    upload(session, 0, 60)
    upload(session, 60, 180)
    page = replay(session, "?t=1.5")
    page.keyboard.press("Space")
    expect(page.locator(".frame")).to_have_text(re.compile(r"frame (1[5-9]\d|[2-4]\d\d)$"))
    page.keyboard.press("Space")
    settle(page)
    assert page.evaluate(READ, "front") >= 60


@pytest.mark.parametrize(
    "indexes, says",
    [([], "The session has no frames and no video."), ([7], "")],
)
@pytest.mark.long
def test_it_opens_a_session_with_no_frame_or_one(replay, indexes, says):
    page = replay(make_session(indexes, data=indexed))
    if says:
        expect(page.get_by_text(says)).to_be_visible()
    else:
        expect(page.locator(".frame")).to_have_text("frame 7")
        expect(page.locator(".joint .observation")).to_have_text("7.000")
    for key in (" ", ".", ",", "End", "+", "0"):
        page.keyboard.press(key)
    expect(page.locator(".cameras")).to_be_hidden()


@pytest.mark.long
def test_it_plays_a_session_with_video_only(replay):
    session = make_session()
    upload(session, 0, 60)
    page = replay(session, "?t=1")
    expect(page.get_by_text("no frames, only video")).to_be_visible()
    settle(page)
    assert page.evaluate(READ, "front") == 30


@pytest.mark.long
def test_it_shows_extreme_values(replay):
    huge = [1e30, -1e30, 1.7e308, -1.7e308, 0, 1e-300]
    page = replay(make_session(range(6), data=lambda index: {"observation": {"a.pos": huge[index], "b.pos": 1}}))
    for value in ("1.0e+30", "-1.0e+30", "1.7e+308", "-1.7e+308", "0.000", "1.0e-300"):
        expect(page.locator("[data-joint='a.pos'] .observation")).to_have_text(value)
        page.keyboard.press(".")


@pytest.mark.long
def test_it_shows_a_row_for_each_joint_of_a_changing_set(replay):
    session = make_session(range(300), data=lambda _: {"observation": {"left.pos": 1}})
    record(session, range(300, 600), lambda _: {"observation": {"right.pos": 2}, "note": "the arm was changed"})
    page = replay(session, "?t=1")
    expect(page.locator("[data-joint='left.pos'] .observation")).to_have_text("1.000")
    expect(page.locator("[data-joint='right.pos'] .observation")).to_have_text(NOTHING)
    scrub_to_end = page.locator(".track .area")
    scrub_to_end.click(position={"x": scrub_to_end.bounding_box()["width"] - 2, "y": 5})
    expect(page.locator("[data-joint='right.pos'] .observation")).to_have_text("2.000")
    expect(page.locator("[data-joint='left.pos'] .observation")).to_have_text(NOTHING)


@pytest.mark.long
def test_next_and_previous_keep_the_filter(replay):
    newest, _other, oldest = [
        film_session(frames=2, key=f"session-{n}", robot=robot) for n, robot in enumerate(["arm", "leg", "arm"])
    ][::-1]
    page = replay(newest, "?robot=arm&t=0.1")
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile(rf"/sessions/{oldest.pk}/replay\?robot=arm"))
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    page.keyboard.press("p")
    expect(page).to_have_url(re.compile(rf"/sessions/{newest.pk}/replay\?robot=arm"))


def test_it_returns_404_for_an_unknown_session(visit, viewer, console):
    console.expect("status of 404")
    page = visit("/sessions/4711/replay", viewer)
    expect(page.locator("#content")).to_contain_text("There is no session 4711")


def test_it_escapes_names_and_notes(replay):
    session = film_session(frames=2)
    Robot.objects.update(name="<script>alert(1)</script>")
    label(session, task="<img src=x onerror=alert(1)>", note="<b>bold</b>")
    page = replay(session)
    expect(page.get_by_role("link", name="<script>alert(1)</script>")).to_be_visible()
    expect(page.locator("[data-label=note]")).to_have_text("<b>bold</b>")


def test_it_loads_every_frame_of_a_zoomed_range(replay):
    page = replay(make_session(range(4500), data=indexed), "?t=30")

    def has_all(answer) -> bool:
        """Return whether the range has no more frames than a plot has points; slow keys ask for wider ranges too."""
        found = re.search(r"start=(\d+)&stop=(\d+)", answer.url)
        return found is not None and int(found[2]) - int(found[1]) <= 2000

    with page.expect_response(has_all) as answered:
        for _ in range(4):
            page.keyboard.press("+")
    (start, stop) = map(int, re.search(r"start=(\d+)&stop=(\d+)", answered.value.url).groups())
    assert answered.value.json()["series"][0]["values"] == list(range(start, stop))
    assert start < 1800 < stop < 4500
    expect(page.locator(".track .window")).to_be_visible()
    page.keyboard.press("0")
    expect(page.locator(".track .window")).to_be_hidden()


@pytest.mark.long
def test_question_mark_shows_the_keys(replay):
    page = replay(film_session(frames=2))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("play, pause")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()
