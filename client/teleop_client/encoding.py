"""Encode for the wire: the address, a frame's JSON, and the messages made of frames. Pure."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

MAX_MESSAGE_BYTES = 1 << 20
MAX_FRAME_BYTES = 64 << 10
MAX_BATCH_FRAMES = 600
MAX_FPS = 1000
SUBPROTOCOL = "teleop.v1"

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_ROBOT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SESSION = re.compile(r"[A-Za-z0-9_-]{8,64}")
_YEAR_2000, _YEAR_2100 = 946684800.0, 4102444800.0
# Keys that would give a frame another meaning on the wire.
_RESERVED = {"frame_index", "frames"}
# LeRobot's keys, which stand for an observation or an action: `observation.state`.
_FLAT = ("observation.", "action.")


def websocket_url(url: str, robot_id: str, session: str) -> str:
    """Return the address of a robot's session at `url` (ws, wss, http or https; a path is kept as prefix)."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"url is {url!r}; ws://host:port or http://host:port expected")
    if not _ROBOT_ID.fullmatch(robot_id):
        raise ValueError(f"robot_id is {robot_id!r}; {_ROBOT_ID.pattern} expected")
    if not _SESSION.fullmatch(session):
        raise ValueError(f"session is {session!r}; {_SESSION.pattern} expected")
    path = f"{parts.path.rstrip('/')}/ws/log/{quote(robot_id)}"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, f"session={session}", ""))


def key_header(key: str | None) -> dict[str, str] | None:
    """Return the robot's key as a header. A line break, as at the end of a file, is refused here, not by a proxy."""
    if key and not re.fullmatch(r"[!-~]+", key):
        raise ValueError("key has blanks, line breaks or non-ASCII characters")
    return {"Authorization": f"Bearer {key}"} if key else None


def _plain(value: Any) -> Any:
    """Convert numpy and torch values to Python's own, without importing either."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"{type(value).__name__} is not JSON")
    if getattr(value, "nbytes", 0) > MAX_FRAME_BYTES:
        # Converting an image to a list, which is refused anyway, would take longer than the robot's 16.7 ms.
        raise ValueError(f"array of {value.nbytes} bytes; images are uploaded as video")
    return value.tolist()


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain).encode


def _culprit(value: Any, path: str) -> str | None:
    """Return path and value of the first leaf that JSON cannot carry; called only after encoding has failed."""
    if isinstance(value, dict):
        found = (_culprit(v, f"{path}.{k}" if path else str(k)) for k, v in value.items())
    elif isinstance(value, (list, tuple)):
        found = (_culprit(v, f"{path}[{i}]") for i, v in enumerate(value))
    else:
        try:
            _encode(value).encode()
        except (TypeError, ValueError) as error:
            shown = repr(value) if isinstance(value, (float, str)) else type(value).__name__
            return f"{path} is {shown}; {error}"
        return None
    return next(filter(None, found), None)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or hasattr(value, "tolist")


def encode_object(value: dict[str, Any]) -> bytes:
    """Return compact JSON. Raises ValueError with the key of a value that JSON cannot carry (NaN, infinity, object)."""
    try:
        return _encode(value).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(_culprit(value, "") or str(error)) from None


def encode_data(observation: Any, action: Any, timestamp: float, extra: dict[str, Any]) -> bytes:
    """Return a frame without its index: `"timestamp":...,"observation":...}`. Raises ValueError if not storable."""
    if not (math.isfinite(timestamp) and _YEAR_2000 <= timestamp < _YEAR_2100):
        raise ValueError(f"timestamp is {timestamp}; unix seconds between 2000 and 2100 expected")
    if reserved := _RESERVED & extra.keys():
        raise ValueError(f"{min(reserved)} cannot be a frame's own key")
    data = {k: v for k, v in (("observation", observation), ("action", action)) if v is not None}
    flat = [key for key in extra if key.startswith(_FLAT)]
    if not data and not flat:
        raise ValueError("a frame needs an observation or an action")
    for name, value in data.items():
        if other := next((key for key in flat if key.startswith(f"{name}.")), None):
            raise ValueError(f"{name} and {other} are both in the frame; one of the two expected")
        if not (isinstance(value, dict) or (name == "action" and _is_list(value))):
            expected = "dict or list of numbers" if name == "action" else "dict"
            raise ValueError(f"{name} is {type(value).__name__}; {expected} expected")
    encoded = encode_object(data | extra)
    if len(encoded) > MAX_FRAME_BYTES:
        raise ValueError(f"frame is {len(encoded)} bytes; at most {MAX_FRAME_BYTES} expected")
    return b'"timestamp":%s,%s' % (repr(float(timestamp)).encode(), encoded[1:])


def control_message(kind: str, meta_info: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """Return a `start` or `end`. Raises ValueError if meta_info is over 64 KiB or no JSON."""
    if len(encode_object(meta_info or {})) > MAX_FRAME_BYTES:
        raise ValueError(f"meta_info is over {MAX_FRAME_BYTES} bytes")
    return encode_object({"type": kind} | fields | ({"meta_info": meta_info} if meta_info else {}))


def start_message(fps: int, meta_info: dict[str, Any] | None) -> bytes:
    if not 1 <= fps <= MAX_FPS:
        # The server would refuse this fps, and assume 60 FPS for the session.
        raise ValueError(f"fps is {fps}; 1 to {MAX_FPS} expected")
    return control_message("start", meta_info, fps=fps)


def frame_message(index: int, data: bytes) -> bytes:
    return b'{"frame_index":%d,%s' % (index, data)


def batch_message(frames: Iterable[bytes]) -> bytes:
    return b'{"frames":[%s]}' % b",".join(frames)
