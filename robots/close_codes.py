"""Close codes of the two WebSocket protocols (docs/protocol.md, docs/live.md). Codes are only added, never removed."""

from enum import IntEnum


class Close(IntEnum):
    """Close codes for robots."""

    ENDED = 1000
    INVALID_UTF8 = 1007
    MESSAGE_TOO_BIG = 1009
    RESTARTING = 1012
    OVERLOADED = 1013
    UNUSABLE = 4400
    KEY_REVOKED = 4401
    DISCONNECTED = 4403
    TAKEN_OVER = 4409
    DISABLED = 4410


class WatchClose(IntEnum):
    """Close codes for watchers (docs/live.md)."""

    RESTARTING = 1012
    OVERLOADED = 1013
    NOT_NEXT = 4400
    LOGGED_OUT = 4401
    UNKNOWN_ROBOT = 4404
