"""Events of robots on the replay, the live page and the admin's page of a session."""

import json
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Locator, Page, expect

from teleop.models import TeleopEvent, TeleopSession
from teleop.tests.recordings import T0_S, make_session
from tests.browser.users import BLANK
from tests.robot_socket import frame, register, robot_socket
from tests.services import wait_until

pytestmark = pytest.mark.postgresql  # once is enough
STEP = ("clock_step", 4, {"step_s": 3 * 86400})
RESTART = ("restart", 6, {"from_index": 812, "to_index": 1200, "rebooted": True})
DASH = "\N{EN DASH}"
SCRIPT = "<img src=x onerror=alert(1)>"
POLL_QUICKLY = """
const wait = setTimeout;
setTimeout = (run, ms, ...rest) => wait(run, ms === 5000 ? 100 : ms, ...rest);
"""


def report(session: TeleopSession, *events: tuple, start: float = T0_S) -> None:
    """Store events: (kind, seconds after `start`, detail)."""
    known = session.events.count()
    TeleopEvent.objects.bulk_create(
        TeleopEvent(
            session=session,
            event_id=str(number),
            kind=kind,
            timestamp=datetime.fromtimestamp(start + after_s, UTC),
            detail=detail,
        )
        for number, (kind, after_s, detail) in enumerate(events, known)
    )


def replay(visit, user, session: TeleopSession) -> Page:
    page = visit(f"/sessions/{session.pk}/replay", user)
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    return page


def rows(page: Page, kind: str) -> Locator:
    return page.locator(f".about .{kind} li > button")


def test_the_replay_shows_marks_of_the_robot_a_clock_step_and_a_restart(visit, curator):
    session = make_session(range(480))
    session.set_marks([{"timestamp": T0_S + 5, "note": "", "by": "ada"}])
    session.save_meta()
    report(session, ("mark", 2, {"note": "cube lifted"}), STEP, RESTART)
    page = replay(visit, curator, session)
    expect(rows(page, "marks")).to_have_text([f"0:02.0 cube lifted {DASH} arm", f"0:05.0 Marked {DASH} ada"])
    expect(rows(page, "events")).to_have_text(
        [
            "0:04.0 clock was 3 d behind until 09:00",
            "0:06.0 the robot's program restarted after a reboot; frames 812-1199 were not used",
        ]
    )
    for row, index in [(rows(page, "marks").first, 120), (rows(page, "events").last, 360)]:
        row.click()
        expect(page.locator(".frame")).to_have_text(f"frame {index}")


@pytest.mark.long
def test_a_click_on_a_flag_of_the_time_line_seeks_to_its_moment(visit, viewer):
    session = make_session(range(480))
    report(session, ("mark", 2, {"note": "cube lifted"}), STEP)
    page = replay(visit, viewer, session)
    flags = page.locator(".track .mark, .track .event")
    expect(flags).to_have_count(2)
    expect(page.locator(".track .mark")).to_have_attribute("title", f"cube lifted {DASH} arm")
    for flag, index in [(page.locator(".track .event"), 240), (page.locator(".track .mark"), 120)]:
        flag.click(force=True)  # the playhead is over it while it is moved
        expect(page.locator(".frame")).to_have_text(f"frame {index}")


@pytest.mark.long
def test_a_thousand_events_neither_flood_nor_slow_the_replay(visit, viewer):
    session = make_session(range(480))
    report(session, *(("camera", n / 125, {"camera": "front", "fault": "slow"}) for n in range(1000)))
    TeleopSession.objects.update(events_dropped=12)
    page = replay(visit, viewer, session)
    expect(rows(page, "events")).to_have_count(1000)
    assert page.locator(".about .events ul").bounding_box()["height"] < 150
    assert page.locator(".track .event").count() <= 401
    expect(page.locator(".track .event").first).to_have_attribute("title", "camera front: slow\ncamera front: slow")
    expect(page.get_by_text("12 more were not stored.")).to_be_visible()
    page.keyboard.press("End")
    expect(page.locator(".frame")).to_have_text("frame 479")


@pytest.mark.long
def test_the_replay_shows_values_of_the_wrong_type_as_text(visit, viewer):
    session = make_session(range(480))
    report(
        session,
        ("mark", 1, {"note": [SCRIPT]}),
        ("camera", 2, {"camera": SCRIPT, "fault": "frozen"}),
        ("clock_step", -3600, {"step_s": SCRIPT}),  # before the first frame
        ("restart", 86400, [SCRIPT]),
    )
    page = replay(visit, viewer, session)
    expect(rows(page, "marks")).to_have_text(f'0:01.0 ["{SCRIPT}"] {DASH} arm')
    expect(rows(page, "events")).to_have_text(
        [
            f'0:00.0 clock_step: {{"step_s":"{SCRIPT}"}}',
            f"0:02.0 camera {SCRIPT}: frozen",
            f'0:08.0 restart: ["{SCRIPT}"]',
        ]
    )
    assert page.locator(".about img").count() == 0


def test_the_live_page_shows_events_and_marks_that_the_robot_sends_meanwhile(visit, server, viewer):
    register("arm")
    with robot_socket(server) as robot:
        robot.send({"frames": [frame(index) for index in range(60)]})
        robot.receive_until_ack(59)
        session, now = TeleopSession.objects.get(), frame(59)["timestamp"]
        report(session, ("clock_step", 0, {"step_s": -7200}), start=now)
        page = visit(BLANK, viewer, is_new=True)
        page.add_init_script(POLL_QUICKLY)
        page.goto("/robots/arm/live")
        lines = page.locator("#events li")
        expect(lines).to_have_count(1)
        expect(lines).to_contain_text("clock was 2 h ahead until ")
        faults = [("camera", n, {"camera": "front", "fault": fault}) for n, fault in enumerate(["slow", "stopped"])]
        report(session, *faults, ("mark", 0, {"note": "slips"}), ("camera", -1, {"camera": 5}), start=now)
        expect(lines).to_have_count(3)
        expect(lines.first).to_contain_text("camera front: stopped")
        wait_until(lambda: page.evaluate("window.page.series().marks.length") == 1)
        shown = page.evaluate("window.page.series()")
    assert [(mark["note"], mark["by"]) for mark in shown["marks"]] == [("slips", "arm")]
    assert [event["kind"] for event in shown["events"]] == ["camera", "clock_step", "camera", "camera"]


@pytest.mark.long
def test_the_admin_shows_the_first_events_in_words_and_local_time(visit, viewer):
    session = make_session(range(3))
    page = visit(f"/admin/teleop/teleopsession/{session.pk}/change/", viewer)
    expect(page.locator("ul.events")).to_have_text("-")
    report(session, STEP, *(("camera", 5, {"camera": SCRIPT, "fault": "frozen"}) for _ in range(24)))
    page.reload()
    lines = page.locator("ul.events li")
    expect(lines).to_have_count(21)
    expect(lines.first).to_have_text("2023-12-23 09:00:04 clock was 3 d behind until 09:00")
    expect(lines.nth(1)).to_contain_text(f"camera {SCRIPT}: frozen")
    expect(lines.last).to_have_text("and 5 more; the replay shows all")


@pytest.fixture(scope="module")
def words(blank):
    """Return a function that puts an event into words."""
    module = 'import("/static/teleop/events.js")'
    call = f"async ([kind, detail]) => (await {module}).inWords({{ kind, detail, timestamp: {T0_S} }})"
    return lambda kind, detail: blank.evaluate(call, [kind, detail])


@pytest.mark.parametrize(
    "kind, detail, says",
    [
        ("clock_step", {"step_s": -7200}, "clock was 2 h ahead until 09:00"),
        ("clock_step", {"step_s": 365.25 * 86400}, "clock was 365 d behind until 09:00"),
        ("clock_step", {"step_s": 0.0512}, "clock was 0.0512 s behind until 09:00"),
        (
            "clock_step",
            {"step_s": 90, "applied": True},
            "clock was 1.5 min behind until 09:00; the timestamps are already right",
        ),
        ("restart", {"from_index": 7, "to_index": 7}, "the robot's program restarted"),
        ("restart", {"from_index": 7, "to_index": 8}, "the robot's program restarted; frame 7 was not used"),
        (
            "restart",
            {"from_index": 812, "to_index": 1200, "rebooted": False, "clock_step_s": -60},
            "the robot's program restarted; frames 812-1199 were not used; the timestamps jump back by 1 min",
        ),
        ("camera", {"camera": "front", "fault": "frozen", "since_s": 3}, "camera front: frozen"),
        ("mark", {"note": "slips"}, "marked slips"),
    ],
)
def test_it_puts_an_event_into_words(words, kind, detail, says):
    assert words(kind, detail) == says


@pytest.mark.parametrize(
    "kind, detail",
    [
        *(("clock_step", {"step_s": value}) for value in (None, "3", True, [3], 0, 1e300)),
        *(("clock_step", value) for value in (None, 5, "text", [], {})),
        *(("restart", {"from_index": value, "to_index": 9}) for value in (None, "3", 1.5, 10, [3])),
        *(("camera", {"camera": value, "fault": "slow"}) for value in (None, 5, {"a": 1})),
        ("mark", {"note": 5}),
        ("constructor", {"a": 1}),
    ],
)
def test_it_shows_a_detail_with_wrong_types_as_json(words, kind, detail):
    assert words(kind, detail) == f"{kind}: {json.dumps(detail, separators=(',', ':'))}"
