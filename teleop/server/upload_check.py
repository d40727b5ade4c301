"""Permission check for an upload after its head has arrived, before its body takes space on the disk."""

import io
import logging
from typing import NamedTuple

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.urls import resolve

from teleop.monitoring.disk_reserve import shortage

logger = logging.getLogger(__name__)

BODY_HEADERS = (b"content-length", b"content-type", b"transfer-encoding")


class Refusal(NamedTuple):
    """An answer in place of the application's; `code` is the metric's label."""

    status: int
    code: str
    detail: str
    headers: dict[str, str] = {}


def refusal_of(scope: dict, size: int) -> Refusal | None:
    """Check the upload with the view that will handle it, as the application does once the body is complete.

    This queries the database: call it in a thread.
    """
    try:
        return _denied(scope) or _no_room(size)
    except Exception:
        logger.exception("could not check the permission to upload")
        return Refusal(500, "upload_check", "could not check the permission to upload; try again")
    finally:
        connections.close_all()


def _denied(scope: dict) -> Refusal | None:
    headers = [header for header in scope["headers"] if header[0] not in BODY_HEADERS]
    request = ASGIRequest(scope | {"headers": headers}, io.BytesIO())
    SessionMiddleware(lambda request: None).process_request(request)
    AuthenticationMiddleware(lambda request: None).process_request(request)
    found = resolve(scope["path"]).func
    view = found.cls(**found.initkwargs)
    view.action_map, view.args, view.kwargs = found.actions, (), {}
    view.request = view.initialize_request(request)
    try:
        view.perform_authentication(view.request)
        view.check_permissions(view.request)
    except Exception as error:  # `handle_exception` raises errors that it does not know
        response = view.handle_exception(error)
        headers = {name: response[name] for name in ("WWW-Authenticate", "Retry-After") if response.has_header(name)}
        return Refusal(response.status_code, "upload_denied", str(response.data["detail"]), headers)
    return None


def _no_room(size: int) -> Refusal | None:
    """Check the free space: the body is kept in the temporary folder, and once complete its file in MEDIA_ROOT too."""
    detail = shortage(in_temp=size, in_media=size)
    return Refusal(507, "disk_full", detail) if detail else None
