import re

RANGE = re.compile(r"\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*")


class BadRange(Exception):
    """A Range header that names no bytes of this file."""


def parse_range(header: str, size: int) -> range | None:
    """Return the requested range of `size` bytes, or None for all of them; raises BadRange.

    Another unit, and several ranges at once, are answered with the whole file, as RFC 9110 allows.
    """
    unit, _, asked = header.partition("=")
    if unit.strip().lower() != "bytes" or "," in asked:
        return None
    match = RANGE.fullmatch(asked)
    if not match or match.groups() == ("", ""):
        raise BadRange(f"Range is {header[:60]}; bytes=FIRST-LAST, bytes=FIRST- or bytes=-COUNT expected")
    first, last = match.groups()
    if first:
        found = range(int(first), min(int(last) + 1, size) if last else size)
    else:
        found = range(max(size - int(last), 0), size)
    if not found:
        raise BadRange(f"Range is {header[:60]}; bytes from 0 to {size - 1} expected")
    return found
