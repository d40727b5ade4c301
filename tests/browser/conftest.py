"""Pages in a real browser, on the real server. Every test also checks that the browser's console stayed empty."""

import os
import re
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.users import User, admin, curator, viewer  # noqa: F401 - fixtures
from tests.services import Server

CHROMIUM = "/usr/bin/chromium-headless-shell"  # of Debian; a page takes two thirds of the CPU of chromium's
FULL_HD = {"width": 1920, "height": 1080}

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
def visit(browser: Browser, server: Server, console: Console) -> Iterator[Visit]:
    """Yield a function: `visit("/", user)` opens a page with this user's login, `visit("/")` without one.

    Further keywords are the browser's (`color_scheme="dark"`); `at` is another server.
    """
    contexts = []

    def visit(path: str, user: User | None = None, at: Server = server, **options) -> Page:
        context = browser.new_context(base_url=at.url, **{"viewport": FULL_HD} | options)
        contexts.append(context)
        if user:
            client = Client()
            client.force_login(user)
            value = client.cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": value, "url": at.url}])
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and console.append(message.text))
        page.on("pageerror", lambda error: console.append(str(error)))
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()
