"""Hand-made mp4 files: headers that claim impossible contents, and films that are rotated."""

import struct

MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


ROTATIONS = {  # by degrees clockwise: (a, b, c, d) of the matrix
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


def claiming(tracks: int, pictures: int, width=64, height=48, reference=b"") -> bytes:
    """Return a file without any picture; each track claims `pictures` of them, of one byte each and in one chunk.

    With `reference` (a URL) each track claims that its pictures are in that file.
    """
    header = _full(b"mvhd", _u32(0, 0, 1000, pictures, 0x10000, 0x1000000, 0, 0), MATRIX, bytes(24), _u32(tracks + 1))
    claims = [_track(number, pictures, width, height, reference) for number in range(1, tracks + 1)]
    return _box(b"ftyp", b"isom", _u32(512), b"isomiso2") + _box(b"moov", header, *claims)


def oversized(size: int) -> bytes:
    """Return the beginning of a file with an index (moov) of that size, in which pictures have sizes of their own.

    FFmpeg takes at most 67 million of them.
    """
    whole, count = claiming(1, 0), 60_000_000
    for kind in (b"stsz", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = whole.index(kind) - 4
        grown = struct.unpack_from(">I", whole, at)[0] + size
        whole = whole[:at] + struct.pack(">I", grown) + whole[at + 4 :]
    at = whole.index(b"stsz") + 8
    return whole[:at] + _u32(0, count)


def rotated(film: bytes, degrees: int) -> bytes:
    """Return the film with the display matrix of a camera that was turned."""
    a, b, c, d = (value * 0x10000 for value in ROTATIONS[degrees])
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    at = film.index(MATRIX, film.index(b"tkhd"))
    return film[:at] + turned + film[at + len(MATRIX) :]


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, _u32(flags), *parts)


def _u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _track(number: int, pictures: int, width: int, height: int, reference: bytes) -> bytes:
    size = struct.pack(">HH", width, height)
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
    where = _box(b"dinf", _full(b"dref", _u32(1), _full(b"url ", reference, flags=not reference)))
    media = _box(
        b"mdia",
        _full(b"mdhd", _u32(0, 0, 1000, pictures, 0x55C40000)),
        _full(b"hdlr", _u32(0), b"vide", bytes(13)),
        _box(b"minf", _full(b"vmhd", bytes(8), flags=1), where, table),
    )
    head = _full(b"tkhd", _u32(0, 0, number, 0, pictures, 0, 0, 0, 0), MATRIX, _u32(width << 16, height << 16), flags=3)
    return _box(b"trak", head, media)
