"""Hand-made mp4 files with headers that claim impossible contents."""

import struct

MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def claiming(tracks: int, pictures: int) -> bytes:
    """Return a file without any picture; each track claims `pictures` of them, of one byte each and in one chunk."""
    header = _full(b"mvhd", _u32(0, 0, 1000, pictures, 0x10000, 0x1000000, 0, 0), MATRIX, bytes(24), _u32(tracks + 1))
    claims = [_track(number, pictures) for number in range(1, tracks + 1)]
    return _box(b"ftyp", b"isom", _u32(512), b"isomiso2") + _box(b"moov", header, *claims)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, _u32(flags), *parts)


def _u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _track(number: int, pictures: int) -> bytes:
    size = struct.pack(">HH", 64, 48)
    entry = _box(
        b"mp4v", bytes(7), b"\1", bytes(16), size, _u32(0x480000, 0x480000, 0), b"\0\1", bytes(32), b"\0\x18\xff\xff"
    )
    table = _box(
        b"stbl",
        _full(b"stsd", _u32(1), entry),
        _full(b"stts", _u32(1, pictures, 1)),
        _full(b"stsc", _u32(1, 1, pictures, 1)),
        _full(b"stsz", _u32(1, pictures)),
        _full(b"stco", _u32(1, 8)),
    )
    where = _box(b"dinf", _full(b"dref", _u32(1), _full(b"url ", flags=1)))
    media = _box(
        b"mdia",
        _full(b"mdhd", _u32(0, 0, 1000, pictures, 0x55C40000)),
        _full(b"hdlr", _u32(0), b"vide", bytes(13)),
        _box(b"minf", _full(b"vmhd", bytes(8), flags=1), where, table),
    )
    head = _full(b"tkhd", _u32(0, 0, number, 0, pictures, 0, 0, 0, 0), MATRIX, _u32(64 << 16, 48 << 16), flags=3)
    return _box(b"trak", head, media)
