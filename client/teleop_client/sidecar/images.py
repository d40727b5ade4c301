"""Read Foxglove's messages RawImage and CompressedImage (protobuf) as images that a camera of the client takes."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy

COLOURS = {"rgb8": 3, "rgba8": 4, "mono8": 1, "8UC1": 1}  # by encoding, in bytes of a pixel
# Numbers of the fields, of RawImage.proto and CompressedImage.proto.
RAW_WIDTH, RAW_HEIGHT, RAW_ENCODING, RAW_STEP, RAW_DATA = 2, 3, 4, 5, 6
COMPRESSED_DATA, COMPRESSED_FORMAT = 2, 3

# Types of protobuf's wire format.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: struct.Struct("<Q"), _FIXED32: struct.Struct("<I")}

# Markers of JPEG: 0xC0 to 0xCF begin a frame header with the size, except these three.
_NO_FRAME = {0xC4, 0xC8, 0xCC}

Fields = dict[int, int | memoryview]


class JpegImage:
    """A picture in JPEG. The camera's thread decodes it, by numpy.asarray; the event loop would lose time with it."""

    dtype = numpy.dtype(numpy.uint8)

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.shape = (*_jpeg_size(data), 3)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        decoder = av.CodecContext.create("mjpeg", "r")
        for frame in decoder.decode(av.Packet(self.data)):
            return frame.to_ndarray(format="rgb24")
        raise ValueError("a JPEG contains no picture")


def raw_image(payload: memoryview) -> Any:
    """Return a RawImage as an array that shares the payload's memory. Raises ValueError."""
    message = fields(payload)
    width, height, step = (_number(message, each) for each in (RAW_WIDTH, RAW_HEIGHT, RAW_STEP))
    encoding, data = _text(message, RAW_ENCODING), _bytes(message, RAW_DATA)
    if (colours := COLOURS.get(encoding)) is None:
        raise ValueError(f"its encoding is {encoding[:20]!r}; {', '.join(COLOURS)} expected (depth is left out)")
    if step < width * colours or len(data) < step * height:
        raise ValueError(
            f"an image of {width}x{height} pixels {encoding} has rows of {step} bytes and {len(data)} bytes in all; "
            f"at least {width * colours} and {step * height} expected"
        )
    rows = numpy.frombuffer(data, numpy.uint8, step * height).reshape(height, step)[:, : width * colours]
    return rows.reshape(height, width) if colours == 1 else rows.reshape(height, width, colours)


def compressed_image(payload: memoryview) -> JpegImage:
    """Return a CompressedImage, which is not decoded yet. Raises ValueError."""
    message = fields(payload)
    if (name := _text(message, COMPRESSED_FORMAT)) != "jpeg":
        raise ValueError(f"its format is {name[:20]!r}; jpeg expected")
    return JpegImage(bytes(_bytes(message, COMPRESSED_DATA)))


def is_repeated(image: Any, before: Any) -> bool:
    """Return whether an image has the pixels of the one before: lerobot displays a camera's last picture again."""
    if type(image) is not type(before) or image.shape != before.shape:
        return False
    if isinstance(image, JpegImage):
        return bool(image.data == before.data)
    # A few rows first: a camera's noise makes nearly every new picture differ there.
    return numpy.array_equal(image[::64], before[::64]) and numpy.array_equal(image, before)


# By the names of the schemas.
DECODERS: dict[str, Callable[[memoryview], Any]] = {
    "foxglove.RawImage": raw_image,
    "foxglove.CompressedImage": compressed_image,
}


def fields(payload: memoryview) -> Fields:
    """Return the fields of a protobuf message by their numbers: integers, and bytes. Raises ValueError."""
    try:
        return dict(_fields(payload))
    except (IndexError, struct.error):
        raise ValueError(f"a message of {len(payload)} bytes is truncated, or no protobuf") from None


def _fields(payload: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    position = 0
    while position < len(payload):
        tag, position = _varint(payload, position)
        kind, value = tag & 7, 0
        if kind in _FIXED:
            (value,) = _FIXED[kind].unpack_from(payload, position)
            position += _FIXED[kind].size
            yield tag >> 3, value
        elif kind in (_VARINT, _BYTES):
            value, position = _varint(payload, position)
            if kind == _VARINT:
                yield tag >> 3, value
                continue
            if value > len(payload) - position:
                raise IndexError
            yield tag >> 3, payload[position : position + value]
            position += value
        else:
            raise IndexError


def _varint(payload: memoryview, position: int) -> tuple[int, int]:
    """Return the integer at this position, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = payload[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise IndexError


def _number(message: Fields, number: int) -> int:
    value = message.get(number, 0)  # protobuf leaves out fields with the default value
    return value if isinstance(value, int) else 0


def _bytes(message: Fields, number: int) -> memoryview:
    value = message.get(number)
    return value if isinstance(value, memoryview) else memoryview(b"")


def _text(message: Fields, number: int) -> str:
    return bytes(_bytes(message, number)).decode(errors="replace")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return the height and width of a JPEG from its header. Raises ValueError."""
    position = 2
    while data[:2] == b"\xff\xd8" and position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return height, width
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise ValueError(f"a picture of {len(data)} bytes is no JPEG, or is truncated")
