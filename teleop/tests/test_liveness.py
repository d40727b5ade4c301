"""GET /health/live is answered before Django; every other request reaches the application."""

import asyncio

import pytest
from django.test import Client

from teleop.asgi.liveness import with_liveness


def answer(method: str = "GET", path: str = "/health/live", origin: bool = False) -> list[dict]:
    """Return the messages of the answer; the application behind answers with 418."""
    messages: list[dict] = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 418, "headers": []})

    async def send(message):
        messages.append(message)

    headers = [(b"origin", b"https://example.org")] if origin else []
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(with_liveness(application)(scope, None, send))
    return messages


@pytest.mark.parametrize("path", ["/health/live", "/health/live/"])
def test_it_answers_like_the_view(path: str):
    start, body = answer(path=path)
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    view = Client().get(path)
    assert (start["status"], body["body"], headers["content-type"]) == (200, view.content, view["Content-Type"])
    assert "no-store" in headers["cache-control"] and "no-store" in view["Cache-Control"]
    assert headers["x-content-type-options"] == view["X-Content-Type-Options"]


def test_it_answers_head_without_a_body():
    start, body = answer("HEAD")
    assert (start["status"], dict(start["headers"])[b"content-length"], body["body"]) == (200, b"15", b"")


@pytest.mark.parametrize(
    "method, path, origin",
    [
        ("POST", "/health/live", False),
        ("GET", "/health", False),
        ("GET", "/health/live/x", False),
        ("GET", "/health/live", True),
    ],
)
def test_it_passes_other_requests_to_the_application(method: str, path: str, origin: bool):
    assert [message["status"] for message in answer(method, path, origin)] == [418]
