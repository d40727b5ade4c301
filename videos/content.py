"""Send a video's files over HTTP, with ranges and conditions, or let nginx send them if there is one."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from django.http import HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from rest_framework.exceptions import APIException, NotFound
from rest_framework.negotiation import BaseContentNegotiation

from robots.client_address import is_trusted
from teleop.frames.sql import release_connection
from videos.models import VideoChunk
from videos.ranges import BadRange, parse_range

BLOCK_BYTES = 2**18
# A constant, not the header's value: a client that can set the header must not reach another location behind nginx.
ACCEL_LOCATION = "/protected-media/"


class SeekableContent(Protocol):
    """An open file, or what can be read like one."""

    name: Any

    def seek(self, position: int, /) -> Any: ...

    def read(self, count: int, /) -> bytes: ...

    def close(self) -> None: ...


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

    def __init__(self, file: SeekableContent, count: int):
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


class MediaFile(NamedTuple):
    """A file of a chunk, and what a response says of it."""

    chunk: VideoChunk
    name: str  # in the storage
    size: int
    etag: str
    media_type: str
    extension: str


def original_of(chunk: VideoChunk) -> MediaFile:
    return MediaFile(chunk, chunk.file_path.name, chunk.size, f'"{chunk.sha256}"', chunk.media_type, chunk.extension)


def poster_of(chunk: VideoChunk) -> MediaFile:
    """Return the poster; raises NotFound while there is none, and FileGone if its file is missing."""
    return _file_beside(chunk, "poster", chunk.poster_size, chunk.poster_name, "image/jpeg", "jpg")


def proxy_of(chunk: VideoChunk) -> MediaFile:
    """Return the proxy; raises NotFound while there is none, and FileGone if its file is missing."""
    return _file_beside(chunk, "proxy", chunk.proxy_size, chunk.proxy_name, "video/mp4", "proxy.mp4")


def _file_beside(chunk: VideoChunk, kind: str, size: int | None, name: str, *types: str) -> MediaFile:
    """Take the size and the ETag from the file: the server replaces it when it makes it again."""
    if not size:
        raise NotFound(f"video {chunk.pk} has no {kind}" + (" yet" if size is None else ""))
    try:
        found = os.stat(chunk.storage.path(name))
    except FileNotFoundError:
        raise FileGone(f"the {kind} of video {chunk.pk} is missing in the storage") from None
    return MediaFile(chunk, name, found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"', *types)


def respond(file: MediaFile, request) -> HttpResponseBase:
    if _is_behind_nginx(request):
        response = _by_nginx(file)
    else:
        response = send(request, file.etag, file.size, file.media_type, lambda: _open(file))
    name = f"session-{file.chunk.session_id}-{file.chunk.camera_key}-{file.chunk.pk}.{file.extension}"
    response["Content-Disposition"] = f'inline; filename="{name}"'
    response["Cache-Control"] = "private, no-cache"  # a cache may store it, and revalidates it by its ETag
    return response


def _is_behind_nginx(request) -> bool:
    asked = request.headers.get("X-Accel-Mapping") == ACCEL_LOCATION
    return asked and is_trusted(request.META.get("REMOTE_ADDR"))


def _by_nginx(file: MediaFile) -> HttpResponse:
    """Let nginx send the file and answer conditions and ranges, with an ETag of its own."""
    return HttpResponse(content_type=file.media_type, headers={"X-Accel-Redirect": ACCEL_LOCATION + quote(file.name)})


def send(
    request, etag: str, size: int, media_type: str, open_content: Callable[[], SeekableContent]
) -> HttpResponseBase:
    """Answer conditions and ranges of `size` bytes. The content is opened only if a part of it is sent."""
    response = get_conditional_response(request, etag) or _part(request, etag, size, media_type, open_content)
    response["ETag"] = etag
    return response


def _part(
    request, etag: str, size: int, media_type: str, open_content: Callable[[], SeekableContent]
) -> HttpResponseBase:
    headers = {"Accept-Ranges": "bytes"}
    asked = request.headers.get("Range", "") if request.headers.get("If-Range", etag) == etag else ""
    try:
        part = parse_range(asked, size)
    except BadRange as error:
        headers["Content-Range"] = f"bytes */{size}"
        return JsonResponse({"detail": str(error)}, status=416, headers=headers)
    part_or_all = range(size) if part is None else part
    headers["Content-Length"] = str(len(part_or_all))
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    opened = open_content()
    opened.seek(part_or_all.start)
    body = FileBytes(opened, len(part_or_all) if request.method == "GET" else 0)
    release_connection()  # now, not after the last byte
    status = 200 if part is None else 206
    return StreamingHttpResponse(body, status=status, content_type=media_type, headers=headers)


def _open(file: MediaFile):
    try:
        return file.chunk.storage.open(file.name)
    except FileNotFoundError:
        raise FileGone(f"the file of video {file.chunk.pk} is missing in the storage") from None
