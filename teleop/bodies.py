"""Request bodies under Daphne: on disk while they come in, to the application in pieces, and bounded.

Stock, an upload of 200 MB took 2.6 GB of memory and held up the event loop for most of a minute.
"""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable

from daphne.http_protocol import WebRequest as DaphneWebRequest
from django.conf import settings
from twisted.internet import reactor

from teleop.request_ids import HEADER, request_id_of

PIECE_BYTES = 2**18
MAX_FORM_BYTES = 2**20  # beside the largest video
LINGER_S = 10

Receive = Callable[[], Awaitable[dict]]


class BodyRequest(DaphneWebRequest):
    """`spooled` is the body as a file, if it was too large for memory (100 kB)."""

    spooled: io.IOBase | None = None
    is_refused = False

    def __init__(self, *args, **kwargs):
        # Twisted would read a form as a whole and parse it as an e-mail, for an `args` that nobody looks at.
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)

    def gotLength(self, length):
        super().gotLength(length)
        if length is not None:
            self._check(length)

    def handleContentChunk(self, data):
        """Without a Content-Length the size shows only now."""
        self._check(self.content.tell() + len(data))
        if not self.is_refused:
            super().handleContentChunk(data)

    def requestReceived(self, *args):
        if self.is_refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(*args)

    def process(self):
        """Daphne would put the whole body into the application's queue, where it is memory."""
        if not isinstance(self.content, io.BytesIO):
            self.spooled, self.content = self.content, io.BytesIO()
        return super().process()

    def _check(self, size: int) -> None:
        """The answer comes at once. What the client goes on sending is thrown away for a while: a closed socket would
        reset the connection, and the answer be lost.
        """
        bound = settings.VIDEO_MAX_BYTES + MAX_FORM_BYTES
        if size <= bound or self.is_refused:
            return
        self.is_refused = True
        self.requestHeaders.removeHeader(b"Expect")  # no 100 after a 413
        transport = self.channel.transport
        request_id = request_id_of(self.requestHeaders.getRawHeaders(HEADER, [b""])[0])
        transport.write(too_large(f"the body is {size} bytes or more; at most {bound} expected", request_id.decode()))
        reactor.callLater(LINGER_S, transport.abortConnection)


def too_large(detail: str, request_id: str) -> bytes:
    body = json.dumps({"detail": detail})
    head = "HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}X-Request-ID: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def in_pieces(application: Callable) -> Callable:
    """The application, which receives a spooled body as it reads it."""

    def start(scope: dict, receive: Receive, send: Callable) -> Awaitable[None]:
        file = scope.get("extensions", {}).pop("spooled", None)
        return application(scope, pieces(file, receive) if file else receive, send)

    return start


def pieces(file: io.IOBase, receive: Receive) -> Receive:
    is_whole = False

    async def receive_piece() -> dict:
        nonlocal is_whole
        if is_whole:
            return await receive()
        piece = await asyncio.to_thread(file.read, PIECE_BYTES)
        if len(piece) < PIECE_BYTES:
            is_whole = True
            file.close()
            await receive()  # the empty body that Daphne has put there in place of this one
        return {"type": "http.request", "body": piece, "more_body": not is_whole}

    return receive_piece
