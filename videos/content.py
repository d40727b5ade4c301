"""Send a video's bytes over HTTP, with ranges and conditions, or let nginx send them if there is one."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

from django.http import HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation

from robots.client_address import is_trusted
from teleop.frames.sql import release_connection
from videos.models import VideoChunk
from videos.ranges import BadRange, parse_range

BLOCK_BYTES = 2**18
# A constant, not the header's value: a client that can set the header must not reach another location behind nginx.
ACCEL_LOCATION = "/protected-media/"
MEDIA_TYPE = "video/mp4"


class FileGone(APIException):
    status_code = 410
    default_code = "file_gone"


class AnythingIsAccepted(BaseContentNegotiation):
    """Content negotiation for any media type: a player asks for `video/*`, and receives errors as JSON nevertheless."""

    def select_parser(self, request, parsers):
        return parsers[0]

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type


class FileBytes:
    """Iterator over `count` bytes of an open file from its position, with at most one block in memory."""

    def __init__(self, file, count: int):
        self.file, self.count = file, count

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.count
        while left:
            block = await asyncio.to_thread(self.file.read, min(left, BLOCK_BYTES))
            if not block:
                raise EOFError(f"{self.file.name} ends {left} bytes early")  # the server must abort the response
            left -= len(block)
            yield block

    def close(self) -> None:
        """Close the file; Django calls this when the response has ended or the client has disconnected."""
        self.file.close()


def content_of(chunk: VideoChunk, request) -> HttpResponseBase:
    etag = f'"{chunk.sha256}"'
    if _is_behind_nginx(request):
        response = _by_nginx(chunk)
    else:
        response = get_conditional_response(request, etag) or _by_us(chunk, request, etag)
        response["ETag"] = etag
    name = f"session-{chunk.session_id}-{chunk.camera_key}-{chunk.pk}.mp4"
    response["Content-Disposition"] = f'inline; filename="{name}"'
    response["Cache-Control"] = "private, no-cache"  # a cache may store it, and revalidates it by its ETag
    return response


def _is_behind_nginx(request) -> bool:
    asked = request.headers.get("X-Accel-Mapping") == ACCEL_LOCATION
    return asked and is_trusted(request.META.get("REMOTE_ADDR"))


def _by_nginx(chunk: VideoChunk) -> HttpResponse:
    """Let nginx send the file and answer conditions and ranges, with an ETag of its own."""
    redirect = {"X-Accel-Redirect": ACCEL_LOCATION + quote(chunk.file_path.name)}
    return HttpResponse(content_type=MEDIA_TYPE, headers=redirect)


def _by_us(chunk: VideoChunk, request, etag: str) -> HttpResponseBase:
    headers = {"Accept-Ranges": "bytes"}
    asked = request.headers.get("Range", "") if request.headers.get("If-Range", etag) == etag else ""
    try:
        part = parse_range(asked, chunk.size)
    except BadRange as error:
        headers["Content-Range"] = f"bytes */{chunk.size}"
        return JsonResponse({"detail": str(error)}, status=416, headers=headers)
    part_or_all = range(chunk.size) if part is None else part
    headers["Content-Length"] = str(len(part_or_all))
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{chunk.size}"
    file = _open(chunk)
    file.seek(part_or_all.start)
    body = FileBytes(file, len(part_or_all) if request.method == "GET" else 0)
    release_connection()  # now, not after the last byte
    status = 200 if part is None else 206
    return StreamingHttpResponse(body, status=status, content_type=MEDIA_TYPE, headers=headers)


def _open(chunk: VideoChunk):
    try:
        return chunk.storage.open(chunk.file_path.name)
    except FileNotFoundError:
        raise FileGone(f"the file of video {chunk.pk} is missing in the storage") from None
