"""The pages of exports: an estimate first, then the export, its progress and its files; and the list."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from datasets.models import Export
from datasets.options import Options
from teleop.models import Job, TeleopSession
from teleop.tests.recordings import make_session
from tests.browser.users import cases

pytestmark = pytest.mark.postgresql  # once is enough
SESSIONS = "/admin/teleop/teleopsession/"
ESTIMATE = {"sessions": 60, "episodes": 60, "hours": 1.5125, "frames": 326_700, "bytes": 1_480_113_000}
PHONE = {"width": 390, "height": 800}
WORDS = "const words = await import('/static/datasets/words.js');"


def recorded(task="Fold the towel") -> TeleopSession:
    session = make_session(range(60))
    end = session.start_time + timedelta(hours=1)
    TeleopSession.objects.filter(pk=session.pk).update(frame_count=60, end_time=end, meta_info={"task": task})
    return session


def exported(name="towels", state="done", **fields) -> Export:
    defaults = {
        "format": "lerobot-v3.0",
        "options": Options(fps=30, validation=0.1, cameras=()).to_json(),
        "where": "task=Fold+the+towel&success=true",
        "session_count": 60,
        "estimate": ESTIMATE,
        "created_by": "ada",
    }
    done = {"episodes": 63, "seconds": 5400, "size_bytes": 1_312_480_113} if state == "done" else {}
    return Export.objects.create(name=name, state=state, **defaults | done | fields)


def facts(page: Page, selector: str) -> dict[str, str]:
    names, values = (page.locator(f"{selector} {kind}").all_inner_texts() for kind in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def run(page: Page, code: str):
    return page.evaluate(f"(async () => {{ {WORDS} return {code}; }})()")


def test_it_estimates_an_export_of_filters_and_then_creates_it(visit, curator):
    recorded(), recorded(), recorded("Sort")
    page = visit("/exports/new?task=Fold+the+towel", curator)
    expect(page.locator("#selection")).to_have_text("task: Fold the towel")
    expect(page.locator("#sessions")).to_have_text("2")
    expect(page.locator("#hours")).to_have_text("2.00")
    expect(page.locator("#size")).to_have_text(re.compile(r"^[\d.]+ kB$"))
    assert not Export.objects.exists()
    expect(page.get_by_label("Name")).to_have_value(re.compile(r"^fold-the-towel-\d{4}-\d\d-\d\d$"))
    page.get_by_label("Name").fill("towels_1")
    page.get_by_text("Options").click()
    page.get_by_label("Rows a second").fill("30")
    page.get_by_label("Cameras", exact=True).fill("none")
    page.get_by_label("Validation").fill("10")
    page.get_by_role("button", name="Create export").click()
    expect(page).to_have_url(re.compile(r"/exports/\d+/view$"))
    expect(page.get_by_role("heading", name="towels_1")).to_be_visible()
    expect(page.locator("#working")).to_have_text("Waiting for the background work")
    export = Export.objects.get()
    assert (export.session_count, export.created_by) == (2, "curator")
    assert export.options == Options(fps=30, cameras=(), validation=0.1).to_json()


def test_it_shows_why_an_export_is_refused(visit, curator, console):
    console.expect("status of 4(00|09)")
    session = recorded()
    exported("taken")
    page = visit("/exports/new?sessions=999", curator)
    expect(page.get_by_role("alert")).to_have_text("Sessions: there is no session 999")
    expect(page.get_by_role("button", name="Create export")).to_be_disabled()
    page.goto(f"/exports/new?sessions={session.pk}")
    expect(page.locator("#selection")).to_have_text(f"session {session.pk}")
    page.get_by_label("Name").fill("taken")
    page.evaluate("document.querySelector('#size').textContent = '?'")
    page.get_by_role("button", name="Create export").click()
    expect(page.locator("#size")).not_to_have_text("?")  # the estimate comes 0.4 s after the name
    expect(page.get_by_role("alert")).to_contain_text("there is an export with the name taken")
    expect(page).to_have_url(re.compile("/exports/new"))


@pytest.mark.long
def test_the_list_of_sessions_exports_the_chosen_ones(visit, curator):
    session, _ = recorded(), recorded()
    page = visit(SESSIONS, curator)
    page.locator(f"[name=_selected_action][value='{session.pk}']").check()
    page.locator("[name=action]").select_option("Export…")
    page.get_by_role("button", name="Go").click()
    expect(page).to_have_url(re.compile(rf"/exports/new\?sessions={session.pk}$"))
    expect(page.locator("#sessions")).to_have_text("1")


def test_it_follows_an_export_until_its_files_are_there(visit, viewer):
    export = exported(state="pending")
    job = Job.objects.create(kind="export", object_id=export.pk, holder="worker", progress=0.43)
    page = visit(f"/exports/{export.pk}/view", viewer)
    expect(page.locator("#working")).to_have_text("Being made and verified: 43 %")
    expect(page.locator("#files")).to_be_hidden()
    job.delete()
    Export.objects.update(state="done", episodes=63, seconds=5400, size_bytes=1_312_480_113)
    expect(page.get_by_role("link", name="Download (tar, 1.31 GB)")).to_have_attribute(
        "href", f"/exports/{export.pk}/content"
    )
    expect(page.get_by_role("link", name="Report", exact=True)).to_have_attribute(
        "href", f"/exports/{export.pk}/report.html"
    )
    expect(page.locator("#work")).to_be_hidden()
    expected = {"Sessions": "60 (task: Fold the towel, success: true)", "Episodes": "63", "Hours": "1.50"}
    assert facts(page, "#facts").items() >= expected.items()
    options = {"fps": "30", "max gap": "0.25 s", "cameras": "none", "validation": "10 % of the sessions"}
    assert facts(page, "#options").items() >= options.items()
    expect(page.get_by_role("link", name="Delete…")).to_have_count(0)


@pytest.mark.long
def test_it_shows_why_an_export_failed_and_offers_another_one(visit, curator):
    export = exported(state="failed", error="session 18 was resumed since the export was created")
    page = visit(f"/exports/{export.pk}/view", curator)
    expect(page.locator("#notice")).to_have_text(export.error)
    again = page.get_by_role("link", name="Export again…")
    expect(again).to_have_attribute("href", "/exports/new?task=Fold+the+towel&success=true")
    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("button", name="Yes, I").click()
    expect(page).to_have_url(re.compile("/admin/"))
    assert not Export.objects.exists()


@pytest.mark.long
def test_the_list_shows_exports_and_follows_their_progress(visit, viewer):
    waiting = exported("screws", "pending")
    done = exported()
    page = visit("/exports/list", viewer)
    expect(page.locator("tbody tr")).to_contain_text(["towels", "screws"])
    expect(page.locator("tbody .status")).to_have_text(["done", "pending"])
    expect(page.get_by_role("link", name="Download")).to_have_attribute("href", f"/exports/{done.pk}/content")
    page.get_by_label("Search").fill("scr")
    expect(page.locator("tbody tr")).to_have_count(1)
    Job.objects.create(kind="export", object_id=waiting.pk, holder="worker", progress=0.5)
    expect(page.locator("tbody .status")).to_have_text(["running 50 %"])
    page.get_by_text("Failed", exact=True).click()
    expect(page.locator("#nothing")).to_have_text("No export matches.")


@pytest.mark.parametrize("scheme", cases("light", "dark"))
@pytest.mark.long
def test_they_fit_a_phone(visit, curator, scheme):
    recorded()
    name = "all-robots-of-the-kitchen-2026-10-with-a-long-name"
    export = exported(name, "failed", error=f"the folder {'x' * 100} is missing")
    page = visit("/exports/list", curator, viewport=PHONE, color_scheme=scheme)
    expect(page.locator("tbody tr")).to_have_count(1)
    for path in ("/exports/list", f"/exports/{export.pk}/view", "/exports/new?task=Fold+the+towel"):
        page.goto(path)
        expect(page.locator("tbody tr, #facts dd, #selection b").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path


def test_sizes_and_names_are_short(blank):
    assert run(blank, "[0, 999, 1000, 63800, 1312480113, 1e18].map(words.size)") == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "63.8 kB",
        "1.31 GB",
        "1,000 PB",
    ]
    names = {
        "task=Fold+the+towel!": "fold-the-towel-1",
        "task=折る": "sessions-1",
        "robot=robot_A.2": "robot_a.2-1",
        "": "sessions-1",
    }
    for query, name in names.items():
        assert run(blank, f"words.suggestedName(new URLSearchParams('{query}'), [], '1')") == name
    assert run(blank, "words.suggestedName(new URLSearchParams(), [17], '1')") == "session-17-1"
