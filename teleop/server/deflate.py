"""permessage-deflate (RFC 7692) for messages from robots. The server sends its own messages without compression."""

import zlib
from collections.abc import Callable

from autobahn.exception import PayloadCorruptError, PayloadExceededError

from teleop.protocol import MAX_MESSAGE_BYTES

NAME = "permessage-deflate"
FLAG = frozenset([True])  # a parameter without a value
BITS = frozenset(str(bits) for bits in range(8, 16))
PARAMETERS = {
    "server_no_context_takeover": FLAG,
    "server_max_window_bits": BITS,
    "client_no_context_takeover": FLAG,
    "client_max_window_bits": BITS | FLAG,
}
USUAL_RATIO = 64  # an arm that stands still has 21 to 43
INFLATED_BYTE_US = 0.003  # of CPU
END = b"\x00\x00\xff\xff"  # the client leaves these bytes out at the end of each message
REST = frozenset((b"", b"\x00", END, b"\x00" + END))  # all that may follow a final block

Extensions = list[tuple[str, dict[str, list[str | bool]]]]
Charge = Callable[[float, str], None]


class Inflater:
    """Decompress the messages of one client, and charge for data that costs more than usual.

    autobahn calls the methods with its names, for messages in fragments or in several reads.
    """

    EXTENSION_NAME = NAME  # for autobahn's reasons of a close

    def __init__(self, window_bits: int, keeps_context: bool, charge: Charge) -> None:
        self._window_bits, self._keeps_context, self._charge = window_bits, keeps_context, charge
        self._decompressor = None  # 40 KB with 15 bits, so only a client that compresses has it
        self._unusual_bytes = 0
        self._has_failed = False

    def inflate(self, payload: bytes) -> bytes:
        """Return a whole message; PayloadCorruptError, or PayloadExceededError if it has over MAX_MESSAGE_BYTES."""
        self.start_decompress_message()
        message = self.decompress_message_data(payload, MAX_MESSAGE_BYTES)
        self.end_decompress_message()
        return message

    def start_decompress_message(self) -> None:
        self._unusual_bytes = 0
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(-self._window_bits)

    def decompress_message_data(self, data: bytes, max_output_len: int) -> bytes:
        """Return the next part of a message; PayloadExceededError if it has more than `max_output_len` bytes."""
        most = max(0, max_output_len)
        part = self._decompress(data, most + 1)
        if len(part) > most:
            self._fail()
            raise PayloadExceededError(f"a compressed message has over {MAX_MESSAGE_BYTES} bytes")
        self._unusual_bytes += len(part) - USUAL_RATIO * len(data)
        return part

    def end_decompress_message(self) -> None:
        if self._decompress(END, 1):
            self._fail()
            raise PayloadCorruptError("a compressed message is incomplete")
        if self._decompressor.eof or not self._keeps_context:
            self._decompressor = None
        if self._unusual_bytes > 0:
            self._charge(self._unusual_bytes * INFLATED_BYTE_US, "compressed")

    def _decompress(self, data: bytes, most: int) -> bytes:
        if self._has_failed:  # autobahn looks for the end of the message and for the client's close
            return b""
        try:
            part = self._decompressor.decompress(data, most)
        except zlib.error as error:
            self._fail()
            raise PayloadCorruptError(f"not valid compressed data: {error}") from None
        if self._decompressor.unused_data not in REST:
            self._fail()
            raise PayloadCorruptError("data follows the final block of a compressed message")
        return part

    def _fail(self) -> None:
        self._has_failed, self._unusual_bytes = True, 0
        self._charge(MAX_MESSAGE_BYTES * INFLATED_BYTE_US, "compressed")  # the amount before zlib's error is unknown


def accept(offers: Extensions, charge: Charge) -> tuple[dict[str, str], Inflater | None]:
    """Return the header that answers the first valid offer, and its Inflater; no header if there is no valid offer.

    The answer repeats the offer. So the client may keep its context and use the largest window, unless it offers less.
    `offers` is the client's header as autobahn has parsed it: the value of a parameter without a value is True.
    """
    for name, parameters in offers:
        if name == NAME and all(_is_valid(parameter, values) for parameter, values in parameters.items()):
            agreed = {parameter: value for parameter, [value] in parameters.items()}
            if agreed.get("client_max_window_bits") is True:  # in an answer it would need a value
                del agreed["client_max_window_bits"]
            answer = [NAME, *(key if value is True else f"{key}={value}" for key, value in agreed.items())]
            window_bits = int(agreed.get("client_max_window_bits", zlib.MAX_WBITS))
            inflater = Inflater(window_bits, "client_no_context_takeover" not in agreed, charge)
            return {"Sec-WebSocket-Extensions": "; ".join(answer)}, inflater
    return {}, None


def _is_valid(parameter: str, values: list[str | bool]) -> bool:
    return len(values) == 1 and values[0] in PARAMETERS.get(parameter, ())
