"""Pages in a real browser, on the real server. Every test also checks that the browser's console stayed empty."""

import asyncio
import os
import re
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

from tests.browser.users import BLANK, User, admin, curator, viewer  # noqa: F401 - fixtures
from tests.services import Server

CHROMIUM = "/usr/bin/chromium-headless-shell"  # of Debian; a page takes two thirds of the CPU of chromium's
WINDOW = {"width": 1280, "height": 720}  # drawing 1920 x 1080 takes a twentieth more CPU

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
    # On uvloop, which the server's modules choose, no time limit of a test would end a call of Playwright.
    chosen = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(None)
    with sync_playwright() as playwright:
        asyncio.set_event_loop_policy(chosen)
        yield playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)


@pytest.fixture(scope="package")
def tab(browser: Browser, _server: Server) -> Page:
    """Return the page that `visit` uses again: a new one takes 0.4 s of CPU, with a process and an empty cache."""
    return new_page(browser, _server)


@pytest.fixture(scope="package")
def blank(browser: Browser, _server: Server) -> Page:
    """Return a page for tests of modules, which keep no state: they import them, and need no database."""
    page = new_page(browser, _server)
    page.goto(BLANK)
    return page


def new_page(browser: Browser, server: Server, **options) -> Page:
    """Open a page with its own cookies and cache, in Berlin, so that local times differ from UTC."""
    options = {"viewport": WINDOW, "timezone_id": "Europe/Berlin"} | options
    return browser.new_context(base_url=server.url, **options).new_page()


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
    tests. `is_new` opens another page with the same cookies, for a test that changes its WebSockets or its scripts. A
    page with its own clock (`is_timed`), with options of the browser (`is_mobile=True`), or after the first one has its
    own cookies too.
    """
    opened: list[Page] = []

    def visit(path: str, user: User | None = None, is_new=False, is_timed=False, viewport=None, **options) -> Page:
        color_scheme = options.pop("color_scheme", "light")
        if opened or options or is_timed:
            page = new_page(browser, server, **options)
        else:
            page = tab.context.new_page() if is_new else tab
        opened.append(page)
        if page.viewport_size != (viewport or WINDOW):
            page.set_viewport_size(viewport or WINDOW)
        page.emulate_media(color_scheme=color_scheme)
        if user:
            log_in(page, user, server)
        page.on("console", note_message)
        page.on("pageerror", note_error)
        if is_timed:
            page.clock.install()  # time goes on, and a test can let it jump
        page.goto(path)
        return page

    def note_message(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            console.append(message.text)

    def note_error(error: Error) -> None:
        console.append(str(error))

    yield visit
    for page in opened:
        if page is tab:
            page.remove_listener("console", note_message)
            page.remove_listener("pageerror", note_error)
            clear(page)
        elif page.context is tab.context:
            clear(page)
            page.close()
        else:
            page.context.close()


def log_in(page: Page, user: User, server: Server) -> None:
    client = Client()
    client.force_login(user)
    value = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": value, "url": server.url}])


def clear(page: Page) -> None:
    """End the page, and forget what it and its test have left in the browser.

    The routes stay until the page has ended: the server would refuse what the test answers in its place.
    """
    page.goto(BLANK)
    page.evaluate("localStorage.clear(), sessionStorage.clear()")
    page.unroute_all(behavior="ignoreErrors")
    page.context.clear_cookies()
    page.mouse.move(0, 0)
