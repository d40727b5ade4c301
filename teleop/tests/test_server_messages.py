"""The parser that bypasses autobahn: it delivers and answers like autobahn, wherever the bytes are split."""

from types import SimpleNamespace

import pytest
from daphne.ws_protocol import WebSocketFactory
from daphne.ws_protocol import WebSocketProtocol as DaphneWebSocketProtocol
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from teleop.server.websocket import WebSocketProtocol, unmask

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
MAX_BYTES = 100_000


class Transport:
    """Transport that keeps the written bytes, and the names of the other methods called."""

    disconnecting = False
    dataBuffer, offset, _tempDataLen = b"", 0, 0

    def __init__(self):
        self.written = b""
        self.calls: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def __getattr__(self, name: str):
        return lambda *args, **kwargs: self.calls.append(name)


class Ours(WebSocketProtocol):
    def __init__(self):
        super().__init__()
        self.delivered: list[bytes | str] = []
        self.attach(self.delivered.append)

    def onConnect(self, request):
        return None

    def onOpen(self):
        pass


class Autobahns(Ours):
    dataReceived = DaphneWebSocketProtocol.dataReceived


def outcome(kind: type[Ours], pieces: list[bytes]) -> tuple:
    """Return the delivered messages, the written bytes, and the final state and close code."""
    factory = WebSocketFactory(SimpleNamespace(protocol_disconnected=lambda protocol: None), server="")
    limits = {"maxFramePayloadSize": MAX_BYTES, "maxMessagePayloadSize": MAX_BYTES}
    factory.setProtocolOptions(failByDrop=False, openHandshakeTimeout=0, closeHandshakeTimeout=0, **limits)
    protocol = kind()
    protocol.factory = factory
    protocol.makeConnection(Transport())
    for piece in [HANDSHAKE, *pieces]:
        protocol.dataReceived(piece)
    assert b"101 Switching Protocols" in protocol.transport.written
    return protocol.delivered, protocol.transport.written, protocol.state, protocol.localCloseCode


def one(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def fragments(parts: list[bytes], between: bytes) -> bytes:
    last = len(parts) - 1
    return between.join(
        one(Opcode.CONT if place else Opcode.BINARY, part, fin=place == last) for place, part in enumerate(parts)
    )


texts = st.text().map(lambda text: one(Opcode.TEXT, text.encode()))
lengths = st.sampled_from([0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, MAX_BYTES, MAX_BYTES + 1])
binaries = st.one_of(st.binary(), lengths.map(bytes)).map(lambda payload: one(Opcode.BINARY, payload))
pings = st.binary(max_size=125).map(lambda payload: one(Opcode.PING, payload))
broken = st.one_of(
    st.binary(max_size=20),
    st.binary(max_size=20).map(lambda payload: one(Opcode.TEXT, payload)),
    st.just(b"\x81\x05hello"),
    st.just(one(Opcode.CLOSE, b"\x03\xe8")),
)
fragmented = st.builds(fragments, st.lists(st.binary(min_size=1), min_size=2, max_size=4), st.just(b"") | pings)


@settings(max_examples=300)
@given(st.lists(st.one_of(texts, texts, binaries, pings, fragmented, broken), max_size=8), st.data())
def test_it_matches_autobahn_for_generated_messages(messages: list[bytes], data: st.DataObject):
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    ranges = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    pieces = [stream[begin:end] for begin, end in ranges if begin < end]  # Twisted passes on no empty ones
    assert outcome(Ours, pieces) == outcome(Autobahns, pieces)


def looks_like(payload: bytes) -> bytes:
    """Return a message masked with zeros, so that the payload's bytes are the same on the wire."""
    return bytes((0x82, 0x80 + len(payload), 0, 0, 0, 0)) + payload


def ping_of(payload: bytes) -> bytes:
    """Return a ping masked with zeros."""
    return bytes((0x89, 0x80 + len(payload), 0, 0, 0, 0)) + payload


TEXT = one(Opcode.TEXT, b"hello")


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(TEXT + one(Opcode.BINARY, bytes(130)) + one(Opcode.PING, b"?") + TEXT, id="simple ones"),
        pytest.param(TEXT + looks_like(TEXT + TEXT) + TEXT, id="messages in a message"),
        pytest.param(one(Opcode.TEXT, b"he", fin=False) + TEXT, id="a message between fragments"),
        pytest.param(fragments([b"he", TEXT, b"lo"], one(Opcode.PING, b"?")) + TEXT, id="fragments"),
        pytest.param(TEXT + one(Opcode.CLOSE, b"\x03\xe8") + TEXT, id="a message after the close"),
        pytest.param(TEXT + ping_of(one(Opcode.TEXT, b"")) + TEXT, id="a message in a ping"),
        pytest.param(TEXT + one(Opcode.TEXT, b"\xff") + TEXT, id="no UTF-8"),
        pytest.param(TEXT + b"\x81\x05hello" + TEXT, id="no mask"),
    ],
)
def test_it_matches_autobahn_at_every_split(stream: bytes):
    byte_by_byte = [stream[place : place + 1] for place in range(len(stream))]
    for pieces in [byte_by_byte, *([stream[:cut], stream[cut:]] for cut in range(len(stream)))]:
        assert outcome(Ours, pieces) == outcome(Autobahns, pieces)


@given(st.binary(), st.binary(min_size=4, max_size=4))
def test_it_unmasks(payload: bytes, mask: bytes):
    assert unmask(payload, mask) == bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
