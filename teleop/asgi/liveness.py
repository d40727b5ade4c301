"""Answer `GET /health/live` without Django, whose middleware costs more than the answer. Probes ask every second."""

from collections.abc import Callable

PATH = "/health/live"
BODY = b'{"status":"ok"}'
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
]


def with_liveness(application: Callable) -> Callable:
    """Wrap the application. Other methods, and pages of other origins, get their answer from LiveView."""

    async def handle(scope: dict, receive: Callable, send: Callable) -> None:
        if scope["path"].rstrip("/") != PATH or scope["method"] not in ("GET", "HEAD") or has_origin(scope):
            await application(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY if scope["method"] == "GET" else b""})

    return handle


def has_origin(scope: dict) -> bool:
    return any(name == b"origin" for name, _ in scope["headers"])
