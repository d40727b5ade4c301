"""Find NaN and Infinity in a message, as Python's json.dumps writes them. No Django, no I/O."""

import re

from teleop.protocol import MAX_MARKING_WORK

# Each constant becomes a string with a NUL, because such a string is refused wherever it stands.
MARKS = {f"\0{name}": name for name in ("NaN", "Infinity", "-Infinity")}
# A string, which may be cut off, or a constant outside of strings. Each repeat ends in one way only, so the time is
# linear in the message's length. (Possessive repeats, which say so, match wrongly before Python 3.11.5.)
STRING_OR_CONSTANT = re.compile(rb""""[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|(NaN|-?Infinity)""", re.DOTALL)


def has_constant(message: bytes | str) -> bool:
    """Return True if NaN or Infinity stands anywhere in the message, in a text too."""
    if isinstance(message, str):
        return "NaN" in message or "Infinity" in message
    return b"NaN" in message or b"Infinity" in message


def with_marks(message: bytes | str) -> bytes | None:
    """Return the message with a mark in place of each constant; None if it has none, or too many to search it."""
    data = message if isinstance(message, bytes) else message.encode(errors="surrogatepass")
    constants = data.count(b"NaN") + data.count(b"Infinity")
    # A step for each string, sign, letter and escape, and eight for each constant.
    if not constants or sum(map(data.count, b'"\\-NI')) + 8 * constants > MAX_MARKING_WORK:
        return None
    return STRING_OR_CONSTANT.sub(_marked, data)


def _marked(match: re.Match[bytes]) -> bytes:
    constant = match[1]
    return b'"\\u0000%b"' % constant if constant else match[0]
