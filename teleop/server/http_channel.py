"""The server's side of one HTTP connection. It checks each request's limits after the head and before the body."""

import asyncio
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http import HTTPStatus
from urllib.parse import unquote

from django.conf import settings
from twisted.internet import reactor
from twisted.web.http_headers import Headers

from robots.client_address import counted_address, is_trusted
from teleop.asgi.connection_limits import LimitExceeded, address_of
from teleop.asgi.request_ids import HEADER, request_id_of
from teleop.monitoring import counters
from teleop.server import http_limits
from teleop.server.timeouts import SlowRequestTimeoutChannel
from teleop.server.upload_check import Refusal, refusal_of

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 2**20
MAX_FORM_BYTES = 2**20  # of an upload, in addition to the largest video
UPLOAD_PATH = re.compile(rb"/videos/?(\?.*)?")
LINGER_S = 10
DISCARD_PAUSE_S = 0.01
CHUNKED = "Content-Length is missing; it is required, as chunked bodies are not accepted"

# A separate pool, so that a database that hangs blocks no thread that sends or receives files.
_threads = ThreadPoolExecutor(2, thread_name_prefix="upload-check")


class BoundedChannel(SlowRequestTimeoutChannel):
    """An HTTP channel that reads nothing while a request waits for its turn or for the check of its upload."""

    maxHeaders = 100  # stock: 500; each header costs 15 us
    _is_refused = False
    _is_lost = False
    _is_useless = True  # until a request has arrived
    _has_no_body = False  # the request that waits has no body, or its body is complete
    _expects_100 = False
    _waits_as = ""

    def connectionMade(self):
        """Count a new connection by its address, unless the peer is a trusted proxy.

        A proxy's connections serve many clients, so their requests are counted by the client's address.
        """
        super().connectionMade()
        self._request_place = ExitStack()
        peer = self.transport.getPeer().host
        self._waits_as = "" if is_trusted(peer) else counted_address(peer)
        self._wait()

    def connectionLost(self, reason):
        self._is_lost = True
        if self._is_useless:
            self._charge(http_limits.USELESS_COST)
        http_limits.waiting.remove(self._waits_as, self)
        self._request_place.close()
        super().connectionLost(reason)

    def requestDone(self, request):
        self._request_place.close()
        self._wait()
        super().requestDone(request)

    def _wait(self) -> None:
        if self._waits_as and not http_limits.waiting.add(self._waits_as, self):
            counters.HTTP_REFUSED.labels("idle_connections").inc()
            logger.warning("closed the oldest connection without a request from %s: too many", self._waits_as)
            self._charge(http_limits.REFUSED_COST)

    @property
    def is_silent(self) -> bool:
        return not self.transport.is_queued

    def drop(self) -> None:
        self._is_useless = False  # the address was charged for the connection that took this place
        self.transport.loseConnection()

    def allHeadersReceived(self):
        """Check the head before the body is requested. Twisted would send 100 Continue before this check."""
        headers = self.requests[-1].requestHeaders
        self._expects_100 = headers.getRawHeaders(b"Expect", [b""])[0].lower() == b"100-continue"
        headers.removeHeader(b"Expect")
        super().allHeadersReceived()
        http_limits.waiting.remove(self._waits_as, self)
        self._is_useless = False
        try:
            self._begin(self._scope())
        except LimitExceeded as error:
            self._charge(http_limits.REFUSED_COST)
            self.refuse(Refusal(error.status, error.code, error.detail, {"Retry-After": "1"}))

    def _begin(self, scope: dict) -> None:
        address = address_of(scope)
        if self.requests[-1].requestHeaders.getRawHeaders(b"Upgrade", [b""])[0].lower() == b"websocket":
            if self.length != 0:
                self.refuse(Refusal(400, "handshake_body", "a WebSocket handshake has a body; none expected"))
            return
        self._request_place.enter_context(http_limits.requests_at_a_time.hold(address))
        wait_s = http_limits.wait_for_request(address)
        is_upload = self._command == b"POST" and UPLOAD_PATH.fullmatch(self._path) is not None
        refusal = self._refused_by_size(is_upload)
        if wait_s or (is_upload and not refusal and self.length > MAX_BODY_BYTES):
            self.paused = True
            self.transport.pauseProducing()
            self._task = asyncio.ensure_future(self._decide(wait_s, refusal, scope if is_upload else None))
        elif refusal:
            self.refuse(refusal)
        elif self._expects_100:
            self._send100Continue()

    def lineLengthExceeded(self, line):
        """Answer; stock Twisted closes the connection without a word."""
        self._charge(http_limits.USELESS_COST)
        status, part = (431, "a header") if self.requests else (414, "the request line")
        self.length = None  # unknown: bytes may follow
        self.refuse(Refusal(status, "long_line", f"{part} is longer than {self.MAX_LENGTH} bytes"))

    def _respondToBadRequestAndDisconnect(self):
        self._charge(http_limits.USELESS_COST)
        counters.HTTP_REFUSED.labels("bad_head").inc()
        logger.warning("refused a request from %s with 400: its head is malformed", self._waits_as or "a proxy")
        super()._respondToBadRequestAndDisconnect()

    def _charge(self, amount: float) -> None:
        if self._waits_as:
            http_limits.new_connections.charge(self._waits_as, amount)

    def _refused_by_size(self, is_upload: bool) -> Refusal | None:
        """Refuse a body that is too large or chunked. One-byte chunks cost 10 us a byte, in unknown number."""
        bound = settings.VIDEO_MAX_BYTES + MAX_FORM_BYTES if is_upload else MAX_BODY_BYTES
        if self.length is None:
            return Refusal(411, "chunked_body", CHUNKED)
        if self.length > bound:
            return Refusal(413, "large_body", f"the body is {self.length} bytes or more; at most {bound} expected")
        return None

    async def _decide(self, wait_s: float, refusal: Refusal | None, upload: dict | None) -> None:
        await asyncio.sleep(wait_s)
        if upload and not refusal and self.length > MAX_BODY_BYTES and not self._is_lost:
            loop = asyncio.get_running_loop()
            refusal = await loop.run_in_executor(_threads, refusal_of, upload, self.length)
        if self._is_lost:
            return
        self.paused = False
        if refusal:
            self.refuse(refusal)
        else:
            self._go_on()

    def _go_on(self) -> None:
        self.restart_body_timeout()
        if self._expects_100:
            self._send100Continue()
        if self._has_no_body:
            self._has_no_body = False
            super().allContentReceived()
        self.transport.resumeProducing()
        self.dataReceived(b"")

    def pause_reading(self, seconds: float) -> None:
        self.transport.pauseProducing()
        reactor.callLater(seconds, self._read_on)

    def _read_on(self) -> None:
        if self._is_refused or not self.paused:
            self.transport.resumeProducing()

    def refuse(self, refusal: Refusal) -> None:
        """Answer at once, then discard the client's further bytes slowly and for LINGER_S.

        If the server closed the socket now, the connection would be reset and the answer lost.
        """
        self._is_refused = self.paused = True
        counters.HTTP_REFUSED.labels(refusal.code).inc()
        logger.warning(
            "refused a request from %s with %d: %s", self._waits_as or "a proxy", refusal.status, refusal.detail
        )
        headers = self.requests[-1].requestHeaders if self.requests else Headers()
        request_id = request_id_of(headers.getRawHeaders(HEADER, [b""])[0])
        self.transport.write(rendered(refusal, request_id.decode()))
        if self.length == 0:
            self.loseConnection()
        else:
            self.transport.resumeProducing()
            reactor.callLater(LINGER_S, self.transport.abortConnection)

    def dataReceived(self, data):
        if not self._is_refused:
            super().dataReceived(data)
        elif data:
            self.pause_reading(DISCARD_PAUSE_S)

    def allContentReceived(self):
        if self._is_refused:
            return
        if self.paused:
            self._has_no_body = True
        else:
            super().allContentReceived()

    def resumeProducing(self):
        """Stay paused while a request waits. The transport calls this when it has written all its data."""
        super().resumeProducing()
        if self.paused:
            self.transport.pauseProducing()

    def _scope(self) -> dict:
        """Return the part of an ASGI scope that the checks look at."""
        request = self.requests[-1]
        headers = [
            (name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
        ]
        path, _, query = self._path.partition(b"?")
        peer = self.transport.getPeer()
        return {
            "type": "http",
            "method": self._command.decode("latin1"),
            "path": unquote(path.decode("latin1")),
            "query_string": query,
            "headers": headers,
            "client": [peer.host, peer.port],
            "scheme": "http",
        }


def rendered(refusal: Refusal, request_id: str) -> bytes:
    body = json.dumps({"detail": refusal.detail})
    headers = refusal.headers | {
        "Content-Type": "application/json",
        "Connection": "close",
        "X-Request-ID": request_id,
        "Content-Length": str(len(body)),
    }
    lines = [f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body]).encode()
