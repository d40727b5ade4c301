"""The Origin header of WebSockets: a browser sends the origin of the page that connects."""

from collections.abc import Callable, Mapping
from urllib.parse import urlparse

from channels.security.websocket import OriginValidator
from django.conf import settings

from robots.client_address import joined
from teleop.asgi.connection_limits import LimitExceeded


def check_origin(headers: Mapping[str, str], hint: str = "") -> None:
    """Raise LimitExceeded if the header names no host of ALLOWED_HOSTS. Programs may send no Origin."""
    origin = headers.get("origin")
    if origin is not None and not _is_allowed(origin):
        raise LimitExceeded(
            403, "foreign_origin", f"Origin is {origin[:100]!r}; a host of ALLOWED_HOSTS expected{hint}"
        )


def for_pages(application: Callable) -> Callable:
    """Wrap an application that only pages of this server may use: a browser sends its login's cookie from any page."""

    async def handle(scope: dict, receive: Callable, send: Callable) -> None:
        headers = joined(scope["headers"])
        if "origin" not in headers:
            raise LimitExceeded(403, "foreign_origin", "Origin is missing; a host of ALLOWED_HOSTS expected")
        check_origin(headers)
        await application(scope, receive, send)

    return handle


def _is_allowed(origin: str) -> bool:
    try:
        return OriginValidator(None, settings.ALLOWED_HOSTS).validate_origin(urlparse(origin))
    except ValueError:  # such as http://[
        return False
