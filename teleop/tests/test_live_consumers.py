"""A page sends a request and receives one answer, as fast as it can read."""

import asyncio
from types import SimpleNamespace

import pytest

from robots.close_codes import WatchClose
from teleop.asgi import connection_limits
from teleop.live import consumers


class Watch:
    """A watch that always has news; each answer is a running number, and pictures come before every third one."""

    interval_s = 0.001
    timeout_s = 0.001

    def __init__(self):
        self.updated = asyncio.Event()
        self.answers = 0
        self.previews = self

    def messages(self):
        return [b"one", b"two"] if self.answers % 3 == 2 else []

    def answer(self):
        self.answers += 1
        return str(self.answers)


class Page:
    """Fake of a page's connection: `has_unsent` is true while the page does not read."""

    def __init__(self):
        self.asked = asyncio.Event()
        self.heard = asyncio.Queue()
        self.looked = asyncio.Queue()
        self.is_full = False

    async def send(self, message):
        self.heard.put_nowait(message["text"] if "text" in message else message["bytes"])

    def has_unsent(self):
        self.looked.put_nowait(self.is_full)
        return self.is_full


def run(scenario):
    async def whole():
        page = Page()
        answering = asyncio.create_task(consumers._answers(Watch(), page.asked, page.send, page))
        try:
            async with asyncio.timeout(10):
                await scenario(page)
        finally:
            answering.cancel()

    asyncio.run(whole())


def test_it_answers_repeated_requests_once():
    async def scenario(page):
        for _ in range(1000):
            page.asked.set()
        assert await page.heard.get() == "1"
        page.asked.set()
        assert await page.heard.get() == "2"
        assert (page.looked.qsize(), page.heard.empty()) == (2, True)

    run(scenario)


def test_it_sends_nothing_while_a_page_has_unsent_data():
    async def scenario(page):
        page.is_full = True
        page.asked.set()
        for _ in range(10):
            assert await page.looked.get()
        assert page.heard.empty()
        page.is_full = False
        assert await page.heard.get() == "1"

    run(scenario)


def test_pictures_come_before_the_answer():
    async def scenario(page):
        heard = []
        for _ in range(3):
            page.asked.set()
            while not isinstance(message := await page.heard.get(), str):
                heard.append(message)
            heard.append(message)
        assert heard == ["1", "2", b"one", b"two", "3"]

    run(scenario)


def test_it_limits_the_pages_that_a_user_watches(monkeypatch):
    async def watcher(scope):
        return SimpleNamespace(pk=7)

    async def watch(self):
        return WatchClose.RESTARTING

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    sent = []
    monkeypatch.setattr(
        connection_limits,
        "people",
        connection_limits.ConnectionLimit(1, 429, "person_full", "this user already has {} live pages open"),
    )
    monkeypatch.setattr(consumers, "watcher", watcher)
    monkeypatch.setattr(consumers.FleetConsumer, "watch", watch)
    scope = {"url_route": {"kwargs": {}}, "headers": []}
    page = consumers.FleetConsumer()(scope, receive, send)
    with (
        connection_limits.people.hold("7"),
        pytest.raises(connection_limits.LimitExceeded, match="this user already has 1 live pages open"),
    ):
        asyncio.run(page)
    assert sent == []
    asyncio.run(consumers.FleetConsumer()(scope, receive, send))
    assert sent == ["websocket.accept", "websocket.close"]


@pytest.mark.parametrize("message", ['{"type":"next"}', b'{"type": "next"}', ' { "type" : "next" } '])
def test_it_recognizes_a_next_message(message):
    assert consumers._is_next(message)


@pytest.mark.parametrize(
    "message", ["", "null", "[]", '{"type":"next"}' + " " * 100, '{"type":"Next"}', b"\xff", "\ud800"]
)
def test_it_recognizes_no_other_message(message):
    assert not consumers._is_next(message)
