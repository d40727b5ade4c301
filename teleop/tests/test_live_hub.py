"""The state that one process keeps for watching pages, and the answers to them."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from robots.models import Robot
from teleop.ingest.live_tap import RobotSnapshot
from teleop.live import hub as hub_module
from teleop.live import roster
from teleop.live.hub import MAX_FRAMES_BYTES, STALE_S, FleetWatch, Hub
from teleop.servo import DEFAULT_LIMITS
from teleop.tests.fakes import ChannelLayer


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def entry(robot_id, session_id=17, **fields):
    return roster.entry(Robot(pk=robot_id, status="online", **fields), session_id, 40, 60, "Fold the towel")


def report(robot_id="arm", frames=(), numbered=None, session_id=17, holder="worker.1") -> RobotSnapshot:
    state = b'"session_id":%d,"rate_hz":60.0,"ack_lag_ms":20.0,"frame_count":99' % session_id
    texts = [b'[%d,1703318400.0,{"observation":{}}]' % index for index in frames]
    numbered = max(frames, default=-1) + 1 if numbered is None else numbered
    return RobotSnapshot(robot_id, session_id, holder, numbered, state, b"[0.5]", texts)


class Heard:
    """A hub without running tasks: the test provides the reports and database rows that it receives."""

    def __init__(self, monkeypatch):
        self.clock = Clock()
        self.hub = Hub(self.clock)
        monkeypatch.setattr(self.hub, "_join", self.hub._watched.set)
        monkeypatch.setattr(self.hub.previews, "_join", lambda: None)

    def hears(self, *reports):
        self.hub.on_message({"type": "live", "robots": [list(report) for report in reports]})

    def watch(self, robot_id="arm"):
        return self.hub.watch_robot(robot_id, entry(robot_id))

    def has_read(self, *robot_ids):
        self.hub.take_roster({robot_id: entry(robot_id) for robot_id in robot_ids}, is_fleet=True)


@pytest.fixture
def heard(monkeypatch):
    return Heard(monkeypatch)


def answer(watch):
    return json.loads(watch.answer())


def indexes(watch):
    return [index for index, _, _ in answer(watch)["frames"]]


def test_a_page_receives_the_reports_since_its_last_answer(heard):
    watch = heard.watch()
    heard.hears(report(frames=(0, 1)))
    assert answer(watch) == {
        "type": "live",
        "robot_id": "arm",
        "status": "online",
        "task": "Fold the towel",
        "fps": 60,
        "limits": {kind: [*limit] for kind, limit in DEFAULT_LIMITS.items()},
        "limits_ignored": [],
        "session_id": 17,
        "rate_hz": 60.0,
        "ack_lag_ms": 20.0,
        "frame_count": 99,
        "missed": 0,
        "frames": [[0, 1703318400.0, {"observation": {}}], [1, 1703318400.0, {"observation": {}}]],
    }
    heard.hears(report(frames=(2,)))
    assert (indexes(watch), indexes(watch)) == ([2], [])


def test_each_page_has_its_own_position(heard):
    one = heard.watch()
    heard.hears(report(frames=(0,)))
    other = heard.watch()
    heard.hears(report(frames=(1,)))
    assert (indexes(one), indexes(other)) == ([0, 1], [1])


def test_a_report_notifies_only_the_pages_that_show_its_robot(heard):
    arm, leg, fleet = heard.watch("arm"), heard.watch("leg"), heard.hub.watch_fleet()
    heard.has_read("arm", "leg")
    for watch in (arm, leg, fleet):
        watch.answer()
    heard.hears(report("arm"))
    assert [watch.updated.is_set() for watch in (arm, leg, fleet)] == [True, False, True]


def test_a_robot_without_recent_reports_has_its_database_state(heard):
    watch = heard.watch()
    heard.hears(report())
    heard.clock.now += STALE_S
    found = answer(watch)
    assert (found["session_id"], found["rate_hz"], found["ack_lag_ms"], found["frame_count"]) == (17, None, None, 40)


def test_it_counts_lost_frames(heard):
    watch = heard.watch()
    heard.hears(report(frames=(0, 1)))
    heard.hears(report(frames=(8, 9)))
    found = answer(watch)
    assert ([frame[0] for frame in found["frames"]], found["missed"]) == ([0, 1, 8, 9], 6)


def test_a_new_connection_restarts_the_numbering_of_frames(heard):
    watch = heard.watch()
    heard.hears(report(frames=(0, 1), numbered=500))
    heard.hears(report(frames=(2, 3), numbered=2, holder="worker.2"))
    heard.hears(report(frames=(4,), numbered=3, holder="worker.2"))
    found = answer(watch)
    assert ([frame[0] for frame in found["frames"]], found["missed"]) == ([0, 1, 2, 3, 4], 0)


def test_an_answer_never_mixes_frames_of_two_sessions(heard):
    watch = heard.watch()
    heard.hears(report(frames=(0, 1)))
    heard.hears(report(frames=(0,), session_id=18, holder="worker.2"))
    found = answer(watch)
    assert (found["session_id"], len(found["frames"]), found["missed"]) == (18, 1, 2)


def test_it_shows_the_newer_of_two_sessions_of_a_robot(heard):
    watch = heard.watch()
    for _ in range(2):
        heard.hears(report(frames=(0,), session_id=18, holder="worker.2"), report(frames=(5,), session_id=17))
    assert answer(watch)["session_id"] == 18
    heard.clock.now += STALE_S
    heard.hears(report(frames=(6,), session_id=17))
    assert answer(watch)["session_id"] == 17


def test_memory_is_bounded_if_a_page_never_asks(heard):
    watch = heard.watch()
    for index in range(200):
        heard.hears(report(frames=(index,))._replace(frames=[b'[%d,0,"%b"]' % (index, b"x" * 2**16)]))
    assert heard.hub._pages["arm"].frames._bytes <= MAX_FRAMES_BYTES
    assert answer(watch)["missed"] > 180


def test_it_keeps_no_frames_of_unwatched_robots(heard):
    heard.hears(report("leg", frames=(0, 1)))
    assert heard.hub._pages == {}


def test_a_fleet_page_receives_all_robots_first_and_then_live_data(heard):
    watch = heard.hub.watch_fleet()
    heard.has_read("arm", "leg")
    heard.hears(report("arm"))
    watch.want_previews(["arm"])
    first, second = answer(watch), answer(watch)
    assert (first["full"], [robot["id"] for robot in first["robots"]], first["live"]) == (True, ["arm", "leg"], [])
    assert [(robot["rate_hz"], robot["values"]) for robot in first["robots"]] == [(60.0, [0.5]), (None, [])]
    live = {"id": "arm", "session_id": 17, "rate_hz": 60.0, "ack_lag_ms": 20.0, "frame_count": 99, "values": [0.5]}
    assert (second["full"], second["robots"], second["live"]) == (False, [], [live])


def test_a_fleet_page_receives_live_data_of_other_robots_in_each_fourth_answer(heard):
    watch = heard.hub.watch_fleet()
    heard.has_read("arm", "hand", "leg")
    heard.hears(report("arm"), report("hand"), report("leg"))
    watch.want_previews(["leg"])
    watch.answer()
    answers = [[robot["id"] for robot in answer(watch)["live"]] for _ in range(8)]
    assert [sum(robot_id in ids for ids in answers) for robot_id in ("arm", "hand", "leg")] == [2, 2, 8]
    assert not any({"arm", "hand"} <= set(ids) for ids in answers)  # the page has as much to do each time


def test_a_fleet_page_receives_the_rows_that_have_changed(heard):
    watch = heard.hub.watch_fleet()
    heard.has_read("arm", "leg")
    heard.hears(report("arm"))
    watch.answer()
    later = datetime(2026, 1, 1, tzinfo=UTC)
    heard.hub.take_roster({name: entry(name, last_heartbeat=later) for name in ("arm", "leg", "new")}, is_fleet=True)
    assert watch.updated.is_set()
    found = answer(watch)
    assert (found["full"], [robot["id"] for robot in found["robots"]]) == (False, ["leg", "new"])
    assert found["robots"][0]["last_heartbeat"] == "2026-01-01T00:00:00Z"
    heard.clock.now += STALE_S
    assert [(robot["id"], robot["rate_hz"]) for robot in answer(watch)["robots"]] == [("arm", None)]
    heard.hears(report("arm", session_id=18))
    assert [(robot["id"], robot["session_id"]) for robot in answer(watch)["robots"]] == [("arm", 18)]


def test_a_fleet_page_receives_all_robots_after_one_was_deleted(heard):
    watch = heard.hub.watch_fleet()
    heard.has_read("arm", "leg")
    watch.answer()
    heard.has_read("leg")
    found = answer(watch)
    assert (found["full"], [robot["id"] for robot in found["robots"]]) == (True, ["leg"])


def test_a_fleet_page_has_no_news_before_the_first_roster(heard):
    watch = heard.hub.watch_fleet()
    heard.hears(report("arm"))
    assert not watch.updated.is_set()
    heard.has_read("arm")
    assert watch.updated.is_set() and heard.hub.watch_fleet().updated.is_set()


def test_an_unknown_session_requests_a_new_roster(heard):
    heard.hub.watch_fleet()
    heard.has_read("arm")
    heard.hub._roster_due.clear()
    heard.hears(report("arm"))
    assert not heard.hub._roster_due.is_set()
    heard.hears(report("arm", session_id=18))
    assert heard.hub._roster_due.is_set()


class Layer(ChannelLayer):
    """A channel layer, and the database from which the hub reads robots: `reads` records these queries."""

    def __init__(self, monkeypatch):
        super().__init__(monkeypatch, hub_module, "watch_robots")
        self.reads: asyncio.Queue = asyncio.Queue()
        monkeypatch.setattr(hub_module, "database_sync_to_async", lambda function: self.read)

    async def read(self, robot_ids):
        self.reads.put_nowait(robot_ids)
        return {}


@pytest.fixture
def layer(monkeypatch):
    for name in ("RENEW_S", "RETRY_S", "ROSTER_S", "ROSTER_AGAIN_S"):
        monkeypatch.setattr(hub_module, name, 0.001)
    return Layer(monkeypatch)


def test_it_listens_and_renews_only_while_a_page_watches(layer):
    async def scenario():
        hub = Hub()
        arm, leg = hub.watch_robot("arm", entry("arm")), hub.watch_robot("leg", entry("leg"))
        assert await layer.asked.get() == (["arm", "leg"], False)
        assert await layer.reads.get() == ["arm", "leg"]
        hub.leave(arm)
        while await layer.asked.get() != (["leg"], False):
            pass
        assert layer.listening == 1
        hub.leave(leg)
        while layer.listening:  # noqa: ASYNC110
            await asyncio.sleep(0)
        fleet = hub.watch_fleet()
        while await layer.asked.get() != ([], True):
            pass
        while await layer.reads.get() is not None:
            pass
        assert layer.listening == 1
        hub.leave(fleet)

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_it_runs_one_listener_after_pages_leave_and_return(layer):
    """With two listeners each page would get every frame twice."""

    async def scenario():
        hub = Hub()
        for _ in range(5):
            watch = hub.watch_fleet()
            for _ in range(3):
                await layer.asked.get()
            hub.leave(watch)
        watch = hub.watch_fleet()
        for _ in range(3):
            await layer.asked.get()
        listening = layer.listening
        hub.leave(watch)
        assert listening == 1

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_it_retries_after_the_channel_layer_fails(layer):
    async def scenario():
        hub = Hub()
        layer.fails = 3
        watch = hub.watch_fleet()
        assert isinstance(watch, FleetWatch)
        for _ in range(5):
            assert await layer.asked.get() == ([], True)
        hub.leave(watch)

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_it_requests_and_reads_nothing_after_the_last_page_leaves(layer):
    async def scenario():
        hub = Hub()
        hub.leave(hub.watch_robot("arm", entry("arm")))
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert (layer.asked.empty(), layer.reads.empty(), layer.listening) == (True, True, 0)

    asyncio.run(asyncio.wait_for(scenario(), 10))
