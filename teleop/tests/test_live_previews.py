"""The pictures that one process keeps for watching pages, its requests to the workers, and the messages to a page."""

import asyncio
import struct

import pytest

from robots.models import Robot
from teleop.live import previews as module
from teleop.live import roster
from teleop.live.consumers import MAX_TILES, _wanted_previews
from teleop.live.hub import Hub
from teleop.live.previews import ASKING_S, FRESH_S, MAX_ANSWER_BYTES, PreviewHub, PreviewWatch
from teleop.tests.fakes import ChannelLayer


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Shown:
    """A hub without running tasks: the test provides the pictures that it receives."""

    def __init__(self, monkeypatch):
        self.clock = Clock()
        self.hub = PreviewHub(self.clock)
        monkeypatch.setattr(self.hub, "_join", lambda: None)

    def page(self, robot_id="arm") -> PreviewWatch:
        return self._watch([robot_id], is_tiled=False)

    def tiles(self, *robot_ids) -> PreviewWatch:
        return self._watch(robot_ids, is_tiled=True)

    def _watch(self, robot_ids, is_tiled):
        watch = PreviewWatch(self.hub, is_tiled)
        watch.want(robot_ids)
        return watch

    def hears(self, *pictures):
        """Receive pictures: robot, camera, and optionally the JPEG and how late it is."""
        whole = [(robot, camera, late_s, jpeg) for robot, camera, jpeg, late_s in map(completed, pictures)]
        self.hub.on_message({"type": "previews", "pictures": whole})


def completed(picture):
    return (*picture, *(b"jpeg", 0.0)[len(picture) - 2 :])


def read(message: bytes) -> tuple[str, str, float, bytes]:
    first = 1 + message[0]
    second = first + 1 + message[first]
    (age_s,) = struct.unpack_from(">d", message, second)
    return message[1:first].decode(), message[first + 1 : second].decode(), age_s, message[second + 8 :]


def got(watch) -> list[tuple[str, str]]:
    return [read(message)[:2] for message in watch.messages()]


@pytest.fixture
def shown(monkeypatch):
    return Shown(monkeypatch)


def test_a_page_gets_the_new_pictures_of_all_cameras_of_its_robot(shown):
    page = shown.page()
    shown.hears(("arm", "front", b"one"), ("leg", "front"), ("arm", "wrist", b"two"))
    assert [read(message) for message in page.messages()] == [("arm", "front", 0, b"one"), ("arm", "wrist", 0, b"two")]
    shown.hears(("arm", "wrist", b"three"))
    assert ([read(message)[3] for message in page.messages()], page.messages()) == ([b"three"], [])


def test_a_slow_page_gets_only_the_newest_picture_of_each_camera(shown):
    page = shown.page()
    for number in range(50):
        shown.hears(("arm", "front", b"%d" % number))
    assert [read(message)[3] for message in page.messages()] == [b"49"]


def test_a_page_that_comes_later_gets_the_last_picture_with_its_age(shown):
    shown.page()
    shown.hears(("arm", "front", b"jpeg", 2.5))
    shown.clock.now += 1
    assert [read(message)[2] for message in shown.page().messages()] == [3.5]


def test_a_page_gets_late_pictures_but_no_old_ones(shown):
    page = shown.page()
    shown.hears(("arm", "front", b"jpeg", 60.0))
    assert [read(message)[2] for message in page.messages()] == [60]
    shown.clock.now += FRESH_S
    assert shown.page().messages() == []


def test_tiles_get_the_first_camera_every_two_seconds(shown):
    tiles = shown.tiles("arm", "leg")
    times = {"arm": [], "leg": []}
    for _ in range(60):
        shown.hears(("arm", "wrist"), ("arm", "front"), ("leg", "top"))
        for robot_id, camera in got(tiles):
            assert camera == {"arm": "front", "leg": "top"}[robot_id]
            times[robot_id].append(shown.clock.now - 1000)
        shown.clock.now += 0.25
    assert times["arm"] == times["leg"] == [2.0 * number for number in range(8)]


def test_an_answer_is_bounded_and_the_next_has_the_robots_that_waited(shown):
    names = [f"robot_{number}" for number in range(20)]
    tiles = shown.tiles(*names)
    large = b"x" * (MAX_ANSWER_BYTES // 5)
    shown.hears(*((name, "front", large) for name in names))
    assert [len(got(tiles)) for _ in range(5)] == [6, 6, 6, 2, 0]
    answers = []
    for _ in range(4):
        shown.clock.now += 2
        shown.hears(*((name, "front", large) for name in names))
        answers.append(got(tiles))
    assert {robot_id for answer in answers for robot_id, _ in answer} == set(names)


def test_a_page_wants_other_robots(shown):
    tiles = shown.tiles("arm", "leg")
    shown.hears(("arm", "front"))
    assert got(tiles) == [("arm", "front")]
    tiles.want(["leg", "eye"])
    shown.clock.now += 1
    shown.hears(("arm", "front"), ("eye", "front"), ("leg", "front"))
    assert got(tiles) == [("leg", "front"), ("eye", "front")]
    assert set(shown.hub._pictures) == {"leg", "eye"}


def test_it_keeps_no_pictures_without_pages(shown):
    pages = [shown.page(), shown.page(), shown.tiles("arm")]
    shown.hears(("arm", "front"), ("arm", "wrist"))
    for page in pages:
        assert shown.hub._bytes == 8
        page.want([])
    shown.hears(("arm", "front"))
    assert (shown.hub._pictures, shown.hub._bytes, shown.hub._wanted.is_set()) == ({}, 0, False)


def test_the_pictures_in_memory_are_bounded(shown, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    names = [f"robot_{number}" for number in range(10)]
    tiles = shown.tiles(*names)
    for _ in range(3):
        shown.hears(*((name, "front", b"x" * 300) for name in names))
        assert shown.hub._bytes == 900
    assert len(got(tiles)) == 3
    for number in range(20):
        shown.hears(("robot_0", f"camera_{number}", b"x"))
    assert len(shown.hub._pictures["robot_0"]) == 8


def test_it_wants_nothing_for_a_page_that_sends_no_requests(shown):
    page, tiles = shown.page(), shown.tiles("arm", "leg")
    assert (shown.hub._asking_for(False), shown.hub._asking_for(True)) == (["arm"], ["arm", "leg"])
    shown.clock.now += ASKING_S - 1
    tiles.note_request()
    shown.clock.now += 1
    assert (shown.hub._asking_for(False), shown.hub._asking_for(True)) == ([], ["arm", "leg"])
    page.note_request()
    assert shown.hub._asking_for(False) == ["arm"]


def test_a_live_page_gets_pictures_of_its_own_robot_only(monkeypatch):
    hub = Hub(Clock())
    monkeypatch.setattr(hub, "_join", lambda: None)
    monkeypatch.setattr(hub.previews, "_join", lambda: None)
    watch = hub.watch_robot("arm", roster.entry(Robot(pk="arm")))
    watch.want_previews(["leg", "arm"])
    assert set(watch.previews.robot_ids) == {"arm"}
    watch.want_previews(["leg"])
    assert set(watch.previews.robot_ids) == set()
    watch.want_previews(["arm"])
    hub.leave(watch)
    assert not hub.previews._wanted.is_set()


def test_it_listens_and_renews_only_while_a_page_wants_pictures(monkeypatch):
    for name in ("RENEW_S", "RENEW_AGAIN_S", "RETRY_S"):
        monkeypatch.setattr(module, name, 0.001)

    async def scenario():
        layer = ChannelLayer(monkeypatch, module, "watch_previews")
        hub = PreviewHub(Clock())
        page, tiles = PreviewWatch(hub, is_tiled=False), PreviewWatch(hub, is_tiled=True)
        await asyncio.sleep(0.01)
        assert (layer.listening, layer.asked.empty()) == (0, True)
        layer.fails = 3
        page.want(["arm"])
        for _ in range(5):
            assert await layer.asked.get() == (["arm"], [])
        tiles.want(["leg", "arm"])
        while await layer.asked.get() != (["arm"], ["arm", "leg"]):
            pass
        assert layer.listening == 1
        page.want([])
        tiles.want([])
        while layer.listening:  # noqa: ASYNC110
            await asyncio.sleep(0)
        while not layer.asked.empty():
            layer.asked.get_nowait()
        await asyncio.sleep(0.01)
        assert layer.asked.empty()

    asyncio.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize(
    "message, robots",
    [
        ('{"type":"previews","robots":[]}', []),
        (b'{"type": "previews", "robots": ["arm", "robot_2"]}', ["arm", "robot_2"]),
    ],
)
def test_it_reads_the_robots_that_a_page_wants(message, robots):
    assert _wanted_previews(message) == robots


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        b"\xff",
        "\ud800",
        '{"type":"previews"}',
        '{"type":"previews","robots":"arm"}',
        '{"type":"previews","robots":{"arm":1}}',
        '{"type":"previews","robots":[1]}',
        '{"type":"previews","robots":["a/b"]}',
        '{"type":"previews","robots":["arm"],"x":1}',
        '{"type":"previews","robots":["a"' + ',"a"' * MAX_TILES + "]}",
        '{"type":"previews","robots":[]}' + " " * 8192,
    ],
)
def test_it_recognizes_no_other_message(message):
    assert _wanted_previews(message) is None
