"""Read the structure of H.264 as mp4 stores it: NAL units with their length before them, and `avcC` (ISO 14496-15).

A decoder needs the parameter sets (SPS and PPS) that a picture names by number. `avcC` lists them, and it may list
those of several encoders if their numbers differ.
"""

from collections.abc import Iterable, Iterator

IDR, SPS, PPS, DELIMITER = 5, 7, 8, 9
LENGTH_BYTES = 4
START_CODE = b"\0\0\0\1"
EXTENDED_PROFILES = (100, 110, 122, 144)  # they say the chroma format and bit depths again
EXTENSION = bytes([0xFC | 1, 0xF8, 0xF8, 0])  # 4:2:0, 8 bits


def kind_of(unit: bytes) -> int:
    return unit[0] & 0x1F


def units_of(data: bytes) -> Iterator[bytes]:
    """Yield the NAL units of a packet; raises ValueError if the lengths do not add up."""
    at = 0
    while at < len(data):
        begin = at + LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "big")
        if not begin < at <= len(data):
            raise ValueError("the lengths of NAL units do not add up")
        yield data[begin:at]


def is_independent(packet: bytes, avcc: bytes) -> bool:
    """Check that no later picture refers to one before this (IDR), and that it brings no other parameter sets."""
    sets = parameter_sets(avcc)
    if sets is None:
        return False
    try:
        units = list(units_of(packet))
    except ValueError:
        return False
    return any(kind_of(unit) == IDR for unit in units) and all(
        unit in sets for unit in units if kind_of(unit) in (SPS, PPS)
    )


def parameter_sets(avcc: bytes) -> tuple[bytes, ...] | None:
    """Return SPS and PPS of an `avcC` in their order; None if it is none, or if lengths do not take 4 bytes."""
    if len(avcc) < 7 or avcc[0] != 1 or avcc[4] & 3 != LENGTH_BYTES - 1:
        return None
    at, found = 5, []
    for mask in (0x1F, 0xFF):
        count, at = avcc[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(avcc[at : at + 2], "big")
            found.append(avcc[at + 2 : at + 2 + size])
            at += 2 + size
    return tuple(found)


def make_avcc(sets: tuple[bytes, ...]) -> bytes:
    """Return the `avcC` of these parameter sets. Its profile and level are the highest of theirs."""
    sps = [each for each in sets if kind_of(each) == SPS]
    pps = [each for each in sets if kind_of(each) == PPS]
    profile, level = max(each[1] for each in sps), max(each[3] for each in sps)
    constraints = 0xFF
    for each in sps:
        constraints &= each[2]
    head = bytes([1, profile, constraints, level, 0xFC | LENGTH_BYTES - 1])
    lists = bytes([0xE0 | len(sps)]) + _listed(sps) + bytes([len(pps)]) + _listed(pps)
    return head + lists + (EXTENSION if profile in EXTENDED_PROFILES else b"")


def _listed(sets: list[bytes]) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in sets)


def units_of_annex_b(data: bytes) -> tuple[bytes, ...]:
    """Return the NAL units of an encoder's header, which has a start code before each."""
    return tuple(unit.rstrip(b"\0") for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit)


def with_lengths(units: Iterable[bytes]) -> bytes:
    """Return the packet of these NAL units."""
    return b"".join(len(unit).to_bytes(LENGTH_BYTES, "big") + unit for unit in units)


def with_start_codes(units: Iterable[bytes]) -> bytes:
    """Return the packet of these NAL units in Annex B form."""
    return b"".join(START_CODE + unit for unit in units)


def number_of(unit: bytes) -> tuple[int, int]:
    """Return the kind of a parameter set, and the number by which pictures or PPS name it."""
    bits = "".join(f"{byte:08b}" for byte in unit[4 if kind_of(unit) == SPS else 1 :][:8])
    zeros = bits.index("1")
    return kind_of(unit), int(bits[zeros : 2 * zeros + 1], 2) - 1  # an Exp-Golomb code
