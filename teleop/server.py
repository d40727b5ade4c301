"""Daphne as we run it: on uvloop, with what must differ from stock, each override with its reason.

Import this before anything else imports Twisted: it decides which reactor and event loop there are.
"""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # before daphne.server makes its loop; 15 us a frame

from daphne.http_protocol import HTTPFactory
from daphne.server import Server as DaphneServer
from daphne.ws_protocol import WebSocketProtocol as DaphneWebSocketProtocol
from twisted.internet import asyncioreactor, defer, reactor
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogPublisher,
)

from teleop import patience
from teleop.bodies import BodyRequest, in_pieces
from teleop.ingest.worker import OPEN_TIMEOUT_S, running_worker
from teleop.live.hub import running_hub
from teleop.protocol import MAX_MESSAGE_BYTES, PING_INTERVAL_S, PING_TIMEOUT_S

logger = logging.getLogger(__name__)

# Twisted wraps every read and write in a logging context; its _readOrWrite catches and logs by itself. 4 us a frame.
asyncioreactor.callWithLogger = lambda _logger, function, *args: function(*args)

MAX_UNSENT_BYTES = 2**20
SHUTDOWN_S = 4  # of the five in which a process manager expects us gone
TEXT, BINARY = 0x81, 0x82  # first byte of a message in one piece
SIMPLE_OPCODES = frozenset((TEXT, BINARY))


class WebSocketProtocol(DaphneWebSocketProtocol):
    """The consumer finds it in its scope, as extension `direct`: `receiver` is called with each message, in place of
    the queue, and serverSend and serverClose answer without a task.
    """

    receiver: Callable[[bytes | str], None] | None = None

    def dataReceived(self, data):
        """Takes whole, unfragmented messages past autobahn, which spends 40 us on each; all else is left to it.

        A robot's frame is one masked message of a few hundred bytes in one piece, nearly always.
        """
        if self.state == self.STATE_OPEN and not self.data and not self.inside_message and not self.autoPingTimeoutCall:
            data = self._take_whole_messages(data)
        if data:
            super().dataReceived(data)

    def _take_whole_messages(self, data: bytes) -> bytes:
        """Hands on the messages that `data` begins with, and returns the rest, from the first that is not simple."""
        position, end = 0, len(data)
        while end - position > 8 and (opcode := data[position]) in SIMPLE_OPCODES:
            length, body = data[position + 1] - 128, position + 6  # less the mask bit, without which it is negative
            if length == 126:
                length, body = int.from_bytes(data[position + 2 : position + 4]), position + 8
            elif not 0 <= length < 126:
                break
            if body + length > end:
                break
            message: bytes | str = unmask(data[body : body + length], data[body - 4 : body])
            if opcode == TEXT:
                try:
                    message = message.decode()
                except UnicodeDecodeError:
                    break  # autobahn's to refuse, with 1007
            position = body + length
            self._deliver(message)
        return data[position:]

    def onMessage(self, payload, isBinary):
        self._deliver(payload if isBinary else payload.decode())

    def _deliver(self, message: bytes | str) -> None:
        """To the consumer itself where it asked for that; the queue and the task behind it cost 12 us a message."""
        self.last_ping = time.time()
        if self.muted:
            return
        if self.receiver is not None:
            self.receiver(message)
        else:
            kind = "text" if isinstance(message, str) else "bytes"
            self.application_queue.put_nowait({"type": "websocket.receive", kind: message})

    def sendMessage(self, payload, isBinary=False, *args, **kwargs):
        """Short messages past autobahn and past Twisted's write, which turns the loop's interest in the socket on and
        off again: two system calls and a turn of the loop for every ack.
        """
        if len(payload) > 125 or self.state != self.STATE_OPEN or unsent_bytes(self.transport):
            return super().sendMessage(payload, isBinary, *args, **kwargs)
        message = bytes((BINARY if isBinary else TEXT, len(payload))) + payload
        with suppress(OSError):  # full or broken: Twisted finds out
            message = message[self.transport.socket.send(message) :]
        if message:
            self.transport.write(message)

    def serverSend(self, content, binary=False):
        """Sockets are written without back-pressure: a client that does not read is cut off, not remembered."""
        if unsent_bytes(self.transport) > MAX_UNSENT_BYTES:
            self.dropConnection(abort=True)
        elif self.state in (self.STATE_CONNECTING, self.STATE_OPEN):  # autobahn raises where a close was on its way
            super().serverSend(content, binary)

    def handle_reply(self, message):
        """ASGI's `websocket.http.response`, which stock Daphne has not: it refuses every handshake alike, with 403."""
        if message["type"] == "websocket.http.response.start":
            self._refusal = message
        elif message["type"] == "websocket.http.response.body":
            self._refuse(self._refusal["status"], self._refusal["headers"], message["body"])
        else:
            super().handle_reply(message)

    def _refuse(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """In one piece, and instead of the handshake."""
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%b: %b" % header for header in (*headers, (b"content-length", b"%d" % len(body)))]
        self.sendData(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.server.protocol_disconnected(self)
        self.dropConnection()

    def serverClose(self, code=None):
        """autobahn's sendClose takes only 1000 and 3000-4999; 1012 and 1013 are ours to send too."""
        self.sendCloseFrame(code=code or 1000)

    def has_unsent(self) -> bool:
        return unsent_bytes(self.transport) > 0

    def onClose(self, wasClean, code, reason):
        """Where we failed the connection (1007, 1009) the application is told why, not what the client answered.

        A handshake that autobahn refused by itself never came to onConnect, and stock Daphne trips over that.
        """
        if hasattr(self, "server"):
            super().onClose(wasClean, self.localCloseCode if self.failedByMe else code, reason)


class WebRequest(BodyRequest):
    def handle_exception(self, exception):
        """Once a response has begun an error can only be shown by cutting it off; stock Daphne tries to begin another,
        which hangs the client and stops the check of all applications.
        """
        if self._response_started:
            self.transport.abortConnection()
        else:
            super().handle_exception(exception)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR as one big number: 1.2 us for 500 bytes, where autobahn's C extension takes 2.6 with its set-up."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, sys.byteorder) ^ int.from_bytes(repeated, sys.byteorder)).to_bytes(
        size, sys.byteorder
    )


def unsent_bytes(transport) -> int:
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


class Server(DaphneServer):
    """One worker process."""

    def __init__(self, application, listening: socket.socket, signal_handlers: bool = True):
        super().__init__(
            in_pieces(application),
            endpoints=[f"fd:fileno={listening.detach()}"],  # Twisted listens on a duplicate and closes it
            signal_handlers=signal_handlers,
            server_name="",
            websocket_timeout=-1,  # stock: a day, and then 1000, which tells a robot that it is done
            # Stock: 5 s, and a database that hangs is answered for (1013) after ten; the request has come by then.
            websocket_handshake_timeout=OPEN_TIMEOUT_S + 5,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
            websocket_max_frame_size=MAX_MESSAGE_BYTES,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
        )

    def run(self):
        reactor._asyncioEventloop.call_soon(self._begin)
        super().run()

    def _begin(self):
        """The first turn of the loop: what Daphne's run() has made by now is made ours."""
        self.ws_factory.protocol = WebSocketProtocol
        self.ws_factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=3)
        self.http_factory.protocol = patience.PatientChannel
        self.http_factory.timeOut = patience.REQUEST_TIMEOUT_S
        self.http_factory.buildProtocol = self._build_http_protocol
        # Daphne sends Twisted's log nowhere, its errors too.
        errors = [LogLevelFilterPredicate(LogLevel.error)]
        globalLogPublisher.addObserver(FilteringLogObserver(STDLibLogObserver("twisted"), errors))
        running_worker()  # at once, not with the first robot, as the sweep must run

    def _build_http_protocol(self, address):
        protocol = HTTPFactory.buildProtocol(self.http_factory, address)
        protocol.requestFactory = WebRequest
        return protocol

    async def handle_reply(self, protocol, message):
        """HTTP responses have no back-pressure: one slow reader of a long stream took a server from 93 to 648 MB."""
        await super().handle_reply(protocol, message)
        reader = patience.Reader()
        while message["type"] == "http.response.body" and message.get("more_body") and self._is_behind(protocol):
            await asyncio.sleep(0.02)
            if reader.is_gone(unsent_bytes(protocol.transport)):
                protocol.transport.abortConnection()

    def _is_behind(self, protocol) -> bool:
        details = self.connections.get(protocol, {"disconnected": True})
        return not details.get("disconnected") and unsent_bytes(protocol.transport) > MAX_UNSENT_BYTES

    def create_application(self, protocol, scope):
        if scope["type"] == "websocket":
            scope["extensions"] = {"direct": protocol, "websocket.http.response": {}}
        elif protocol.spooled:
            scope["extensions"] = {"spooled": protocol.spooled}
        return super().create_application(protocol, scope)

    def listen_success(self, port):
        """Handed on to `listeners`, which would hold None in its place: nothing could stop listening."""
        super().listen_success(port)
        return port

    def kill_all_applications(self):
        """Daphne has no lifespan; Twisted waits for what this returns before it stops.

        Stock Daphne cancels the consumers at once: 161 frames of 100 robots were stored and never acknowledged.
        """
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._shut_down()))

    async def _shut_down(self):
        for listener in self.listeners:
            listener.addCallback(lambda port: port.stopListening())
        running_hub().closing.set()
        await running_worker().shutdown(SHUTDOWN_S)
        running = (details.get("application_instance") for details in self.connections.values())
        applications = [application for application in running if application and not application.done()]
        if applications:
            await asyncio.wait(applications, timeout=SHUTDOWN_S / 8)
        for application in applications:
            application.cancel()
