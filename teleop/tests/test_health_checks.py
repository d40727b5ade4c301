"""Health checks are answered before Django; every other request reaches the application."""

import asyncio
import threading

import pytest
from django.test import Client

from teleop.asgi.health_checks import with_health_checks
from teleop.monitoring import health
from teleop.monitoring.health import Probe


def answer(
    method: str = "GET", path: str = "/health/live", origin: bool = False, host: bytes = b"localhost:8000"
) -> list[dict]:
    """Return the messages of the answer; the application behind answers with 418."""
    messages: list[dict] = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 418, "headers": []})

    async def send(message):
        messages.append(message)

    headers = [(b"host", host), *([(b"origin", b"https://example.org")] if origin else [])]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(with_health_checks(application)(scope, None, send))
    return messages


def away() -> None:
    raise ConnectionError


@pytest.fixture
def probes(monkeypatch) -> list[Probe]:
    """Replace the probes with some that find nothing."""
    made = {name: Probe(lambda: None) for name in ("database", "pool", "channel_layer", "disk")}
    for name, probe in made.items():
        monkeypatch.setattr(health, name, probe)
    monkeypatch.setattr(health, "FRESH_S", 60)
    return list(made.values())


@pytest.mark.parametrize("check, status", [(lambda: None, 200), (away, 503)])
def test_it_answers_like_the_view_while_the_checks_are_fresh(probes, check, status: int):
    probes[1]._check = check
    view = Client().get("/health")
    for path in ("/health", "/health/"):
        start, body = answer(path=path)
        assert (start["status"], body["body"]) == (view.status_code, view.content)
    assert start["status"] == status


def test_it_passes_health_to_the_view_while_a_check_runs_or_is_due(probes, monkeypatch):
    assert [message["status"] for message in answer(path="/health")] == [418]
    thaw = threading.Event()
    probes[0]._check = thaw.wait
    for probe in probes:
        probe.start()
    assert [message["status"] for message in answer(path="/health")] == [418]
    thaw.set()
    assert [probe.problem() for probe in probes] == [None] * 4
    assert answer(path="/health")[0]["status"] == 200
    monkeypatch.setattr(health, "FRESH_S", -1)
    assert [message["status"] for message in answer(path="/health")] == [418]


def test_it_passes_health_for_an_unknown_host_to_the_view(probes):
    assert Client().get("/health").status_code == 200
    assert [message["status"] for message in answer(path="/health", host=b"example.org")] == [418]


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
def test_it_passes_other_requests_to_the_application(probes, method: str, path: str, origin: bool):
    assert [message["status"] for message in answer(method, path, origin)] == [418]
