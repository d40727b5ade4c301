"""The format of a segment: MAGIC, then records of u32 length of the data, u32 number, u32 CRC-32 of both and the data.

The integers are little-endian. The last byte of MAGIC is the version of the format. The first records are the
checkpoint, and behind them is an empty record with the number CHECKPOINT_END.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from zlib import crc32

MAGIC = b"TELEOPS1"
MAX_DATA_BYTES = 2 << 20
HEADER_BYTES = 12
CHECKPOINT_END = (1 << 32) - 1

_PREFIX = struct.Struct("<II")
_HEADER = struct.Struct("<III")


class Position(NamedTuple):
    """The place of a record. A later record has a greater position."""

    segment: int
    offset: int


class Record(NamedTuple):
    position: Position
    number: int
    data: bytes


class Damaged(Exception):
    """The next bytes of a segment are no record."""


def encode(number: int, data: bytes) -> bytes:
    """Return the bytes of a record. `number` is a u32."""
    size = len(data)
    return _HEADER.pack(size, number, crc32(data, crc32(_PREFIX.pack(size, number)))) + data


def parse(file: BinaryIO, position: Position, size: int) -> Iterator[Record]:
    """Yield the records of a segment of `size` bytes from `position` on. Raise Damaged at other bytes, or OSError."""
    segment, offset = position
    if len(MAGIC) == offset < size and file.read(len(MAGIC)) != MAGIC:
        raise Damaged
    file.seek(offset)
    while offset < size:
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            raise Damaged
        length, number, crc = _HEADER.unpack(header)
        end = offset + HEADER_BYTES + length
        if length > MAX_DATA_BYTES or end > size:
            raise Damaged
        data = file.read(length)
        if crc32(data, crc32(header[: _PREFIX.size])) != crc:
            raise Damaged
        yield Record(Position(segment, offset), number, data)
        offset = end
