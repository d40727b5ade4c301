"""The server's side of one WebSocket: Daphne's protocol with overrides; each override states its reason."""

import logging
import random
import sys
import time
from collections import deque
from collections.abc import Callable

import autobahn.twisted.websocket
import autobahn.websocket.protocol
from autobahn.exception import PayloadCorruptError, PayloadExceededError
from django.conf import settings

from robots.close_codes import Close
from teleop.asgi.budgets import Budget, Budgets
from teleop.monitoring import counters
from teleop.protocol import MAX_MESSAGE_BYTES, MAX_UNACKED
from teleop.server import deflate
from teleop.server.websocket_output import BINARY, TEXT, WebSocketOutput

logger = logging.getLogger(__name__)


def unformatted(value, *args, **kwargs):
    return value


# autobahn formats and colours values for its debug log even if the log is off: a third of the time of a handshake.
for module in (autobahn.websocket.protocol, autobahn.twisted.websocket):
    module.hltype = module.hlval = unformatted
autobahn.websocket.protocol.pformat = unformatted

# autobahn answers 400 to an Origin such as `file://`, which some libraries send. The applications check Origin.
autobahn.websocket.protocol._url_to_origin = lambda origin: "null"

MAX_EARLY_BYTES = MAX_MESSAGE_BYTES
MAX_EARLY_MESSAGES = MAX_UNACKED
COMPRESSED = 0x40  # RSV1, in the first byte of a message
SIMPLE_OPCODES = frozenset((TEXT, BINARY))
ROBOTS_PATH = "/ws/log/"

# Budgets for work that stores nothing, in microseconds of CPU: refusals, control frames, fragments. Frames that are
# stored cost nothing here. All connections of a robot share its budget. All connections of the worker share another
# budget, so that robots that spend their budgets at the same moment take turns.
WASTE_US_PER_S = WASTE_BURST_US = 10_000
WORKER_US_PER_S, WORKER_BURST_US = 200_000, 20_000
CONTROL_US = 20  # autobahn's work for a ping, pong or small fragment
QUEUED_US = 20  # a message that goes through the application's queue
MIN_FRAGMENT_BYTES = 4096  # a fragment of at least this size costs little per byte
LARGE_MESSAGE_BYTES = 2**16
MAX_OVERSPENT_S = 10  # then closed: at this pace its buffers may take hours, long after its client disconnected
RESTED_S = 1

Message = bytes | str
Receiver = Callable[[Message], float]  # returns the microseconds that the message wasted
robots = Budgets(WASTE_US_PER_S, WASTE_BURST_US)
worker = Budget(WORKER_US_PER_S, WORKER_BURST_US)


class WebSocketProtocol(WebSocketOutput):
    """A WebSocket that the consumer finds in its scope, as extension `direct`.

    `attach` passes messages to the consumer without the application's queue. serverSend and serverClose answer without
    a task. None of the three methods raises, in any state of the connection.
    """

    _simple_opcodes = SIMPLE_OPCODES
    _inflater: deflate.Inflater | None = None  # if compression was agreed
    _receiver: Receiver | None = None
    _early_bytes: bytearray | None = None  # bytes that arrive while the application decides on the handshake
    _early_messages: list[Message] | None = None  # messages in those bytes, until the consumer attaches
    _is_queued = False
    _is_paused = False  # the budget is spent, and the socket is not read
    _was_paused = False
    _has_cut_message = False  # in the bytes of the current read

    def __init__(self) -> None:
        super().__init__()
        self._budget = Budget(WASTE_US_PER_S, WASTE_BURST_US)
        self._held_bytes = bytearray()  # this and the next: received while the connection is paused
        self._held_messages: deque[Message] = deque()
        self._overspent_since = self._resumed_at = float("-inf")

    def dataReceived(self, data):
        if self.state == self.STATE_CONNECTING and hasattr(self, "handshake_deferred"):
            self._hold(data)
        elif self._is_paused:  # after a reset TcpConnection reads on
            self._held_bytes += data
            self.transport.pauseProducing()
        elif self._was_paused and not self._budget.is_full and self._wait_s():  # other connections have spent budgets
            self._held_bytes += data
            self._pause("shared")
        else:
            self._process(data)

    def _process(self, data: bytes) -> None:
        """Process the bytes of one read until the budget is spent, and write the answers together."""
        self._answers, self._has_cut_message = [], False
        try:
            if self._is_simple():
                data = self._take_whole_messages(data)
            if data and self._is_paused:
                self._held_bytes += data
            elif data:
                super().dataReceived(data)
        finally:
            self._send_answers()

    def _is_simple(self) -> bool:
        """Check that the next byte begins a message; a control frame may be there in part (current_frame)."""
        if self.state != self.STATE_OPEN or self.autoPingTimeoutCall:
            return False
        return not self.data and not self.inside_message and self.current_frame is None

    def consumeData(self):
        """Leave autobahn after a message that was split over two reads, and when the budget is spent.

        Stock autobahn processes all the bytes: 11,000 pings in the 64 KiB of one read took 0.4 s.
        """
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
            return
        while self.processData() and self.state != self.STATE_CLOSED:
            if self._is_paused:
                self._held_bytes[:0], self.data = self.data, b""
                return
            if self.current_frame is None and not self.inside_message and self.state == self.STATE_OPEN:
                data, self.data = self.data, b""
                rest = self._take_whole_messages(data) if self._is_simple() else data
                if self._is_paused:
                    self._held_bytes[:0] = rest
                    return
                self.data = rest

    def onFrameEnd(self):
        """Charge for frames that are expensive for their size. A message split over two reads comes here too."""
        header = self.current_frame
        if header.opcode > 7 or not header.fin or not header.opcode:
            if header.length < MIN_FRAGMENT_BYTES:
                self._charge(CONTROL_US, "control" if header.opcode > 7 else "fragments")
        elif self._has_cut_message:
            self._charge(CONTROL_US, "fragments")
        else:
            self._has_cut_message = True
        return super().onFrameEnd()

    def share_budget(self, robot_id: str) -> None:
        """Charge waste of this connection to the robot's budget from now on; pause at once if that budget is spent."""
        self._budget = robots.of(robot_id)
        if self._budget.wait_s() and not self._is_paused:
            self._pause("shared")

    def _charge(self, cost_us: float, reason: str) -> None:
        self._budget.spend(cost_us)
        worker.spend(cost_us)
        if self._wait_s() and not self._is_paused:
            self._pause(reason)

    def _wait_s(self) -> float:
        return max(self._budget.wait_s(), worker.wait_s())

    def _pause(self, reason: str) -> None:
        """Read nothing until the budget is paid back: TCP then slows the client down."""
        if not self._was_paused:
            logger.warning("paused reading from %r: it exceeds its budget (%s)", self, reason)
        self._is_paused = self._was_paused = True
        counters.PAUSES.labels(reason).inc()
        self.transport.pauseProducing()
        now = self.factory.reactor.seconds()
        if now - self._resumed_at > RESTED_S:
            self._overspent_since = now
        if now - self._overspent_since > MAX_OVERSPENT_S and self._budget.wait_s() and self.state == self.STATE_OPEN:
            logger.warning("closed %r with 1013: it has exceeded its budget for %d s", self, MAX_OVERSPENT_S)
            self.serverClose(Close.OVERLOADED)
        self._resume_later()

    def _resume_later(self) -> None:
        """Wait a little longer than needed, so that the budget allows some work; a random part gives each its turn."""
        self.factory.reactor.callLater(self._wait_s() + random.uniform(0.05, 0.15), self._resume)

    def _resume(self) -> None:
        if self.state == self.STATE_CLOSED:
            return
        if self._wait_s():
            self._resume_later()
            return
        self._is_paused, self._resumed_at = False, self.factory.reactor.seconds()
        self._deliver_held()
        if not self._is_paused:
            data, self._held_bytes = bytes(self._held_bytes), bytearray()
            self._process(data)
        if not self._is_paused:
            self.transport.resumeProducing()

    def _deliver_held(self) -> None:
        while self._held_messages and not self._is_paused:
            self._deliver(self._held_messages.popleft())

    def _hold(self, data: bytes) -> None:
        """Keep bytes that arrive before the handshake is answered; past MAX_EARLY_BYTES drop the connection.

        autobahn would look for a second handshake in these bytes.
        """
        if self._early_bytes is None:
            self._early_bytes = bytearray()
        self._early_bytes += data
        if len(self._early_bytes) > MAX_EARLY_BYTES:
            logger.warning("dropped %r: over %d bytes arrived before its handshake was answered", self, MAX_EARLY_BYTES)
            self._early_bytes.clear()
            self.dropConnection(abort=True)

    def succeedHandshake(self, res):
        """Answer an offer of compression. autobahn would refuse a handshake with an invalid offer."""
        offers, self.websocket_extensions, headers = self.websocket_extensions, [], {}
        if settings.WEBSOCKET_DEFLATE and self.http_request_path.startswith(ROBOTS_PATH):
            headers, self._inflater = deflate.accept(offers, self._charge)
        super().succeedHandshake((res, headers))

    def onOpen(self):
        """Process bytes that arrived before the handshake was answered. The consumer has accepted and attaches next.

        Compressed messages are allowed only after them, as no client could know the answer. MAX_EARLY_BYTES of
        compressed data could become 1 GB of early messages.
        """
        super().onOpen()
        if self.data or self._early_bytes:
            data, self.data = self.data + (self._early_bytes or b""), b""
            self._early_bytes, self._early_messages = None, []
            self.factory.reactor.callLater(0, self._queue_early_messages)
            self.dataReceived(data)
        if self._inflater:
            self._perMessageCompress = self._inflater
            self._simple_opcodes = SIMPLE_OPCODES | {TEXT | COMPRESSED, BINARY | COMPRESSED}

    def attach(self, receiver: Receiver) -> None:
        """Call `receiver` with each message from now on, first with those that came before the handshake was answered.

        A consumer attaches as soon as it has accepted. If messages were already in its queue, `receiver` would get
        later messages before the consumer read the queue. The connection is closed then, and its client sends again.
        """
        early, self._early_messages = self._early_messages or [], None
        if self._is_queued:
            logger.error("closed %r: its consumer attached after messages had been queued", self)
            self._discard_messages()
        elif self._receiver is None:
            self._receiver = receiver
            self._held_messages.extendleft(reversed(early))  # older than a large message that is held
            self._deliver_held()

    def _queue_early_messages(self) -> None:
        """Pass early messages to the queue in the next turn of the loop, for a consumer that does not attach."""
        early, self._early_messages = self._early_messages or [], None
        for message in early:
            self._put_into_queue(message)

    def _take_whole_messages(self, data: bytes) -> bytes:
        """Parse whole, unfragmented messages without autobahn, which spends 40 us on each; leave the rest to autobahn.

        A robot's frame is nearly always one masked message of a few hundred bytes in one piece. Return the rest of
        `data`, from the first message that is not simple or that has to wait.
        """
        position, end = 0, len(data)
        while end - position > 8 and (opcode := data[position]) in self._simple_opcodes and not self._is_paused:
            length, body = data[position + 1] - 128, position + 6  # minus the mask bit, without which it is negative
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
                    break  # autobahn refuses it, with 1007
            elif opcode != BINARY:
                position = body + length
                if not self._receive_compressed(message, opcode):
                    break
                continue
            position = body + length
            self._deliver(message)
        return data[position:]

    def _receive_compressed(self, payload: bytes, opcode: int) -> bool:
        """Decompress a whole message and deliver it. If that fails, close the connection and return False."""
        try:
            payload = self._inflater.inflate(payload)
            message = payload.decode() if opcode == TEXT | COMPRESSED else payload
        except (PayloadCorruptError, UnicodeDecodeError) as error:
            self._fail_connection(Close.INVALID_UTF8, str(error))
            return False
        except PayloadExceededError as error:
            self._fail_connection(Close.MESSAGE_TOO_BIG, str(error))
            return False
        self._deliver_or_hold(message, len(payload))
        return True

    def onMessage(self, payload, isBinary):
        self._deliver_or_hold(payload if isBinary else payload.decode(), len(payload))

    def _deliver_or_hold(self, message: Message, size: int) -> None:
        if size > LARGE_MESSAGE_BYTES and self._budget.wait_s():  # parsing it may take 0.1 s
            self._held_messages.append(message)
            if not self._is_paused:
                self._pause("shared")
        else:
            self._deliver(message)

    def _deliver(self, message: Message) -> None:
        """Pass the message to an attached consumer, else to the queue, which with its task costs 12 us a message."""
        self.last_ping = time.monotonic()
        if self.muted:
            return
        if self._receiver is not None:
            if wasted_us := self._receiver(message):
                self._charge(wasted_us, "refused")
        elif self._early_messages is None:
            self._put_into_queue(message)
        elif len(self._early_messages) < MAX_EARLY_MESSAGES:
            self._early_messages.append(message)
        else:
            logger.warning(
                "closed %r: over %d messages arrived before its handshake was answered", self, MAX_EARLY_MESSAGES
            )
            self._discard_messages()

    def _put_into_queue(self, message: Message) -> None:
        self._is_queued = True
        self._charge(QUEUED_US, "queued")
        kind = "text" if isinstance(message, str) else "bytes"
        self.application_queue.put_nowait({"type": "websocket.receive", kind: message})

    def _discard_messages(self) -> None:
        """Close and pass on no more messages: the consumer's messages stay a prefix of the messages that were sent."""
        self._early_messages = None
        self._receiver = lambda message: None
        self.serverClose(Close.OVERLOADED)

    def onClose(self, wasClean, code, reason):
        """Report our own close code, not the client's, if this side failed the connection (1007, 1009).

        Stock Daphne raises for a handshake that autobahn refused by itself, which never reached onConnect. It also
        raises for a connection that it has removed because its application was done before the socket closed.
        """
        if hasattr(self, "server") and self in self.server.connections:
            super().onClose(wasClean, self.localCloseCode if self.failedByMe else code, reason)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR as one big number: 1.2 us for 500 bytes; autobahn's C extension takes 2.6 us with its set-up."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, sys.byteorder) ^ int.from_bytes(repeated, sys.byteorder)).to_bytes(
        size, sys.byteorder
    )
