"""Review: find sessions by facets, words and saved filters, label, tag and delete them with the keyboard, and undo."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from robots.models import Robot
from teleop.models import SavedFilter, TaskRange, TeleopSession
from teleop.tests.recordings import record
from tests.browser.users import cases, staff
from tests.services import wait_until

pytestmark = pytest.mark.postgresql  # once is enough
BERLIN = ZoneInfo("Europe/Berlin")  # of the browser
PHONE = {"width": 390, "height": 844}
HOSTILE = "<script>alert(1)</script>"


def noon(days_ago: int) -> datetime:
    """Return noon of a day in the browser's time zone."""
    return (datetime.now(BERLIN) - timedelta(days=days_ago)).replace(hour=12, minute=0, second=0, microsecond=0)


def session(number: int, days_ago=0, robot="arm", seconds=30, **meta) -> TeleopSession:
    """Store a session without frames; of one day, a higher number is older."""
    Robot.objects.get_or_create(pk=robot)
    start = noon(days_ago) - timedelta(minutes=number)
    end = start + timedelta(seconds=seconds)
    return TeleopSession.objects.create(robot_id=robot, key=f"{number}", start_time=start, end_time=end, meta_info=meta)


def six() -> list[TeleopSession]:
    """Store two sessions of today and four of yesterday, the newest first."""
    return [
        session(1, task="Fold the towel", success=True, operator="ada", tags=["towel"]),
        session(2, task="Sort the screws"),
        session(3, 1, task="Fold the towel", success=False, tags=["towel", "slow"], note="Dropped it."),
        session(4, 1, task="Sort the screws", success=False, robot="arm_2"),
        session(5, 1, task="Fold the towel", success=False, operator="grace"),
        session(6, 1, task="Fold the towel", success=True),
    ]


@pytest.fixture
def review(visit, curator) -> Callable[..., Page]:
    def review(query="", user=None, **options) -> Page:
        page = visit(f"/review{query}", user or curator, **options)
        expect(page.locator("#facets")).to_contain_text("No label")
        expect(page.locator("#sessions")).not_to_have_attribute("aria-busy", "true")
        return page

    return review


def shown(page: Page) -> list[int]:
    return [int(row.get_attribute("data-session")) for row in page.locator(".session").all()]


def expect_rows(page: Page, sessions: list[TeleopSession]) -> None:
    expect(page.locator(".session")).to_have_count(len(sessions))
    assert shown(page) == [each.pk for each in sessions]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def row(page: Page, which: TeleopSession):
    return page.locator(f"[data-session='{which.pk}']")


def facet(page: Page, name: str):
    return page.locator("#facets").get_by_role("button", name=re.compile(rf"^{re.escape(name)}\b"))


def stored_label(which: TeleopSession):
    return TeleopSession.objects.get(pk=which.pk).labels["success"]


def stored(sessions: list[TeleopSession]) -> list[dict]:
    found = TeleopSession.objects.in_bulk()
    return [found[each.pk].meta_info for each in sessions]


def log_in(page: Page) -> None:
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("secret of admin")
    page.get_by_role("button", name="Log in").click()


def expect_playing(page: Page, which: TeleopSession) -> None:
    expect(page).to_have_url(re.compile(rf"/sessions/{which.pk}/replay\?"))
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    press(page, "Space")
    expect(page.locator(".replay")).to_have_attribute("data-state", "playing")


def test_yesterdays_failures_of_a_task_take_five_clicks_from_the_login_to_the_first_one_playing(visit, admin):
    sessions = six()
    record(sessions[2], range(120))
    page = visit("/")
    log_in(page)
    expect(page).to_have_url(re.compile("/review$"))
    facet(page, "Yesterday").click()  # 1
    facet(page, "Failure").click()  # 2
    facet(page, "Fold the towel").click()  # 3
    expect_rows(page, [sessions[2], sessions[4]])
    press(page, "o")  # 4
    expect_playing(page, sessions[2])  # 5


def test_a_saved_filter_makes_it_three(visit, admin):
    sessions = six()
    record(sessions[2], range(120))
    query = "task=Fold+the+towel&success=false&days=yesterday"
    SavedFilter.objects.create(user=admin, name="Failures", query=query)
    page = visit("/admin/login/")
    log_in(page)
    page.get_by_role("button", name="Failures").click()  # 1
    expect_rows(page, [sessions[2], sessions[4]])
    press(page, "o")  # 2
    expect_playing(page, sessions[2])  # 3


def test_it_counts_the_values_and_the_address_holds_what_is_chosen(review):
    sessions = six()
    page = review()
    expect(page.locator("#total")).to_have_text("6 sessions")
    expect(page.locator(".day")).to_have_text(["Today", "Yesterday"])
    expect(page.locator("[data-facet=task] .value")).to_have_text(["Fold the towel4", "Sort the screws2"])
    expect(page.locator("[data-facet=success] .value")).to_have_text(["Success2", "Failure3", "No label1"])
    expect(page.locator("[data-facet=tag] .value")).to_have_text(["towel2", "slow1"])
    facet(page, "Sort the screws").click()
    facet(page, "No label").click()
    expect_rows(page, [sessions[1]])
    expect(page).to_have_url(re.compile(r"\?task=Sort\+the\+screws&unlabelled=true$"))
    expect(page.locator("[data-facet=task] .value").first).to_have_text("Sort the screws1")
    page.go_back()
    expect_rows(page, [sessions[1], sessions[3]])
    expect(facet(page, "No label")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Task: Sort the screws").click()
    expect_rows(page, sessions)


@pytest.mark.long
def test_it_finds_parts_of_words_and_says_if_there_are_none(review):
    sessions = six()
    page = review()
    press(page, "/")
    page.keyboard.type("SCREW")
    expect_rows(page, [sessions[1], sessions[3]])
    press(page, "Enter")
    expect(row(page, sessions[1])).to_have_attribute("aria-current", "true")
    expect(page).to_have_url(re.compile(r"\?search=SCREW$"))
    page.get_by_label("Search", exact=True).fill("zebra")
    expect(page.locator("#nothing")).to_contain_text("No session matches these filters.")
    page.get_by_role("button", name="Clear all filters").click()
    expect_rows(page, sessions)


def test_keys_label_tag_and_undo(review):
    first, second, *_ = six()
    page = review()
    press(page, "j", "j", "f")
    expect(page.locator("#toast")).to_contain_text(f"Session {second.pk}: Failure")
    expect(row(page, second).get_by_role("button", name="Failure")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-facet=success] .value")).to_have_text(["Success2", "Failure4", "No label0"])
    press(page, "k", "t")
    page.keyboard.type("again, slow")
    page.locator("#tagging").get_by_role("button", name="towel").click()
    page.locator("#tagging").get_by_label("Add tags").press("Enter")
    expect(row(page, first).locator(".tag")).to_have_text(["again", "slow"])
    press(page, "u")
    expect(page.locator("#toast")).to_contain_text("Undone")
    expect(row(page, first).locator(".tag")).to_have_text(["towel"])
    page.locator("#toast").get_by_role("button", name="Close").click()
    press(page, "u")
    expect(row(page, second)).to_have_attribute("data-label", "null")
    wait_until(lambda: stored_label(second) is None)
    assert stored_label(first) is True


@pytest.mark.long
def test_keys_work_by_their_position(review):
    sessions = six()
    page = review()
    for code, key in (("KeyJ", "ㅓ"), ("KeyS", "ㄴ")):  # Korean
        page.evaluate("(init) => document.body.dispatchEvent(new KeyboardEvent('keydown', init))",
                      {"code": code, "key": key, "bubbles": True})  # fmt: skip
    expect(page.locator("#toast")).to_contain_text(f"Session {sessions[0].pk}: Success already")


def test_it_neither_overwrites_nor_undoes_over_a_label_of_someone_else(review):
    _, second, *_ = six()
    page = review()
    TeleopSession.objects.filter(pk=second.pk).update(meta_info={"task": "Sort the screws", "success": True})
    press(page, "j", "j", "f")
    expect(page.locator("#toast")).to_contain_text("someone else has changed success")
    expect(row(page, second)).to_have_attribute("data-label", "true")
    press(page, "f")
    expect(page.locator("#toast")).to_have_text(re.compile(f"^Session {second.pk}: Failure"))
    TeleopSession.objects.filter(pk=second.pk).update(meta_info={"success": True})
    press(page, "u")
    expect(page.locator("#toast")).to_contain_text("someone else has changed success")
    assert stored_label(second) is True


@pytest.mark.long
def test_it_shows_no_label_that_is_not_saved_and_no_session_that_is_deleted(review, console):
    console.expect("ERR_FAILED")
    first, second, *others = six()
    page = review()
    page.route("**/sessions/bulk", lambda route: route.abort())
    press(page, "j", "f")
    expect(page.locator("#toast")).to_have_text(re.compile("Nothing was changed: the server does not answer"))
    expect(row(page, first)).to_have_attribute("data-label", "true")
    page.unroute("**/sessions/bulk")
    TeleopSession.objects.filter(pk=second.pk).delete()
    press(page, "j", "s")
    expect(page.locator("#toast")).to_contain_text(f"there is no session {second.pk}; it may have been deleted")
    expect_rows(page, [first, *others])


def test_it_labels_many_sessions_and_undoes_each_to_its_own_label(review):
    sessions = six()
    before = [stored_label(each) for each in sessions]
    page = review()
    press(page, "j", "x", "j", "j", "j", "Shift+X")
    expect(page.locator("#selected")).to_have_text("4 selected")
    page.locator("#bulk").get_by_role("button", name="Success").click()
    expect(page.locator("#toast")).to_contain_text("4 sessions: Success")
    assert [stored_label(each) for each in sessions] == [True] * 4 + before[4:]
    page.locator("#toast").get_by_role("button", name="Undo").click()
    expect(page.locator("#toast")).to_contain_text("Undone: 4 sessions")
    assert [stored_label(each) for each in sessions] == before
    press(page, "a")
    expect(page.locator("#selected")).to_have_text("6 selected")
    press(page, "Escape")
    expect(page.locator("#bulk")).to_be_hidden()


def test_it_sets_task_and_operator_and_undoes_each_to_its_own(review):
    sessions = six()
    before = [each.meta_info for each in sessions]
    page = review()
    press(page, "a", "l")
    task, operator = (page.locator("#labelling").get_by_label(name) for name in ("Task", "Operator"))
    expect(task).to_have_attribute("placeholder", "They differ, and stay as they are")
    operator.fill(" kim ")
    operator.press("Enter")
    expect(page.locator("#toast")).to_contain_text("6 sessions: operator “kim”")
    expect(page.locator("[data-facet=operator] .value")).to_have_text(["kim6"])
    assert stored(sessions) == [labels | {"operator": "kim"} for labels in before]
    press(page, "Escape", "j", "l")  # the first session only
    expect(task).to_have_value("Fold the towel")
    task.fill("")
    operator.fill("ada")
    operator.press("Enter")
    expect(row(page, sessions[0]).locator(".task")).to_have_text("No task")
    wait_until(lambda: stored(sessions)[0] == {"success": True, "operator": "ada", "tags": ["towel"]})
    press(page, "u", "u")
    wait_until(lambda: stored(sessions) == before)
    expect(page.locator("#toast")).to_contain_text("Undone: 6 sessions")


@pytest.mark.long
def test_it_undoes_what_was_done_before_a_failure(review, console):
    console.expect("ERR_FAILED")
    sessions = six()
    before = stored(sessions)
    page = review()
    page.route(
        "**/sessions/bulk", lambda route: route.abort() if "false" in route.request.post_data else route.continue_()
    )
    press(page, "a", "c")  # first those with success, then those with failure
    expect(page.locator("#toast")).to_contain_text("6 sessions: No label. Not changed: the server does not answer")
    assert [each.get("success") for each in stored(sessions)] == [None, None, False, False, False, None]
    page.unroute("**/sessions/bulk")
    press(page, "u")
    wait_until(lambda: stored(sessions) == before)


def test_deleting_goes_on_to_the_next_session_and_can_be_undone(review):
    sessions = six()
    live = session(0, task="Fold the towel")
    TeleopSession.objects.filter(pk=live.pk).update(end_time=None)
    page = review()
    press(page, "j", "j", "#")
    expect_rows(page, [live, *sessions[1:]])
    expect(row(page, sessions[1])).to_have_attribute("aria-current", "true")
    expect(page.locator("#toast")).to_contain_text("moved to the trash")
    press(page, "u")
    expect_rows(page, [live, *sessions])
    press(page, "a", "Delete")
    expect(page.locator("#toast")).to_contain_text(f"session {live.pk} is live; end it first")
    expect_rows(page, [live])
    page.get_by_role("button", name="Trash").click()
    expect_rows(page, sessions)
    press(page, "j", "#")
    expect(page.locator("#toast")).to_contain_text("restored")
    expect_rows(page, sessions[1:])
    assert TeleopSession.objects.not_trashed().count() == 2


def test_it_saves_renames_and_deletes_filters(review, curator):
    six()
    page = review("?success=false&days=yesterday")
    page.get_by_role("button", name="Save filter…").click()
    expect(page.get_by_label("Name")).to_have_value("Failure, Yesterday")
    page.get_by_label("Name").fill("Failures")
    press(page, "Enter")
    expect(page.get_by_role("button", name="Failures")).to_have_attribute("aria-pressed", "true")
    assert SavedFilter.objects.get(user=curator).query == "success=false&days=yesterday"
    page.get_by_role("button", name="Edit…").click()
    page.get_by_label("Name").fill(HOSTILE)
    press(page, "Enter")
    chip = page.get_by_role("button", name=HOSTILE)
    expect(chip).to_be_visible()
    page.get_by_role("button", name="Clear all").click()
    press(page, "1")
    expect(page.locator("#total")).to_have_text("3 sessions")
    page.get_by_role("button", name="Edit…").click()
    page.get_by_role("button", name="Delete filter").click()
    expect(chip).to_have_count(0)
    page.locator("#toast").get_by_role("button", name="Undo").click()
    expect(chip).to_be_visible()


@pytest.mark.long
def test_it_reads_more_sessions_and_comes_back_to_the_one_that_was_opened(review):
    sessions = [session(number, task=f"Task {number}") for number in range(120)]
    page = review("?ordering=oldest")
    for count in (100, 120):
        page.locator(".session").last.scroll_into_view_if_needed()
        expect(page.locator(".session")).to_have_count(count)
    opened = sessions[20]
    page.get_by_role("link", name=f"Task 20, session {opened.pk}").click()
    expect(page).to_have_url(re.compile(r"replay\?ordering=oldest$"))
    page.go_back()
    expect(row(page, opened)).to_have_attribute("aria-current", "true")
    expect(row(page, opened)).to_be_in_viewport()
    page.goto(f"/review?ordering=oldest#session-{sessions[40].pk}")
    expect(row(page, sessions[40])).to_be_in_viewport()
    assert len(shown(page)) < 120


@pytest.mark.long
def test_it_shows_that_a_session_has_ended_and_that_there_is_a_new_one(review):
    live = session(1, task="Fold the towel")
    TeleopSession.objects.filter(pk=live.pk).update(end_time=None)
    page = review(is_timed=True)
    expect(row(page, live).locator(".length")).to_have_text("live")
    TeleopSession.objects.filter(pk=live.pk).update(end_time=live.end_time)
    page.clock.fast_forward(15_000)
    expect(row(page, live).locator(".length")).to_have_text("0:30")
    new = session(0, task="Fold the towel")
    page.clock.fast_forward(15_000)
    page.get_by_role("button", name="Show new sessions").click()
    expect_rows(page, [new, live])


def test_it_exports_the_selected_sessions_or_the_filters(review, console):
    console.expect("status of 400")  # these sessions have no frames to export
    sessions = six()
    page = review("?days=yesterday&success=false&ordering=oldest")
    link = page.get_by_role("link", name="Export…").get_attribute("href")
    assert re.fullmatch(r"/exports/new\?success=false&from=.*T2[23]%3A00.*&to=.*", link)
    press(page, "j", "x", "j", "x", "e")
    expect(page).to_have_url(re.compile(f"/exports/new\\?sessions={sessions[4].pk},{sessions[3].pk}$"))


@pytest.mark.long
def test_it_judges_the_quality_by_the_usual_range_of_the_task(review):
    good, bad = session(1, task="Fold", seconds=20), session(2, task="Fold", seconds=20)
    ranges = {"jerk": [200, 900], "duration_s": [10, 30]}
    TaskRange.objects.update_or_create(task="Fold", defaults={"ranges": ranges, "changes": 1, "computed": 1})
    for which, jerk in ((good, 500), (bad, 1200)):
        quality = {"jerk": jerk, "duration_s": 20, "idle_share": None, "fps_jitter": None, "missing_frames": 0}
        quality |= {"duration_ratio": None}
        TeleopSession.objects.filter(pk=which.pk).update(quality=quality, sparkline=bytes(range(0, 250, 10)))
    page = review()
    expect(row(page, good).locator(".quality")).to_have_text("Usual")
    expect(row(page, bad).locator(".quality")).to_have_text("Unusualhigh jerk")
    expect(row(page, bad).locator(".spark path")).to_have_count(2)


def test_a_viewer_sees_labels_and_cannot_change_them(review, viewer):
    sessions = six()
    page = review(user=viewer)
    press(page, "j", "s", "#", "t")
    expect(row(page, sessions[0]).locator(".word")).to_have_text("Success")
    expect(row(page, sessions[1]).locator(".word")).to_have_text("No label")
    expect(page.locator(".session button")).to_have_count(0)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#toast.shown")).to_have_count(0)
    assert stored_label(sessions[0]) is True and TeleopSession.objects.not_trashed().count() == 6


def test_it_returns_403_without_permission(visit, console):
    console.expect("status of 403")
    page = visit("/review", staff("outsider"))
    expect(page.get_by_role("heading")).to_have_text("Permission denied")


@pytest.mark.long
def test_it_says_which_filter_is_wrong(visit, curator, console):
    console.expect("status of 400")
    six()
    page = visit("/review?succes=true", curator)
    expect(page.locator("#notice")).to_contain_text("succes")
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.locator(".session")).to_have_count(6)


@pytest.mark.parametrize("viewport", cases(PHONE, {"width": 820, "height": 1180}, {"width": 1920, "height": 1080}))
@pytest.mark.parametrize("scheme", cases("light", "dark"))
def test_long_and_hostile_texts_fit_a_phone(review, viewport, scheme):
    session(1, task="x" * 10_000, tags=["y" * 100] * 5, operator=HOSTILE, note="z" * 9000)
    hostile = session(2, task=HOSTILE, tags=[HOSTILE, "وسم", "🤖"], robot="a" * 64)
    page = review(viewport=viewport, color_scheme=scheme)
    expect(row(page, hostile).locator(".task")).to_have_text(HOSTILE)
    expect(row(page, hostile).locator(".tag")).to_have_text([HOSTILE, "وسم", "🤖"])
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


@pytest.mark.long
def test_a_phone_filters_in_a_sheet(review):
    sessions = six()
    page = review(viewport=PHONE)
    expect(page.locator("#facets")).to_be_hidden()
    page.get_by_role("button", name="Filters", exact=False).first.click()
    facet(page, "Failure").click()
    page.get_by_role("button", name="Show 3 sessions").click()
    expect(page.locator("#facets")).to_be_hidden()
    expect_rows(page, sessions[2:5])
    row(page, sessions[2]).get_by_role("button", name="Success").click()
    expect(row(page, sessions[2])).to_have_attribute("data-label", "true")


@pytest.mark.parametrize(
    "expression, expected",
    {
        # Berlin changes its clocks on 2026-10-25: the day has 25 hours.
        "String(query.restQuery(new URLSearchParams('days=today'), new Date('2026-10-25T12:00Z')))": (
            "from=2026-10-24T22%3A00%3A00.000Z&to=2026-10-25T23%3A00%3A00.000Z"
        ),
        "String(query.pageQuery('from=2026-11-25T23:00:00Z&task=a&to=2026-11-26T23:00:00Z&tag=', now))": (
            "task=a&days=yesterday"
        ),
        "String(query.pageQuery('days=yesterday&from=2026-01-01', now))": "days=yesterday",
        "String(query.replayQuery(new URLSearchParams('task=a'), now))": "task=a",
        "String(query.changed(new URLSearchParams('success=true&days=7'), 'unlabelled', 'true'))": (
            "days=7&unlabelled=true"
        ),
        "String(query.exportQuery(new URLSearchParams('trash=true&ordering=oldest&tag=a')))": "tag=a",
        "query.inWords('to', '2026-11-26T23:00:00Z')": "Until Nov 26, 2026",
        "query.inWords('robot', 'arm', new Map([['arm', 'Left bench']]))": "Robot: Left bench",
        "query.dateOf(query.momentOf('2026-10-25', 1), -1)": "2026-10-25",
        "row.dayInWords(new Date('2026-11-26T22:59:00Z'), now)": "Yesterday",
        "row.length(3725.4)": "1:02:05",
    }.items(),
)
def test_days_are_those_of_the_browser(blank, expression, expected):
    modules = "Promise.all(['query', 'row'].map((name) => import(`/static/teleop/review${name}.js`)))"
    names = f"const [query, row] = await {modules}; const now = new Date('2026-11-27T10:00Z')"
    assert blank.evaluate(f"async () => {{ {names}; return {expression}; }}") == expected
