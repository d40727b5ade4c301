"""Pages in a real browser, on the real server. Every test also checks that the browser's console stayed empty."""

import os
import re
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from tests.browser.users import User, admin, curator, viewer  # noqa: F401 - fixtures
from tests.services import Server

CHROMIUM = "/usr/bin/chromium-headless-shell"  # of Debian; a page takes two thirds of the CPU of chromium's
FULL_HD = {"width": 1920, "height": 1080}
BLANK = "/static/teleop/icon.svg"  # not about:blank, as Chromium would start a process for the next page

expect.set_options(timeout=30_000)  # like wait_until


class Console(list):
    """Unexpected messages of the browser's console; a test declares the messages that it provokes."""

    def __init__(self) -> None:
        self._expected: list[str] = []

    def expect(self, pattern: str) -> None:
        self._expected.append(pattern)

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self if not any(re.search(pattern, text) for pattern in self._expected)]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    assert os.path.exists(CHROMIUM), "sudo apt-get install chromium-headless-shell (as root, `make test` does it)"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)


@pytest.fixture(scope="package")
def tab(browser: Browser, _server: Server) -> Page:
    """Return the page that `visit` uses again: a new one takes 0.4 s of CPU, with a process and an empty cache."""
    return browser.new_page(base_url=_server.url, viewport=FULL_HD)


@pytest.fixture(autouse=True)
def _database_beside_playwright(monkeypatch: pytest.MonkeyPatch) -> None:
    """Playwright's loop runs in this thread, so Django would refuse to wait for a database in it."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


@pytest.fixture
def console() -> Iterator[Console]:
    console = Console()
    yield console
    assert console.unexpected == []


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, tab: Page, server: Server, console: Console) -> Iterator[Visit]:
    """Yield a function: `visit("/", user)` opens a page with this user's login, `visit("/")` without one.

    The first page of a test is the tab that all tests share, without cookies, storage, routes and scripts of earlier
    tests. A new page is one with `is_new`, on another server (`at`), or with options of the browser
    (`color_scheme="dark"`); a test that changes the page's clock, or its WebSockets, needs one.
    """
    contexts: list[BrowserContext] = []

    def visit(path: str, user: User | None = None, at: Server = server, is_new=False, **options) -> Page:
        if contexts or options or is_new or at is not server:
            page = browser.new_page(base_url=at.url, **{"viewport": FULL_HD} | options)
        else:
            page = tab
        contexts.append(page.context)
        if user:
            client = Client()
            client.force_login(user)
            value = client.cookies["sessionid"].value
            page.context.add_cookies([{"name": "sessionid", "value": value, "url": at.url}])
        page.on("console", note_message)
        page.on("pageerror", note_error)
        page.goto(path)
        return page

    def note_message(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            console.append(message.text)

    def note_error(error: Error) -> None:
        console.append(str(error))

    yield visit
    for context in contexts:
        if context is not tab.context:
            context.close()
            continue
        tab.remove_listener("console", note_message)
        tab.remove_listener("pageerror", note_error)
        tab.evaluate("localStorage.clear(), sessionStorage.clear()")
        tab.unroute_all(behavior="ignoreErrors")
        tab.goto(BLANK)
        context.clear_cookies()
        tab.mouse.move(0, 0)
