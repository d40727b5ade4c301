"""Messages that arrive before a consumer is attached, and writes to a closed socket."""

from math import inf
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from daphne.ws_protocol import WebSocketFactory
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from websockets.frames import Frame, Opcode

from teleop.asgi.budgets import Budget, Budgets
from teleop.server import websocket
from teleop.server.websocket import WebSocketProtocol
from teleop.server.websocket_output import MAX_UNSENT_BYTES
from teleop.tests.test_server_messages import HANDSHAKE, Transport, fragments

CLOSED_1013 = b"\x88\x02\x03\xf5"


class Protocol(WebSocketProtocol):
    """A WebSocket; its application decides on the handshake when the test calls `serverAccept`."""

    def __init__(self, transport: object, handshake: bytes = HANDSHAKE):
        super().__init__()
        self.clock = Clock()
        server = SimpleNamespace(protocol_disconnected=lambda _: None, log_action=lambda *_: None)
        self.factory = WebSocketFactory(server, server="", reactor=self.clock)
        self.factory.setProtocolOptions(failByDrop=False, openHandshakeTimeout=0, closeHandshakeTimeout=0)
        self.server, self.client_addr, self.request = server, None, SimpleNamespace(path="/")
        self.events: list[dict] = []
        self.application_queue = SimpleNamespace(put_nowait=self.events.append)
        self.received: list[bytes | str] = []
        self.makeConnection(transport)
        self.dataReceived(handshake)

    def onConnect(self, request):
        self.handshake_deferred = Deferred()
        return self.handshake_deferred


@pytest.fixture(autouse=True)
def _worker_budget(monkeypatch):
    """Lift the worker's shared budget: every connection of these tests has its own clock."""
    monkeypatch.setattr(websocket, "worker", Budget(10**12, 10**12))


@pytest.fixture
def protocol() -> Protocol:
    return Protocol(Transport())


def text(payload: str) -> bytes:
    return Frame(Opcode.TEXT, payload.encode()).serialize(mask=True)


def texts(*numbers: int) -> bytes:
    return b"".join(text(str(number)) for number in numbers)


def numbers(*numbers: int) -> list[str]:
    return [str(number) for number in numbers]


def test_it_delivers_early_messages_before_later_ones(protocol: Protocol):
    protocol.dataReceived(texts(0, 1))
    protocol.dataReceived(texts(2))
    protocol.serverAccept()
    protocol.attach(protocol.received.append)
    protocol.dataReceived(texts(3))
    protocol.clock.advance(1)
    assert (protocol.received, protocol.events) == (numbers(0, 1, 2, 3), [])


TWO = texts(0, 1)


@pytest.mark.parametrize("cut", range(len(TWO) + 1))
def test_it_reassembles_a_message_split_by_the_accept(protocol: Protocol, cut: int):
    protocol.dataReceived(TWO[:cut])
    protocol.serverAccept()
    protocol.attach(protocol.received.append)
    protocol.dataReceived(TWO[cut:] + texts(2))
    assert protocol.received == numbers(0, 1, 2)


def test_it_queues_early_messages_for_a_consumer_that_does_not_attach(protocol: Protocol):
    protocol.dataReceived(texts(0, 1))
    protocol.serverAccept()
    protocol.dataReceived(texts(2))
    protocol.clock.advance(0)
    protocol.dataReceived(texts(3))
    assert [event["text"] for event in protocol.events] == numbers(0, 1, 2, 3)


def test_it_delivers_messages_received_before_an_early_close(protocol: Protocol):
    protocol.dataReceived(texts(0, 1) + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True) + texts(2))
    protocol.serverAccept()
    protocol.attach(protocol.received.append)
    assert protocol.received == numbers(0, 1)


def test_it_does_not_parse_early_bytes_as_a_handshake(protocol: Protocol):
    """autobahn answered such bytes with 400, and dropped the connection."""
    masked_with_zeros = bytes((0x81, 0x84, 0, 0, 0, 0)) + b"\r\n\r\n"
    protocol.dataReceived(masked_with_zeros + HANDSHAKE)
    assert (protocol.transport.written, protocol.state) == (b"", protocol.STATE_CONNECTING)


def test_it_drops_a_connection_with_too_many_early_bytes(protocol: Protocol, monkeypatch):
    monkeypatch.setattr(websocket, "MAX_EARLY_BYTES", 100)
    protocol.dataReceived(bytes(100))
    assert protocol.state == protocol.STATE_CONNECTING
    protocol.dataReceived(bytes(1))
    assert (protocol.state, protocol.transport.calls[-1]) == (protocol.STATE_CLOSED, "abortConnection")


@pytest.mark.parametrize("count, received, written", [(3, numbers(0, 1, 2), b""), (4, [], CLOSED_1013)])
def test_it_closes_a_connection_with_too_many_early_messages(
    protocol: Protocol, monkeypatch, count: int, received: list[str], written: bytes
):
    monkeypatch.setattr(websocket, "MAX_EARLY_MESSAGES", 3)
    protocol.dataReceived(texts(*range(count)))
    protocol.serverAccept()
    protocol.attach(protocol.received.append)
    protocol.dataReceived(texts(count))
    assert protocol.received == (received and [*received, str(count)])
    assert protocol.transport.written.endswith(b"\r\n\r\n" + written)


def test_it_closes_with_1013_if_the_consumer_attaches_too_late(protocol: Protocol):
    protocol.dataReceived(texts(0))
    protocol.serverAccept()
    protocol.clock.advance(0)
    protocol.attach(protocol.received.append)
    protocol.dataReceived(texts(1))
    assert ([event["text"] for event in protocol.events], protocol.received) == (numbers(0), [])
    assert protocol.transport.written.endswith(CLOSED_1013)


class BrokenTransport(Transport):
    """A socket that uvloop does not watch any more: every method raises."""

    is_broken = False
    connected = True

    def __init__(self) -> None:
        super().__init__()
        self.socket = SimpleNamespace(send=self.send)

    def send(self, data: bytes) -> int:
        self.raise_if_broken()
        return len(data)

    def write(self, data: bytes) -> None:
        self.raise_if_broken()
        super().write(data)

    def abortConnection(self) -> None:
        self.calls.append("abortConnection")
        self.raise_if_broken()

    def raise_if_broken(self) -> None:
        if self.is_broken:
            raise RuntimeError("unable to perform operation on <UVPoll closed=True>; the handler is closed")


@pytest.fixture
def broken() -> Protocol:
    protocol = Protocol(BrokenTransport())
    protocol.serverAccept()
    protocol.server.websocket_timeout = protocol.server.ping_interval = protocol.socket_opened = protocol.last_ping = -1
    protocol.transport.is_broken = True
    return protocol


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda protocol: protocol.serverSend("an ack"), id="a short message"),
        pytest.param(lambda protocol: protocol.serverSend("x" * 200), id="a long message"),
        pytest.param(lambda protocol: protocol.sendMessage(b"x"), id="sendMessage"),
        pytest.param(lambda protocol: protocol.serverClose(4409), id="serverClose"),
        pytest.param(lambda protocol: protocol.check_timeouts(), id="a ping"),
        pytest.param(lambda protocol: protocol.dropConnection(abort=True), id="dropConnection"),
    ],
)
def test_it_aborts_without_raising_if_the_socket_is_broken(broken: Protocol, use):
    use(broken)
    broken.clock.advance(0)
    broken.clock.advance(0)
    assert broken.transport.calls[-2:] == ["abortConnection", "connectionLost"]
    assert broken.state == broken.STATE_CLOSED


def test_it_sends_nothing_after_a_failed_send(broken: Protocol):
    """An `ack` would count on an `error` that was never sent."""
    written = broken.transport.written
    broken.serverSend("an error")
    broken.transport.is_broken = False
    broken.serverSend("an ack")
    broken.serverSend("x" * 200)
    assert broken.transport.written == written


@pytest.mark.parametrize("state", [WebSocketProtocol.STATE_CLOSING, WebSocketProtocol.STATE_CLOSED])
def test_it_drops_messages_for_a_connection_that_is_closing(broken: Protocol, state: int):
    """An ack often comes so late; the log must not get an error for each robot that disconnects."""
    broken.state = state
    broken.serverSend("an ack")
    broken.sendMessage(b"an ack")
    broken.serverClose(4409)
    assert broken.state == state


def test_it_does_not_raise_on_a_close_before_the_handshake_is_answered(protocol: Protocol):
    protocol.serverClose(1012)
    protocol.clock.advance(0)
    assert protocol.transport.calls[-1] == "abortConnection"


def test_it_keeps_a_client_with_a_late_pong_and_aborts_one_without(protocol: Protocol):
    """In stock autobahn a second ping lost the first one's timeout, which then closed a connection with both pongs."""
    protocol.factory._batched_timer = SimpleNamespace(call_later=protocol.clock.callLater)
    protocol.autoPingTimeout = 40
    protocol.serverAccept()
    protocol._sendAutoPing()
    ping = protocol.transport.written[-protocol.autoPingSize :]
    protocol.clock.advance(20)
    protocol._sendAutoPing()
    protocol.clock.advance(19)
    protocol.dataReceived(Frame(Opcode.PONG, ping).serialize(mask=True))
    protocol.clock.advance(30)
    assert protocol.state == protocol.STATE_OPEN
    protocol._sendAutoPing()
    protocol.clock.advance(40)
    assert (protocol.state, protocol.transport.calls[-1]) == (protocol.STATE_CLOSED, "abortConnection")


def opened(budget: Budget | None = None, waste_us: float = 0) -> Protocol:
    """Return a connection with a budget that uses the protocol's clock; each message wastes `waste_us`."""
    protocol = Protocol(Transport())
    protocol._budget = budget or Budget(10_000, 10_000, protocol.clock.seconds)
    protocol.serverAccept()
    protocol.transport.written = b""

    def receive(message: bytes | str) -> float:
        protocol.received.append(message)
        return waste_us

    protocol.attach(receive)
    return protocol


def ping(payload: bytes = b"") -> bytes:
    return Frame(Opcode.PING, payload).serialize(mask=True)


PONG = Frame(Opcode.PONG, b"").serialize(mask=False)


def reads(protocol: Protocol) -> list[str]:
    """Return the calls that pause and resume reading from the connection."""
    return [call for call in protocol.transport.calls if call in ("pauseProducing", "resumeProducing")]


def test_it_answers_500_pings_and_then_500_a_second():
    protocol = opened()
    protocol.dataReceived(ping() * 2000)
    assert protocol.transport.written in (PONG * 500, PONG * 501)
    assert reads(protocol) == ["pauseProducing"]
    protocol.clock.pump([0.1] * 10)
    assert 900 <= len(protocol.transport.written) / len(PONG) <= 1001
    protocol.clock.pump([0.1] * 30)
    assert (protocol.transport.written, reads(protocol)[-1]) == (PONG * 2000, "resumeProducing")


def test_it_does_not_pause_a_client_within_its_budget():
    protocol = opened()
    stream = texts(*range(5000)) + ping()
    for begin in range(0, len(stream), 1448):  # each read cuts a message in two
        protocol.dataReceived(stream[begin : begin + 1448])
    assert (protocol.received, protocol.transport.written) == (numbers(*range(5000)), PONG)
    assert reads(protocol) == []


def test_it_pauses_within_a_read_when_refusals_spend_the_budget():
    protocol = opened(waste_us=100)
    protocol.dataReceived(texts(*range(500)))
    assert 100 <= len(protocol.received) <= 101
    protocol.clock.pump([0.1] * 60)
    assert protocol.received == numbers(*range(500))


pieces = st.one_of(
    st.integers(0, 9).map(texts),
    st.just(ping()),
    st.just(Frame(Opcode.PONG, b"x").serialize(mask=True)),
    st.just(fragments([b"a", b"b", b"c"], ping(b"?"))),
    st.just(Frame(Opcode.BINARY, bytes(70_000)).serialize(mask=True)),
)


@patch.object(websocket, "MAX_OVERSPENT_S", inf)
@given(st.lists(pieces, max_size=20), st.integers(1, 100), st.sampled_from([1_000, 9_000, 30_000]))
def test_it_delivers_and_answers_the_same_if_it_pauses(parts: list[bytes], cut: int, waste_us: int):
    free, paused = opened(Budget(10**12, 10**12)), opened(waste_us=waste_us)
    stream = b"".join(parts)
    size = len(stream) // cut + 1
    for begin in range(0, len(stream), size):
        for protocol in (free, paused):
            protocol.dataReceived(stream[begin : begin + size])
        paused.clock.advance(0.1)
    paused.clock.pump([0.5] * 300)
    assert (paused.received, paused.transport.written) == (free.received, free.transport.written)
    assert reads(paused)[-1:] in ([], ["resumeProducing"])


def test_connections_of_a_robot_share_its_budget(monkeypatch):
    monkeypatch.setattr(websocket, "robots", Budgets(10_000, 10_000, clock=lambda: 0.0))
    quiet, loud, late, other = (opened() for _ in range(4))
    for protocol, robot_id in ((quiet, "arm"), (loud, "arm"), (other, "leg")):
        protocol.share_budget(robot_id)
    loud.dataReceived(ping() * 1000)
    late.share_budget("arm")
    for protocol in (quiet, loud, late, other):
        protocol.dataReceived(texts(0))
    assert [protocol.received for protocol in (quiet, loud, late, other)] == [["0"], [], [], ["0"]]


def test_it_keeps_early_messages_while_the_budget_is_spent(protocol: Protocol, monkeypatch):
    protocol._budget = Budget(10_000, 10_000, protocol.clock.seconds)
    protocol.dataReceived(texts(0, 1) + ping() * 600 + texts(2))
    protocol.serverAccept()
    protocol.attach(protocol.received.append)
    assert protocol.received == []
    protocol.clock.pump([0.1] * 20)
    assert protocol.received == numbers(0, 1, 2)


def test_it_delivers_early_messages_before_a_large_message_that_is_held(protocol: Protocol):
    protocol.serverAccept()
    protocol._early_messages, received = ["early"], []
    protocol._held_messages.append("large")
    protocol.attach(received.append)
    assert received == ["early", "large"]


def test_it_waits_for_no_other_robot_while_its_own_budget_is_full(monkeypatch):
    protocol = opened()
    protocol._was_paused = True
    spent = Budget(1, 1, protocol.clock.seconds)
    spent.spend(100)
    monkeypatch.setattr(websocket, "worker", spent)
    protocol.dataReceived(texts(0))
    assert protocol.received == ["0"]


def test_it_aborts_a_client_that_does_not_read(protocol: Protocol):
    protocol.serverAccept()
    protocol.transport.dataBuffer = bytes(MAX_UNSENT_BYTES + 1)
    protocol.serverSend("an error")
    assert protocol.transport.calls[-1] == "abortConnection"


def test_it_closes_with_1013_after_overspending_for_ten_seconds():
    protocol = opened(waste_us=1000)
    for second in range(10):
        protocol.dataReceived(texts(*range(100)))
        protocol.clock.pump([0.1] * 10)
        assert protocol.state == protocol.STATE_OPEN, second
    protocol.dataReceived(texts(*range(100)))
    protocol.clock.pump([0.1] * 20)
    assert CLOSED_1013 in protocol.transport.written


def test_it_does_not_close_a_connection_that_pauses_between_bursts():
    protocol = opened(waste_us=1000)
    for _ in range(20):
        protocol.dataReceived(texts(*range(15)))
        protocol.clock.pump([0.1] * 30)
    assert (len(protocol.received), protocol.transport.written) == (300, b"")
