"""The server's side of one WebSocket: Daphne's protocol, with overrides that each state their reason."""

import logging
import sys
import time
from collections.abc import Callable

import autobahn.twisted.websocket
import autobahn.websocket.protocol

from teleop.protocol import MAX_MESSAGE_BYTES, MAX_UNACKED, Close
from teleop.websocket_output import BINARY, TEXT, WebSocketOutput

logger = logging.getLogger(__name__)


def unformatted(value, *args, **kwargs):
    return value


# autobahn formats and colours values for its debug log, though that is off: a third of the time of a handshake.
for module in (autobahn.websocket.protocol, autobahn.twisted.websocket):
    module.hltype = module.hlval = unformatted
autobahn.websocket.protocol.pformat = unformatted

MAX_EARLY_BYTES = MAX_MESSAGE_BYTES
MAX_EARLY_MESSAGES = MAX_UNACKED
SIMPLE_OPCODES = frozenset((TEXT, BINARY))

Message = bytes | str
Receiver = Callable[[Message], None]


class WebSocketProtocol(WebSocketOutput):
    """The consumer finds it in its scope, as extension `direct`: `attach` takes messages past the application's queue,
    serverSend and serverClose answer without a task. None of the three raises, whatever state the connection is in.
    """

    _receiver: Receiver | None = None
    _early_bytes: bytearray | None = None  # what arrives while the application decides on the handshake
    _early_messages: list[Message] | None = None  # what was in them, until the consumer attaches
    _is_queued = False

    def dataReceived(self, data):
        """Takes whole, unfragmented messages past autobahn, which spends 40 us on each; all else is left to it.

        A robot's frame is one masked message of a few hundred bytes in one piece, nearly always.
        """
        if self.state == self.STATE_CONNECTING and hasattr(self, "handshake_deferred"):
            self._hold(data)
            return
        if self.state == self.STATE_OPEN and not self.data and not self.inside_message and not self.autoPingTimeoutCall:
            data = self._take_whole_messages(data)
        if data:
            super().dataReceived(data)

    def _hold(self, data: bytes) -> None:
        """Keep bytes that arrive before the handshake is answered; past MAX_EARLY_BYTES drop the connection.

        autobahn would look for a second handshake in them.
        """
        if self._early_bytes is None:
            self._early_bytes = bytearray()
        self._early_bytes += data
        if len(self._early_bytes) > MAX_EARLY_BYTES:
            logger.warning("dropped %r: over %d bytes came before its handshake was answered", self, MAX_EARLY_BYTES)
            self._early_bytes.clear()
            self.dropConnection(abort=True)

    def onOpen(self):
        """Process what came before the handshake was answered: the consumer has accepted, and attaches next."""
        super().onOpen()
        if self.data or self._early_bytes:
            data, self.data = self.data + (self._early_bytes or b""), b""
            self._early_bytes, self._early_messages = None, []
            self.factory.reactor.callLater(0, self._queue_early_messages)
            self.dataReceived(data)

    def attach(self, receiver: Receiver) -> None:
        """Call `receiver` with each message from now on, first with those that came before the handshake was answered.

        A consumer attaches as soon as it has accepted. Once messages are in its queue, `receiver` would be called
        before the consumer comes to them: then the connection is closed, and its client sends them again.
        """
        early, self._early_messages = self._early_messages or [], None
        if self._is_queued:
            logger.error("closed %r: its consumer attached when messages were in the queue already", self)
            self._discard_messages()
        elif self._receiver is None:
            self._receiver = receiver
            for message in early:
                receiver(message)

    def _queue_early_messages(self) -> None:
        """Pass early messages to the queue in the next turn of the loop, for a consumer that does not attach."""
        early, self._early_messages = self._early_messages or [], None
        for message in early:
            self._put_into_queue(message)

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
            message: Message = unmask(data[body : body + length], data[body - 4 : body])
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

    def _deliver(self, message: Message) -> None:
        """To the consumer itself where it asked for that; the queue and the task behind it cost 12 us a message."""
        self.last_ping = time.monotonic()
        if self.muted:
            return
        if self._receiver is not None:
            self._receiver(message)
        elif self._early_messages is None:
            self._put_into_queue(message)
        elif len(self._early_messages) < MAX_EARLY_MESSAGES:
            self._early_messages.append(message)
        else:
            logger.warning(
                "closed %r: over %d messages came before its handshake was answered", self, MAX_EARLY_MESSAGES
            )
            self._discard_messages()

    def _put_into_queue(self, message: Message) -> None:
        self._is_queued = True
        kind = "text" if isinstance(message, str) else "bytes"
        self.application_queue.put_nowait({"type": "websocket.receive", kind: message})

    def _discard_messages(self) -> None:
        """Close, and pass on nothing any more: what the consumer gets stays a prefix of what was sent."""
        self._early_messages = None
        self._receiver = lambda message: None
        self.serverClose(Close.OVERLOADED)

    def onClose(self, wasClean, code, reason):
        """Where we failed the connection (1007, 1009) the application is told why, not what the client answered.

        A handshake that autobahn refused by itself never came to onConnect, and stock Daphne trips over that.
        """
        if hasattr(self, "server"):
            super().onClose(wasClean, self.localCloseCode if self.failedByMe else code, reason)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR as one big number: 1.2 us for 500 bytes, where autobahn's C extension takes 2.6 with its set-up."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, sys.byteorder) ^ int.from_bytes(repeated, sys.byteorder)).to_bytes(
        size, sys.byteorder
    )
