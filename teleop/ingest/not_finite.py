"""Find NaN and Infinity in a message, as Python's json.dumps writes them. No Django, no I/O."""

import re

from teleop.protocol import MAX_MARKING_WORK

# Each constant becomes a string with a NUL, because such a string is refused wherever it stands.
MARKS = {f"\0{name}": name for name in ("NaN", "Infinity", "-Infinity")}
# The next constant with all that precedes it. The pattern matches at any position and no repeat backtracks, so the time
# is linear in the message's length.
NEXT_CONSTANT = re.compile(
    rb"""((?:[^"NI-]++|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|(?!NaN|-?Infinity)[NI-])*+)(NaN|-?Infinity|\Z)""",
    re.DOTALL,
)


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
    return NEXT_CONSTANT.sub(_marked, data)


def _marked(match: re.Match[bytes]) -> bytes:
    before, constant = match.groups()
    return before + b'"\\u0000%b"' % constant if constant else before
