"""Answer health checks without Django, whose middleware costs more than the answer. Probes ask every second."""

from collections.abc import Callable

import orjson
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from teleop.monitoring import health

LIVE = {"status": "ok"}


def with_health_checks(application: Callable) -> Callable:
    """Wrap the application. Its views answer other methods, pages of other origins, and checks that must be made first.

    The answers are the same.
    """

    async def handle(scope: dict, receive: Callable, send: Callable) -> None:
        report = report_for(scope)
        if report is None:
            await application(scope, receive, send)
            return
        body = orjson.dumps(report)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"private, no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        status = 200 if report["status"] == "ok" else 503
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})

    return handle


def report_for(scope: dict) -> dict | None:
    """Return the report that the request asks for, or None if the application must answer."""
    path = scope["path"].removesuffix("/")
    if path not in ("/health", "/health/live") or scope["method"] not in ("GET", "HEAD"):
        return None
    headers = dict(scope["headers"])
    if b"origin" in headers:
        return None
    if path == "/health/live":
        return LIVE
    domain, _ = split_domain_port(headers.get(b"host", b"").decode("latin1"))
    return health.fresh_report() if validate_host(domain, settings.ALLOWED_HOSTS) else None
