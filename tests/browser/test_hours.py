"""The page of hours: figures, bars and tables of the statistics, and its modules without a page."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
from tests.browser.users import cases

pytestmark = pytest.mark.postgresql  # once is enough
LATE = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)  # the next day in Berlin
NOTHING = "\N{EN DASH}"
NOVEMBER = "/hours?from=2026-11-01&to=2026-11-30"
DAYS = "const days = await import('/static/datasets/days.js');"


@pytest.fixture
def sessions(transactional_db) -> None:
    """Record two hours of folding by ada and half an hour of sorting, the last hour a day later."""
    for number, (task, success, hours, days) in enumerate(
        [("Fold", True, 1, 0), ("Sort", None, 0.5, 0), ("Fold", False, 1, 1)]
    ):
        start = LATE + timedelta(days=days)
        session = make_session(start=start, key=f"s-{number}", robot="leg" if days else "arm")
        meta = {"task": task, "success": success} | ({"operator": "ada"} if task == "Fold" else {})
        end = start + timedelta(hours=hours)
        TeleopSession.objects.filter(pk=session.pk).update(end_time=end, frame_count=9, meta_info=meta)


def rows(page: Page, table: str) -> list[str]:
    return [" ".join(row.split()) for row in page.locator(f"{table} tbody tr").all_inner_texts()]


def run(page: Page, code: str):
    return page.evaluate(f"(async () => {{ {DAYS} return {code}; }})()")


def test_it_shows_hours_episodes_and_success_by_day_and_task(visit, viewer, sessions):
    page = visit(NOVEMBER, viewer)
    expect(page.locator("#hours")).to_have_text("2.50")
    expect(page.locator("#episodes")).to_have_text("3")
    expect(page.locator("#success")).to_have_text("50 % 1 of 2")
    assert rows(page, "#groups") == ["Fold 2.00 2 50 % (1 of 2)", f"Sort 0.50 1 {NOTHING}"]
    first = ["2026-11-24 1.00 1 0 % (0 of 1)", "Fold 1.00 1 0 % (0 of 1)"]
    assert rows(page, "#days") == [
        *first,
        "2026-11-23 1.50 2 100 % (1 of 1)",
        "Fold 1.00 1 100 % (1 of 1)",
        f"Sort 0.50 1 {NOTHING}",
    ]
    bars = page.locator(".bars li")
    expect(bars).to_have_count(30)
    assert [bars.nth(day).locator("i").count() for day in (21, 22, 23)] == [0, 2, 1]


def test_a_group_narrows_the_page_and_the_address_keeps_it(visit, viewer, sessions):
    page = visit(NOVEMBER, viewer)
    page.get_by_title("Show only this task").filter(has_text="Sort").first.click()
    expect(page.locator("#episodes")).to_have_text("1")
    expect(page).to_have_url(re.compile(r"task=Sort&by=operator$"))
    page.reload()
    expect(page.get_by_label("Task", exact=True)).to_have_value("Sort")
    expect(page.get_by_label("By operator")).to_be_checked()
    expect(page.locator("#groups td").first).to_have_text("No operator")


@pytest.mark.long
def test_the_number_of_episodes_opens_the_list_of_these_sessions(visit, viewer, sessions):
    page = visit(f"{NOVEMBER}&by=robot", viewer)
    page.locator("#days .day").filter(has_text="2026-11-23").get_by_role("link").click()
    expect(page.locator("#sessions .session")).to_have_count(2)


@pytest.mark.long
def test_a_range_is_chosen_and_an_empty_one_says_so(visit, viewer, sessions):
    page = visit("/hours?from=2001-01-01&to=2001-01-02", viewer)
    expect(page.locator("#nothing")).to_be_visible()
    page.get_by_text("All", exact=True).click()
    expect(page.locator("#episodes")).to_have_text("3")
    expect(page).to_have_url(re.compile(r"\?by=task&all=$"))


@pytest.mark.long
def test_it_shows_why_the_server_refuses(visit, viewer, sessions, console):
    console.expect("status of 400")
    notice = visit("/hours?from=2026-11-30&to=2026-11-01", viewer).locator("#notice")
    expect(notice).to_contain_text("to is 2026-11-01; from (2026-11-30) or a later day expected")


@pytest.mark.parametrize("scheme", cases("dark", "light"))
@pytest.mark.long
def test_it_fits_a_phone(visit, viewer, sessions, scheme):
    page = visit(NOVEMBER, viewer, viewport={"width": 390, "height": 800}, color_scheme=scheme)
    expect(page.locator("#days tbody tr")).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_bars_of_a_long_range_are_weeks_or_months(blank):
    starts = "days.bars([], '{}', '{}')"
    short, weeks, months = (
        run(blank, starts.format("2026-01-01", last)) for last in ("2026-01-31", "2026-12-31", "2027-06-30")
    )
    assert (short["unit"], len(short["bars"])) == ("day", 31)
    assert (weeks["unit"], weeks["bars"][0]["start"], len(weeks["bars"])) == ("week", "2025-12-29", 53)
    assert (months["unit"], months["bars"][-1]["start"], len(months["bars"])) == ("month", "2027-06-01", 18)


@pytest.mark.parametrize(
    "most, step, top", [(3.7, 1, 4), (0, 0.5, 1), (13.4, 5, 15), (200, 50, 200), (0.03, 0.01, 0.03)]
)
def test_the_scale_has_round_steps(blank, most, step, top):
    scale = run(blank, f"days.scaleTo({most})")
    assert (scale["step"], scale["top"]) == pytest.approx((step, top))
