"""permessage-deflate: which offers the server accepts, what it delivers, and what a hostile client can cost."""

import re
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from teleop.asgi.budgets import Budget
from teleop.protocol import MAX_MESSAGE_BYTES
from teleop.server import websocket
from teleop.server.deflate import END
from teleop.tests.test_server_messages import HANDSHAKE, Transport
from teleop.tests.test_websocket import Protocol, reads

FLEET = b"/ws/fleet"
RSV1, RSV2 = 0x40, 0x20
WINDOW = "permessage-deflate; client_max_window_bits={}"
NO_CONTEXT = "permessage-deflate; client_no_context_takeover"
EVERYTHING = (
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; "
    "client_max_window_bits=9"
)


@pytest.fixture(autouse=True)
def _worker_budget(monkeypatch):
    """Lift the worker's shared budget: every connection of these tests has its own clock."""
    monkeypatch.setattr(websocket, "worker", Budget(10**12, 10**12))


def connecting(offer: str, path: bytes = b"/ws/log/arm?session=morning-run") -> Protocol:
    """Return a connection whose application has not answered the handshake."""
    header = b"Sec-WebSocket-Extensions: %b\r\n\r\n" % offer.encode()
    protocol = Protocol(Transport(), HANDSHAKE.replace(b"/", path, 1).removesuffix(b"\r\n") + header)
    protocol.maxMessagePayloadSize = protocol.maxFramePayloadSize = MAX_MESSAGE_BYTES
    protocol._budget = Budget(10_000, 10_000, protocol.clock.seconds)
    return protocol


def accepted(protocol: Protocol, enabled: bool = True) -> Protocol:
    with override_settings(WEBSOCKET_DEFLATE=enabled):
        protocol.serverAccept()
    protocol.attach(protocol.received.append)
    return protocol


def opened(offer: str = "permessage-deflate", **options) -> Protocol:
    return accepted(connecting(offer, **options))


def receive(protocol: Protocol, stream: bytes, size: int = 10**9) -> None:
    """Pass `stream` to the connection in pieces of `size` bytes."""
    for begin in range(0, len(stream), size):
        protocol.dataReceived(stream[begin : begin + size])


def answer(protocol: Protocol) -> str | None:
    head = protocol.transport.written.decode("latin1")
    assert " 101 " in head
    found = re.search(r"Sec-WebSocket-Extensions: (.*)\r\n", head)
    return found and found[1]


def frame(payload: bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True, bits: int = 0) -> bytes:
    first, *rest = Frame(opcode, payload, fin).serialize(mask=True)
    return bytes((first | bits, *rest))


def fragments(payload: bytes, cuts: list[int], opcode: Opcode = Opcode.TEXT) -> bytes:
    """Return a compressed message in fragments."""
    parts = [payload[begin:end] for begin, end in pairwise([0, *sorted(cuts), len(payload)])]
    first = frame(parts[0], opcode, fin=not cuts, bits=RSV1)
    last = len(cuts)
    rest = [frame(part, Opcode.CONT, fin=number == last) for number, part in enumerate(parts[1:], 1)]
    return b"".join([first, *rest])


class Compressor:
    """The client's side of the extension."""

    def __init__(self, bits: int = 15, keeps_context: bool = True) -> None:
        self._bits, self._keeps_context = bits, keeps_context
        self._begin()

    def _begin(self) -> None:
        self._compressor = zlib.compressobj(9, zlib.DEFLATED, -self._bits)

    def payload(self, message: bytes) -> bytes:
        if not self._keeps_context:
            self._begin()
        return (self._compressor.compress(message) + self._compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(END)

    def message(self, message: bytes) -> bytes:
        return frame(self.payload(message), bits=RSV1)


def final_block(message: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(message) + compressor.flush()


@pytest.mark.parametrize(
    "offer, expected",
    [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ('Permessage-Deflate;client_max_window_bits="10"', WINDOW.format(10)),
        (EVERYTHING, EVERYTHING),
        ("x-webkit-deflate-frame, permessage-deflate, permessage-bzip2", "permessage-deflate"),
        (f"permessage-deflate; window=9, {NO_CONTEXT}, permessage-deflate", NO_CONTEXT),
        ("", None),
        ("permessage-bzip2", None),
        ("permessage-deflate; window=9", None),
        (f"{NO_CONTEXT}=1", None),
        (f"{NO_CONTEXT}; client_no_context_takeover", None),
        ("permessage-deflate; server_max_window_bits", None),
        *((WINDOW.format(bits), None) for bits in ("7", "16", "09", "+9", "9.0", "", "x")),
    ],
)
def test_it_accepts_the_first_valid_offer(offer: str, expected: str | None):
    assert answer(opened(offer)) == expected


def test_it_accepts_no_offer_on_pages():
    assert answer(opened(path=FLEET)) is None


def test_it_accepts_no_offer_if_the_setting_is_off():
    protocol = accepted(connecting(EVERYTHING), enabled=False)
    receive(protocol, frame(b"a"))
    assert (answer(protocol), protocol.received) == (None, ["a"])
    receive(protocol, Compressor().message(b"b"))
    assert (protocol.localCloseCode, protocol.received) == (1002, ["a"])


messages = st.text(max_size=300) | st.sampled_from(["", '{"frame_index":1}', "a" * 70_000, "ab" * 200])
sent = st.tuples(messages, st.sampled_from(["plain", "whole", "fragments"]))


@settings(max_examples=60)
@given(st.lists(sent, max_size=6), st.integers(9, 15), st.booleans(), st.sampled_from([1, 10, 1000, 10**6]), st.data())
def test_it_delivers_what_was_sent(parts: list, bits: int, keeps_context: bool, size: int, data: st.DataObject):
    protocol = opened(WINDOW.format(bits) + ("" if keeps_context else "; client_no_context_takeover"))
    protocol._budget = Budget(10**12, 10**12)
    compressor, stream = Compressor(bits, keeps_context), b""
    for text, kind in parts:
        if kind == "plain":
            stream += frame(text.encode()) + frame(b"?", Opcode.PING)
        else:
            payload = compressor.payload(text.encode())
            places = st.lists(st.integers(0, len(payload)), max_size=3) if kind == "fragments" else st.just([])
            stream += fragments(payload, data.draw(places))
    receive(protocol, stream, size)
    assert protocol.received == [text for text, _ in parts]
    assert protocol.localCloseCode is None


@pytest.mark.parametrize("size", [1, 1000])
def test_it_accepts_messages_that_end_with_a_final_block(size: int):
    """Some compressors cannot flush in another way (RFC 7692, 7.2.3.4)."""
    protocol = opened()
    once = frame(final_block(b"hello") + b"\0", bits=RSV1) + frame(final_block(b"hello"), bits=RSV1)
    receive(protocol, once * 2 + Compressor().message(b"world"), size)
    assert protocol.received == ["hello"] * 4 + ["world"]


def test_it_delivers_binary_messages_as_bytes():
    protocol = opened()
    receive(protocol, frame(Compressor().payload(b"\xff"), Opcode.BINARY, bits=RSV1))
    assert protocol.received == [b"\xff"]


def test_it_makes_a_decompressor_at_the_first_compressed_message():
    protocol = opened()
    receive(protocol, frame(b"a") * 3)
    assert protocol._inflater._decompressor is None
    receive(protocol, Compressor().message(b"b"))
    assert protocol._inflater._decompressor is not None


def test_it_keeps_no_decompressor_for_a_client_without_context():
    protocol = opened(NO_CONTEXT)
    receive(protocol, Compressor(keeps_context=False).message(b"b"))
    assert (protocol.received, protocol._inflater._decompressor) == (["b"], None)


@pytest.mark.parametrize("size", [200, 70_000])
def test_it_sends_without_compression(size: int):
    protocol = opened()
    protocol.serverSend("x" * size)
    assert protocol.transport.written.endswith(Frame(Opcode.TEXT, b"x" * size).serialize(mask=False))


ZEROS = zlib.compressobj(9, zlib.DEFLATED, -15)
MIB = ZEROS.compress(bytes(2**20)) + ZEROS.flush(zlib.Z_FULL_FLUSH)
HELLO = Compressor().payload(b"hello hello, hello?")
SECOND = [compressor.payload(b"hello hello, hello?") for compressor in [Compressor()] for _ in range(2)][1]
REFUSED = [
    pytest.param(frame(MIB * 50, Opcode.BINARY, bits=RSV1), 1009, id="50 MiB in 51 kB"),
    pytest.param(frame(MIB * 950, Opcode.BINARY, bits=RSV1), 1009, id="1 GB in 1 MB"),
    pytest.param(fragments(MIB * 50, [*range(500, 50_000, 500)], Opcode.BINARY), 1009, id="50 MiB in fragments"),
    pytest.param(frame(Compressor().payload(bytes(2**20 + 1)), Opcode.BINARY, bits=RSV1), 1009, id="1 MiB and a byte"),
    pytest.param(frame(b"\xff" * 20, bits=RSV1), 1007, id="no compressed data"),
    pytest.param(frame(SECOND, bits=RSV1), 1007, id="a message without the one before it"),
    pytest.param(frame(HELLO[:-2], bits=RSV1), 1007, id="a cut message"),
    pytest.param(fragments(HELLO[:-2], [4]), 1007, id="a cut message in fragments"),
    pytest.param(frame(Compressor().payload(b"\xff"), bits=RSV1), 1007, id="no UTF-8"),
    pytest.param(fragments(Compressor().payload(b"\xff"), [1]), 1007, id="no UTF-8 in fragments"),
    pytest.param(frame(final_block(b"hello") + b"\0more", bits=RSV1), 1007, id="data after a final block"),
    pytest.param(frame(final_block(b"") * 1000, bits=RSV1), 1007, id="a thousand final blocks"),
    pytest.param(frame(b"?", Opcode.PING, bits=RSV1), 1002, id="RSV1 on a ping"),
    pytest.param(frame(b"", Opcode.CLOSE, bits=RSV1), 1002, id="RSV1 on a close"),
    pytest.param(frame(b"a", fin=False) + frame(HELLO, Opcode.CONT, bits=RSV1), 1002, id="RSV1 on a continuation"),
    pytest.param(frame(HELLO, bits=RSV1 | RSV2), 1002, id="RSV2"),
]


@pytest.mark.parametrize("size", [100, 2**16])
@pytest.mark.parametrize("stream, code", REFUSED)
def test_it_closes_and_delivers_nothing_more(stream: bytes, code: int, size: int):
    protocol = opened()
    receive(protocol, stream + frame(b"later") + frame(HELLO, bits=RSV1), size)
    receive(protocol, frame(b"\x03\xe8", Opcode.CLOSE))
    protocol.clock.pump([0.1] * 30)
    assert (protocol.localCloseCode, protocol.received) == (code, [])
    assert protocol.state == protocol.STATE_CLOSED  # it has found the client's close


def test_it_uses_little_memory_for_a_bomb():
    protocol = opened()
    bomb = frame(MIB * 950, Opcode.BINARY, bits=RSV1)
    tracemalloc.start()
    receive(protocol, bomb, 2**16)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert protocol.localCloseCode == 1009
    assert most < 4 * 2**20


def test_a_bomb_spends_the_budget_of_its_robot():
    protocol = opened()
    receive(protocol, frame(MIB * 50, Opcode.BINARY, bits=RSV1))
    assert protocol._budget.wait_s(10_000) >= 0.003


def test_it_pauses_a_client_whose_messages_are_mostly_padding():
    """One message of 1 kB costs 3 ms of CPU to decompress; the budget is 10 ms a second."""
    protocol = opened()
    compressor = Compressor()
    receive(protocol, b"".join(compressor.message(b"1".ljust(10**6)) for _ in range(20)))
    assert (len(protocol.received), reads(protocol)) == (3, ["pauseProducing"])
    protocol.clock.pump([0.1] * 70)
    assert len(protocol.received) == 20


def test_it_pauses_no_client_that_compresses_well():
    protocol = opened()
    frames = b",".join(b'{"frame_index":%d,"observation":{"shoulder_pan.pos":1.5}}' % index for index in range(600))
    compressor = Compressor()
    receive(protocol, b"".join(compressor.message(b'{"frames":[%b]}' % frames) for _ in range(100)))
    assert (len(protocol.received), reads(protocol)) == (100, [])


def test_it_accepts_no_compressed_message_before_the_handshake_is_answered():
    """1 MiB of them would become 1 GB of early messages, and a client that keeps to the RFC sends none."""
    protocol = connecting("permessage-deflate")
    receive(protocol, frame(b"early") + Compressor().message(b"x" * 10**6))
    accepted(protocol)
    assert (protocol.localCloseCode, protocol.received) == (1002, ["early"])
