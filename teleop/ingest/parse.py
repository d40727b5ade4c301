"""Parse bytes into a frozen value, or raise Refusal on bad input. No Django, no I/O."""

from typing import Any, NamedTuple

import orjson

from teleop.protocol import (
    DEFAULT_FPS,
    MAX_BATCH_FRAMES,
    MAX_DATA_BYTES,
    MAX_FPS,
    MAX_FRAME_INDEX,
    MAX_FRAME_NAMES,
    MAX_TIMESTAMP,
    MIN_FPS,
    MIN_TIMESTAMP,
    Code,
)

LEAST_NAME_BYTES = 4  # `"":0` in a list of objects, without its braces


class Frame(NamedTuple):
    """One moment: `timestamp_us` is unix microseconds, `data` the rest of the frame as compact UTF-8 JSON."""

    frame_index: int
    timestamp_us: int
    data: bytes


class Start(NamedTuple):
    fps: int
    meta_info: dict[str, Any]


class End(NamedTuple):
    meta_info: dict[str, Any]


class Refusal(Exception):
    """Error for refused input: the code; field, value and bound in words; the frame's index where it is known."""

    def __init__(self, code: Code, detail: str, frame_index: int | None = None):
        super().__init__(code, detail, frame_index)
        self.code = code
        self.detail = detail
        self.frame_index = frame_index


# A frame, or the frames of a batch with a Refusal in the place of each bad one, or a control message.
Message = Frame | list[Frame | Refusal] | Start | End


def parse(message: bytes | str) -> Message:
    """Parse one WebSocket message; raise Refusal if no part of it can be used."""
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise Refusal(Code.INVALID_MESSAGE, f"message is not JSON: {error}") from None
    if type(value) is not dict:
        raise Refusal(Code.INVALID_MESSAGE, f"message is {_named(value)}; an object expected")
    if "type" in value and "frame_index" not in value:
        return _control(value)
    if "frames" in value and "frame_index" not in value:
        return _batch(value["frames"])
    return _frame(value)


def _frame(value: dict[str, Any]) -> Frame:
    index = value.pop("frame_index", None)
    if type(index) is not int or not 0 <= index <= MAX_FRAME_INDEX:
        raise Refusal(Code.INVALID_FRAME, f"frame_index is {_named(index)}; an integer from 0 to 2^31-1 expected")
    timestamp = value.pop("timestamp", None)
    if type(timestamp) not in (float, int) or not MIN_TIMESTAMP <= timestamp < MAX_TIMESTAMP:
        detail = f"timestamp is {_named(timestamp)}; unix seconds between 2000 and 2100 expected"
        raise Refusal(Code.INVALID_FRAME, detail, index)
    for name in ("observation", "action"):
        if name in value and type(value[name]) is not dict:
            raise Refusal(Code.INVALID_FRAME, f"{name} is {_named(value[name])}; an object expected", index)
    if "observation" not in value and "action" not in value:
        raise Refusal(Code.INVALID_FRAME, "observation and action are missing; one of them expected", index)
    try:
        # A copy: orjson's bytes keep the 4 KB buffer of the write, and a frame may wait for the database for minutes.
        data = bytes(memoryview(orjson.dumps(value)))
    except orjson.JSONEncodeError as error:
        raise Refusal(Code.INVALID_FRAME, f"the frame is nested too deep: {error}", index) from None
    if len(data) > MAX_DATA_BYTES:
        detail = f"the frame is {len(data)} bytes as compact JSON; at most {MAX_DATA_BYTES} expected"
        raise Refusal(Code.FRAME_TOO_LARGE, detail, index)
    # Each name is followed by `":`: the names themselves are counted only if there may be too many.
    may_have_too_many = len(data) > MAX_FRAME_NAMES * LEAST_NAME_BYTES and data.count(b'":') > MAX_FRAME_NAMES
    if may_have_too_many and (names := _count_names(value)) > MAX_FRAME_NAMES:
        detail = f"the frame has {names} names; at most {MAX_FRAME_NAMES} expected"
        raise Refusal(Code.INVALID_FRAME, detail, index)
    if b"\\u0000" in data and _has_nul(value):
        raise Refusal(Code.INVALID_FRAME, "the frame holds a NUL character, which no database stores", index)
    return Frame(index, round(timestamp * 1_000_000), data)


def _batch(frames: Any) -> list[Frame | Refusal]:
    if type(frames) is not list:
        raise Refusal(Code.INVALID_MESSAGE, f"frames is {_named(frames)}; a list of frames expected")
    if not 1 <= len(frames) <= MAX_BATCH_FRAMES:
        detail = f"frames holds {len(frames)} frames; 1 to {MAX_BATCH_FRAMES} expected"
        raise Refusal(Code.INVALID_MESSAGE, detail)
    parsed: list[Frame | Refusal] = []
    for position, value in enumerate(frames):
        try:
            if type(value) is not dict:
                raise Refusal(Code.INVALID_FRAME, f"the frame is {_named(value)}; an object expected")
            parsed.append(_frame(value))
        except Refusal as refusal:
            refusal.detail = f"frames[{position}]: {refusal.detail}"
            parsed.append(refusal)
    return parsed


def _control(value: dict[str, Any]) -> Start | End:
    match value["type"]:
        case "start":
            fps = value.get("fps", DEFAULT_FPS)
            if type(fps) not in (int, float) or not MIN_FPS <= fps <= MAX_FPS or fps != int(fps):
                detail = f"fps is {_named(fps)}; a whole number from {MIN_FPS} to {MAX_FPS} expected"
                raise Refusal(Code.INVALID_START, detail)
            return Start(int(fps), _meta_info(value, Code.INVALID_START))
        case "end":
            return End(_meta_info(value, Code.INVALID_END))
        case other:
            raise Refusal(Code.INVALID_MESSAGE, f"type is {_named(other)}; start or end expected")


def _meta_info(value: dict[str, Any], code: Code) -> dict[str, Any]:
    meta_info = value.get("meta_info")
    if meta_info is None:
        return {}
    if type(meta_info) is not dict:
        raise Refusal(code, f"meta_info is {_named(meta_info)}; an object expected")
    try:
        size = len(orjson.dumps(meta_info))
    except orjson.JSONEncodeError as error:
        raise Refusal(code, f"meta_info is nested too deep: {error}") from None
    if size > MAX_DATA_BYTES:
        raise Refusal(code, f"meta_info is {size} bytes as compact JSON; at most {MAX_DATA_BYTES} expected")
    if _has_nul(meta_info):
        raise Refusal(code, "meta_info holds a NUL character, which no database stores")
    return meta_info


def _count_names(value: Any) -> int:
    """Count the keys with a value other than an object that has names itself; a list is one name."""
    count = 0
    pending = [value]
    while pending:
        match pending.pop():
            case dict() as mapping if mapping:
                for part in mapping.values():
                    count += type(part) is not dict or not part
                    pending.append(part)
            case list() as items:
                pending.extend(items)
    return count


def _has_nul(value: Any) -> bool:
    """Search the value itself for NUL: `\\u0000` in its JSON may also be a backslash that was escaped."""
    pending = [value]
    while pending:
        match pending.pop():
            case str() as text if "\0" in text:
                return True
            case dict() as mapping:
                pending.extend(mapping.keys())
                pending.extend(mapping.values())
            case list() as items:
                pending.extend(items)
    return False


def _named(value: Any) -> str:
    """Return the name of a value for an error message: its kind, or its short JSON."""
    match value:
        case None:
            return "null or missing"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            text = orjson.dumps(value).decode()
            return text if len(text) <= 40 else text[:37] + "..."
