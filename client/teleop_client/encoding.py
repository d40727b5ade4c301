"""Encode for the wire: the address, a frame's JSON, and the messages made of frames. Pure."""

import contextlib
import json
import math
import re
from collections.abc import Iterable
from functools import lru_cache
from operator import add
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from .values import MAX_NAMES, Cleaner, scalar

MAX_MESSAGE_BYTES = 1 << 20
MAX_FRAME_BYTES = 64 << 10
MAX_BATCH_FRAMES = 600
MAX_DETAIL_BYTES = 4 << 10
MAX_FPS = 1000
SUBPROTOCOL = "teleop.v1"

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
ROBOT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SESSION = re.compile(r"[A-Za-z0-9_-]{8,64}")
_YEAR_2000, _YEAR_2100 = 946684800.0, 4102444800.0
# Keys that would give a frame another meaning on the wire.
_RESERVED = {"frame_index", "frames"}
# LeRobot's keys, which stand for an observation or an action: `observation.state`.
_FLAT = ("observation.", "action.")
# The parts of a frame, the types of each, and these in words.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "observation": ((dict,), "dict"),
    "action": ((dict, list), "dict or list of numbers"),
}


def preview_url(url: str, robot_id: str) -> str:
    """Return the address of a robot's previews at `url`."""
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/ws/preview/{quote(robot_id)}"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, "", ""))


def websocket_url(url: str, robot_id: str, session: str) -> str:
    """Return the address of a robot's session at `url` (ws, wss, http or https; a path is kept as prefix)."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"url is {url!r}; ws://host:port or http://host:port expected")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url has a user or a password; give the robot's key as `key`")
    if not ROBOT_ID.fullmatch(robot_id):
        raise ValueError(f"robot_id is {robot_id!r}; {ROBOT_ID.pattern} expected")
    if not SESSION.fullmatch(session):
        raise ValueError(f"session is {session!r}; {SESSION.pattern} expected")
    path = f"{parts.path.rstrip('/')}/ws/log/{quote(robot_id)}"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, f"session={session}", ""))


def key_header(key: str | None) -> dict[str, str] | None:
    """Return the robot's key as a header. A line break, as at the end of a file, is refused here, not by a proxy."""
    if key and not re.fullmatch(r"[!-~]+", key):
        raise ValueError("key has blanks, line breaks or non-ASCII characters")
    return {"Authorization": f"Bearer {key}"} if key else None


# Cleaner bounds the levels, so a search for circles would be in vain.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False).encode


class EncodedFrame(NamedTuple):
    """A frame without its index and time, `"observation":...}`, or None if nothing of it can be stored.

    `time_s` is the time that the program gave, in unix seconds, or None. `joints` maps `observation` and `action` to
    the names of their values. `faults` is that of Cleaner.
    """

    data: bytes | None
    time_s: float | None
    joints: dict[str, list[str]]
    faults: dict[str, tuple[str, str]]


def encode_frame(observation: Any, action: Any, timestamp: Any, extra: dict[str, Any]) -> EncodedFrame:
    """Encode all values that the server can store. A timestamp that is invalid is noted, and left out."""
    parts = {name: part for name, part in (("observation", observation), ("action", action)) if part is not None}
    time_s = None if timestamp is None else unix_seconds(timestamp)
    if not extra and (time_s is not None or timestamp is None) and (encoded := _encode_plain(parts)):
        return EncodedFrame(encoded[1:], time_s, {name: list(part) for name, part in parts.items()}, {})
    cleaner = Cleaner()
    data = cleaner.object(parts | extra)
    joints = _check_parts(data, cleaner)
    if time_s is None and timestamp is not None:
        shown = repr(timestamp) if type(timestamp) is float else type(timestamp).__name__
        cleaner.note("timestamp", "time", f"is {shown}; unix seconds between 2000 and 2100 expected")
    encoded = _encode_to_fit(data, cleaner)
    if any(name in _KINDS or name.startswith(_FLAT) for name in data):
        return EncodedFrame(encoded[1:], time_s, joints, cleaner.faults)
    cleaner.note("frame", "empty", "needs an observation or an action")
    return EncodedFrame(None, time_s, joints, cleaner.faults)


def _encode_plain(parts: dict[str, Any]) -> bytes | None:
    """Return the JSON of a frame that has only floats, as almost all; None if a closer look is necessary."""
    texts = []
    for name, part in parts.items():
        if (text := _encode_floats(part)) is None:
            return None
        texts.append(f'"{name}":{text}')
    encoded = f"{{{','.join(texts)}}}".encode()
    return encoded if texts and len(encoded) <= MAX_FRAME_BYTES else None


def _encode_floats(part: Any) -> str | None:
    """Return the JSON of a dict of finite floats, of Python or numpy, in half the time of the json module."""
    if type(part) is not dict or len(part) > MAX_NAMES // 2 or not {str}.issuperset(map(type, part)):
        return None
    numbers = list(part.values())
    if not {float}.issuperset(map(type, numbers)):
        numbers = [value if type(value) is float else scalar(value) for value in numbers]
    if None in numbers or not all(map(math.isfinite, numbers)) or (keys := _keys(tuple(part))) is None:
        return None
    return f"{{{','.join(map(add, keys, map(repr, numbers)))}}}"


@lru_cache(maxsize=64)
def _keys(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return names as the keys of a JSON object, with colons; None if one has characters that need a closer look."""
    return tuple(f"{_encode(name)}:" for name in names) if all(map(str.isprintable, names)) else None


def unix_seconds(value: Any) -> float | None:
    """Return a time that the server accepts, from 2000 to 2100, or None."""
    try:
        seconds = math.nan if isinstance(value, (str, bytes)) else float(value)
    except Exception:  # a method of the caller's object may raise anything
        return None
    return seconds if _YEAR_2000 <= seconds < _YEAR_2100 else None


def _check_parts(data: dict[str, Any], cleaner: Cleaner) -> dict[str, list[str]]:
    """Leave out the keys for which the server would refuse the frame; return the names of the joints."""
    joints: dict[str, list[str]] = {}
    for name in _RESERVED & data.keys():
        del data[name]
        cleaner.note(name, "key", "cannot be a frame's own key")
    for part, (kinds, expected) in _KINDS.items():
        if part in data and type(data[part]) not in kinds:
            cleaner.note(part, "type", f"is {type(data.pop(part)).__name__}; {expected} expected")
        values = {name: data[name] for name in data if name.startswith(f"{part}.")}
        if part in data:
            for name in values:
                del data[name]
                cleaner.note(name, "key", f"and {part} are both in the frame; one of the two expected")
            values = data[part] if type(data[part]) is dict else {part: data[part]}
        if part in data or values:
            joints[part] = [f"{name}[{len(value)}]" if type(value) is list else name for name, value in values.items()]
        if values is not data.get(part):
            for name in values:
                _check_vector(data, name, cleaner)
    return joints


def _check_vector(data: dict[str, Any], name: str, cleaner: Cleaner) -> None:
    """Write a list with null, which the server would refuse here, as an object: its columns have the same names."""
    value = data[name]
    if type(value) is not list or (len(value) <= MAX_NAMES and {float, int}.issuperset(map(type, value))):
        return
    if len(value) <= MAX_NAMES and cleaner.take_names(len(value)):
        data[name] = {str(place): item for place, item in enumerate(value)}
    else:
        del data[name]
        cleaner.note(name, "large", f"has {len(value)} elements; at most {MAX_NAMES} expected")


def _encode_to_fit(data: dict[str, Any], cleaner: Cleaner) -> bytes:
    """Return compact JSON of at most 64 KiB. The largest values are left out if it would be larger."""
    encoded = _encode(data).encode()
    if len(encoded) <= MAX_FRAME_BYTES:
        return encoded
    detail = f"is left out: the frame is {len(encoded)} bytes; at most {MAX_FRAME_BYTES} expected"
    places: list[tuple[dict[str, Any], str, str]] = []  # each value's object, its key there, and its dotted key
    for name, value in data.items():
        if name in _KINDS and type(value) is dict:
            places += [(value, key, f"{name}.{key}") for key in value]
        else:
            places.append((data, name, name))
    sizes = [len(_encode(holder[key]).encode()) for holder, key, _ in places]
    excess = len(encoded) - MAX_FRAME_BYTES
    for size, (holder, key, path) in sorted(zip(sizes, places, strict=True), key=lambda each: -each[0]):
        if excess > 0:
            del holder[key]
            cleaner.note(path, "size", detail)
            excess -= size
    return _encode(data).encode()


def encode_object(value: dict[str, Any]) -> bytes:
    """Return compact JSON. Raises ValueError with the key of a value that JSON cannot carry (NaN, infinity, object)."""
    cleaner = Cleaner(MAX_FRAME_BYTES, MAX_FRAME_BYTES)
    cleaned = cleaner.object(value)
    for _, detail in cleaner.faults.values():
        raise ValueError(detail)
    return _encode(cleaned).encode()


def control_message(kind: str, meta_info: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """Return a `start` or `end`. Raises ValueError if meta_info is over 64 KiB or no JSON."""
    if meta_info is not None and not isinstance(meta_info, dict):
        raise ValueError(f"meta_info is {type(meta_info).__name__}; dict expected")
    if len(encode_object(meta_info or {})) > MAX_FRAME_BYTES:
        raise ValueError(f"meta_info is over {MAX_FRAME_BYTES} bytes")
    return encode_object({"type": kind} | fields | ({"meta_info": meta_info} if meta_info else {}))


def start_message(fps: int, meta_info: dict[str, Any] | None) -> bytes:
    if isinstance(fps, bool) or not isinstance(fps, int) or not 1 <= fps <= MAX_FPS:
        # The server would refuse this fps, and assume 60 FPS for the session.
        raise ValueError(f"fps is {fps}; a whole number from 1 to {MAX_FPS} expected")
    return control_message("start", meta_info, fps=fps)


def merged_start(start: bytes, *earlier: str | None) -> bytes:
    """Return the `start` with the meta_info of earlier messages too; its own keys come last.

    A session that goes on had a `start` and perhaps an `end` which the server has not received yet.
    """
    messages = [json.loads(message) for message in (*earlier, start.decode()) if message]
    meta_info = {name: value for message in messages for name, value in message.get("meta_info", {}).items()}
    with contextlib.suppress(ValueError):  # together they may be too large
        return control_message("start", meta_info, fps=messages[-1]["fps"])
    return start


def check_detail(detail: dict[str, Any]) -> None:
    """Raise ValueError if an event's `detail` is over 4 KiB or no JSON."""
    if (size := len(encode_object(detail))) > MAX_DETAIL_BYTES:
        raise ValueError(f"detail is {size} bytes; at most {MAX_DETAIL_BYTES} expected")


def event_message(event_id: str, kind: str, time_s: float, detail: dict[str, Any]) -> bytes:
    fields = {"id": event_id, "kind": kind, "timestamp": round(time_s, 6), "detail": detail}
    return encode_object({"type": "event"} | fields)


def frame_message(index: int, time: bytes, data: bytes) -> bytes:
    """Return a frame; `time` is the text of its unix seconds."""
    return b'{"frame_index":%d,"timestamp":%b,%b' % (index, time, data)


def batch_message(frames: Iterable[bytes]) -> bytes:
    return b'{"frames":[%s]}' % b",".join(frames)
