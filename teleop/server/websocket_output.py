"""Output of a WebSocket: refusal of its handshake, messages, and its close."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from http import HTTPStatus

from daphne.ws_protocol import WebSocketProtocol as DaphneWebSocketProtocol
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure

from robots.client_address import counted_address
from robots.querysets import HandshakeRefused
from teleop.asgi.refusals import report

logger = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 2**20
MAX_SIMPLE_BYTES = 2**16 - 1  # of a payload: its length fits into two bytes
TEXT, BINARY = 0x81, 0x82  # first byte of a message in one piece


def never_raises(method: Callable) -> Callable:
    """Drop the connection if the method raises, and do not raise.

    The socket may just have closed, and the caller often also works for other connections, as in a take-over, a
    shutdown, a group of acks or a round of pings.
    """

    @wraps(method)
    def guarded(self, *args, **kwargs):
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._drop_broken(error)

    return guarded


class WebSocketOutput(DaphneWebSocketProtocol):
    """The half of the protocol that writes. No method raises because of the connection's state."""

    _is_broken = False
    _answers: list[bytes] | None = None  # collected while the bytes of one read are processed, then written together

    @never_raises
    def sendMessage(self, payload, isBinary=False):
        """Send short messages without autobahn and without Twisted's write, and all messages without compression.

        That write registers the socket with the loop and unregisters it: two system calls and a turn of the loop for
        every ack.
        """
        if self.state != self.STATE_OPEN or self._is_broken:
            logger.debug("dropped a message for %r, which is closing", self)
            return
        size = len(payload)
        if size > MAX_SIMPLE_BYTES:
            super().sendMessage(payload, isBinary, doNotCompress=True)
            return
        opcode = BINARY if isBinary else TEXT
        header = bytes((opcode, size)) if size < 126 else bytes((opcode, 126)) + size.to_bytes(2)
        message = header + payload
        if size < 126 and self._answers is None and not unsent_bytes(self.transport):
            with suppress(OSError):  # the socket is full or broken; Twisted handles both below
                message = message[self.transport.socket.send(message) :]
        if message:
            self.sendData(message)

    @never_raises
    def sendData(self, data, *args, **kwargs):
        """Write or collect data. All other output passes through here, including pings."""
        if self._answers is not None:
            self._answers.append(data)
        elif not self._is_broken:
            super().sendData(data, *args, **kwargs)

    def _send_answers(self) -> None:
        """Write the collected answers at once: one write for the 600 errors of a batch. One write each took 30 us."""
        answers, self._answers = self._answers, None
        if answers:
            self.sendData(b"".join(answers))

    @never_raises
    def serverSend(self, content, binary=False):
        """Send, or drop a client that does not read: sockets are written without back-pressure."""
        if unsent_bytes(self.transport) > MAX_UNSENT_BYTES:
            self.dropConnection(abort=True)
        elif self.state == self.STATE_OPEN:
            self.sendMessage(content if binary else content.encode(), binary)
        elif self.state == self.STATE_CONNECTING:  # autobahn raises if a close was already under way
            super().serverSend(content, binary)

    @never_raises
    def serverClose(self, code=None):
        """Send a close frame. autobahn's sendClose takes only 1000 and 3000-4999; the server also sends 1012, 1013."""
        self.sendCloseFrame(code=code or 1000)

    @never_raises
    def check_timeouts(self):
        """Check without raising. With stock Daphne an exception here ends the loop that pings all connections."""
        super().check_timeouts()

    def _sendAutoPing(self):
        """Await one pong at a time.

        In stock autobahn a second ping after 20 s loses the timeout of the first. That timeout then ends a connection
        that has answered meanwhile.
        """
        if not self.autoPingTimeoutCall:
            super()._sendAutoPing()

    def _drop_broken(self, error: Exception) -> None:
        """Send nothing more, as an `ack` would rely on an `error` that was not sent, and drop the connection.

        It is dropped in the next turn of the loop: autobahn changes the state after a send, as if that had succeeded.
        """
        if not self._is_broken:
            self._is_broken = True
            logger.warning("dropping %r: %r", self, error)
            self.factory.reactor.callLater(0, self.dropConnection, True)

    def dropConnection(self, abort=False):
        """Drop the connection without raising. If the stock method raises, Twisted's part of the end must still run."""
        self._send_answers()
        try:
            super().dropConnection(abort)
        except Exception:
            logger.warning("could not drop %r; closing its socket", self, exc_info=True)
            self.state = self.STATE_CLOSED
            self.factory.reactor.callLater(0, self.transport.connectionLost, Failure(ConnectionAborted()))

    def handle_reply(self, message):
        """Handle ASGI's `websocket.http.response` too. Stock Daphne lacks it and refuses every handshake with 403."""
        if message["type"] == "websocket.http.response.start":
            self._refusal = message
        elif message["type"] == "websocket.http.response.body":
            self._refuse(self._refusal["status"], self._refusal["headers"], message["body"])
        else:
            super().handle_reply(message)

    def _refuse(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Write the HTTP response in one piece, instead of the handshake, and drop the connection."""
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%b: %b" % header for header in (*headers, (b"content-length", b"%d" % len(body)))]
        self.sendData(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.server.protocol_disconnected(self)
        self.dropConnection()

    def failHandshake(self, reason, code=HTTPStatus.BAD_REQUEST, responseHeaders=None):
        """Report a handshake that autobahn refuses as malformed. Applications refuse with 403, or fail with 500."""
        if code not in (HTTPStatus.FORBIDDEN, HTTPStatus.INTERNAL_SERVER_ERROR):
            address = counted_address(self.transport.getPeer().host, getattr(self, "http_headers", {}))
            report(HandshakeRefused("malformed", reason), address, getattr(self, "http_request_path", ""))
        super().failHandshake(reason, int(code), responseHeaders)

    def has_unsent(self) -> bool:
        return unsent_bytes(self.transport) > 0

    def __repr__(self) -> str:
        """Name the connection, before the handshake too, without the query, which may contain a key."""
        return f"<WebSocket of {self.peer}, {getattr(self, 'http_request_path', '')!r}>"


def unsent_bytes(transport) -> int:
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen
