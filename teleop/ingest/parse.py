"""Parse bytes into a frozen value, or raise Refusal on bad input. No Django, no I/O."""

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from teleop.ingest.not_finite import MARKS, has_constant, with_marks
from teleop.protocol import (
    CAMERA_FAULTS,
    DEFAULT_FPS,
    EVENT_ID,
    MAX_BATCH_FRAMES,
    MAX_DATA_BYTES,
    MAX_EVENT_BYTES,
    MAX_FPS,
    MAX_FRAME_INDEX,
    MAX_FRAME_NAMES,
    MAX_NOTE,
    MAX_SKIPPED_FRAMES,
    MAX_TIMESTAMP,
    MIN_FPS,
    MIN_TIMESTAMP,
    Code,
)

LEAST_NAME_BYTES = 4  # `"":0` in a list of objects, without its braces
MAX_NAME_SHOWN = 100  # in the detail of an error
FLAT = ("observation.", "action.")  # LeRobot's keys (docs/protocol.md)


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


class Event(NamedTuple):
    """Report of the robot's program: `timestamp_us` is unix microseconds, `detail` an object as compact UTF-8 JSON."""

    event_id: str
    kind: str
    timestamp_us: int
    detail: bytes


class Refusal(Exception):
    """Error for refused input: the code; field, value and bound in words; the index or id of its frame or event."""

    def __init__(self, code: Code, detail: str, frame_index: int | None = None):
        super().__init__(code, detail, frame_index)
        self.code = code
        self.detail = detail
        self.frame_index = frame_index
        self.event_id: str | None = None


# The parts of a frame, and what each may be.
PARTS = (
    ("observation", (dict,), "an object"),
    ("action", (dict, list), "an object or a list of numbers"),
)

# A frame, or the frames of a batch with a Refusal in the place of each bad one, or a control message.
Message = Frame | list[Frame | Refusal] | Start | End | Event


def parse(message: bytes | str) -> Message:
    """Parse one WebSocket message; raise Refusal if no part of it can be used."""
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        return _parse_marked(message, f"message is not valid JSON: {error}")
    return _interpret(value)


def _parse_marked(message: bytes | str, detail: str) -> Message:
    """Parse a message that is not JSON; if NaN or Infinity are the only reason, refuse the frames that hold them."""
    if has_constant(message):
        detail += "; NaN and Infinity are not JSON"
    try:
        parsed = _interpret(orjson.loads(with_marks(message) or b""))
    except orjson.JSONDecodeError:
        raise Refusal(Code.INVALID_MESSAGE, detail) from None
    if type(parsed) is list and any(type(item) is Refusal for item in parsed):
        return parsed
    # The constant stands where no field is read, as in an unknown key of a batch.
    raise Refusal(Code.INVALID_MESSAGE, detail)


def _interpret(value: Any) -> Message:
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
    try:
        # A copy: orjson's bytes keep the 4 KB buffer of the write, and a frame may wait for the database for minutes.
        data = bytes(memoryview(orjson.dumps(value)))
    except orjson.JSONEncodeError as error:
        raise Refusal(Code.INVALID_FRAME, f"the frame is nested too deeply: {error}", index) from None
    if len(data) > MAX_DATA_BYTES:
        detail = f"the frame is {len(data)} bytes as compact JSON; at most {MAX_DATA_BYTES} expected"
        raise Refusal(Code.FRAME_TOO_LARGE, detail, index)
    objects = (type(value.get("observation")) is dict) + (type(value.get("action")) is dict)
    if objects == 0 or objects < len(value):  # otherwise the frame consists of these objects
        _check_parts(value, index)
    # Each name is followed by `":`: the names themselves are counted only if there may be too many.
    may_have_too_many = len(data) > MAX_FRAME_NAMES * LEAST_NAME_BYTES and data.count(b'":') > MAX_FRAME_NAMES
    if may_have_too_many and (names := _count_names(value)) > MAX_FRAME_NAMES:
        detail = f"the frame has {names} names; at most {MAX_FRAME_NAMES} expected"
        raise Refusal(Code.INVALID_FRAME, detail, index)
    if b"\\u0000" in data and (found := _find_nul(value)):
        raise Refusal(Code.INVALID_FRAME, _nul_detail("the frame", *found), index)
    return Frame(index, round(timestamp * 1_000_000), data)


def _check_parts(value: dict[str, Any], index: int) -> None:
    """Check that the frame has an observation or an action, each as one object or list, or as flat keys."""
    flat = [name for name in value if "." in name and name.startswith(FLAT)]
    for name, kinds, expected in PARTS:
        if name not in value:
            continue
        if type(value[name]) not in kinds:
            raise Refusal(Code.INVALID_FRAME, f"{name} is {_named(value[name])}; {expected} expected", index)
        if flat and (other := next((key for key in flat if key.startswith(f"{name}.")), None)):
            detail = f"{name} and {other[:MAX_NAME_SHOWN]} are both in the frame; one of the two expected"
            raise Refusal(Code.INVALID_FRAME, detail, index)
    if not flat and "observation" not in value and "action" not in value:
        raise Refusal(Code.INVALID_FRAME, "observation and action are missing; at least one of them expected", index)
    for name in ("action", *flat) if flat else ("action",):
        if type(value.get(name)) is list:
            _check_vector(name[:MAX_NAME_SHOWN], value[name], index)


def _check_vector(name: str, numbers: list[Any], index: int) -> None:
    if len(numbers) > MAX_FRAME_NAMES:
        detail = f"{name} contains {len(numbers)} numbers; at most {MAX_FRAME_NAMES} expected"
        raise Refusal(Code.INVALID_FRAME, detail, index)
    if not set(map(type, numbers)) <= {int, float}:
        place, other = next((at, number) for at, number in enumerate(numbers) if type(number) not in (int, float))
        raise Refusal(Code.INVALID_FRAME, f"{name}.{place} is {_named(other)}; a finite number expected", index)


def _batch(frames: Any) -> list[Frame | Refusal]:
    if type(frames) is not list:
        raise Refusal(Code.INVALID_MESSAGE, f"frames is {_named(frames)}; a list of frames expected")
    if not 1 <= len(frames) <= MAX_BATCH_FRAMES:
        detail = f"frames contains {len(frames)} frames; 1 to {MAX_BATCH_FRAMES} expected"
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


def _control(value: dict[str, Any]) -> Start | End | Event:
    match value["type"]:
        case "start":
            fps = value.get("fps", DEFAULT_FPS)
            if type(fps) not in (int, float) or not MIN_FPS <= fps <= MAX_FPS or fps != int(fps):
                detail = f"fps is {_named(fps)}; a whole number from {MIN_FPS} to {MAX_FPS} expected"
                raise Refusal(Code.INVALID_START, detail)
            return Start(int(fps), _meta_info(value, Code.INVALID_START))
        case "end":
            return End(_meta_info(value, Code.INVALID_END))
        case "event":
            return _event(value)
        case other:
            raise Refusal(Code.INVALID_MESSAGE, f"type is {_named(other)}; start, event or end expected")


def _meta_info(value: dict[str, Any], code: Code) -> dict[str, Any]:
    meta_info: dict[str, Any] | None = value.get("meta_info")
    if meta_info is not None:
        _check_object("meta_info", meta_info, code, MAX_DATA_BYTES)
    return meta_info or {}


def _check_object(name: str, value: Any, code: Code, max_bytes: int) -> bytes:
    """Return an object as compact JSON; raise Refusal if it is none, or cannot be stored."""
    if type(value) is not dict:
        raise Refusal(code, f"{name} is {_named(value)}; an object expected")
    try:
        data = orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise Refusal(code, f"{name} is nested too deeply: {error}") from None
    if len(data) > max_bytes:
        raise Refusal(code, f"{name} is {len(data)} bytes as compact JSON; at most {max_bytes} expected")
    if found := _find_nul({name: value}):
        raise Refusal(code, _nul_detail(name, *found))
    return data


def _event(value: dict[str, Any]) -> Event:
    event_id = value.get("id")
    if type(event_id) is not str or not EVENT_ID.fullmatch(event_id):
        raise _wrong("id", event_id, "1 to 64 letters, digits, _, - and . expected")
    try:
        return Event(event_id, *_contents(value.get("kind"), value.get("timestamp"), value.get("detail")))
    except Refusal as refusal:
        refusal.event_id = event_id
        raise


def _contents(kind: Any, timestamp: Any, detail: Any) -> tuple[str, int, bytes]:
    if type(kind) is not str or kind not in EVENT_CHECKS:
        raise _wrong("kind", kind, f"{', '.join(EVENT_CHECKS)} expected")
    if type(timestamp) not in (float, int) or not MIN_TIMESTAMP <= timestamp < MAX_TIMESTAMP:
        raise _wrong("timestamp", timestamp, "unix seconds between 2000 and 2100 expected")
    data = _check_object("detail", detail, Code.INVALID_EVENT, MAX_EVENT_BYTES)
    EVENT_CHECKS[kind](detail)
    return kind, round(timestamp * 1_000_000), bytes(memoryview(data))  # a copy, as for a frame


def _check_mark(detail: dict[str, Any]) -> None:
    note = detail.get("note")
    if type(note) is not str or len(note) > MAX_NOTE:
        raise _wrong("detail.note", note, f"a text of at most {MAX_NOTE} characters expected")


def _check_clock_step(detail: dict[str, Any]) -> None:
    _check_step("step_s", detail.get("step_s"))
    _check_flag("applied", detail.get("applied", False))


def _check_restart(detail: dict[str, Any]) -> None:
    start, stop = detail.get("from_index"), detail.get("to_index")
    if type(start) is not int or not 0 <= start <= MAX_FRAME_INDEX:
        raise _wrong("detail.from_index", start, "an integer from 0 to 2^31-1 expected")
    if type(stop) is not int or not start <= stop <= start + MAX_SKIPPED_FRAMES:
        raise _wrong("detail.to_index", stop, f"an integer from {start} to {start + MAX_SKIPPED_FRAMES} expected")
    _check_flag("rebooted", detail.get("rebooted"))
    if (step_s := detail.get("clock_step_s")) is not None:
        _check_step("clock_step_s", step_s)


def _check_camera(detail: dict[str, Any]) -> None:
    if type(camera := detail.get("camera")) is not str:
        raise _wrong("detail.camera", camera, "a text expected")
    if (fault := detail.get("fault")) not in CAMERA_FAULTS:
        raise _wrong("detail.fault", fault, f"{', '.join(CAMERA_FAULTS)} expected")


def _check_step(name: str, step_s: Any) -> None:
    if type(step_s) not in (float, int) or abs(step_s) > MAX_TIMESTAMP:
        raise _wrong(f"detail.{name}", step_s, "seconds, at most 130 years, expected")


def _check_flag(name: str, flag: Any) -> None:
    if type(flag) is not bool:
        raise _wrong(f"detail.{name}", flag, "true or false expected")


def _wrong(name: str, value: Any, expected: str) -> Refusal:
    return Refusal(Code.INVALID_EVENT, f"{name} is {_named(value)}; {expected}")


EVENT_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "mark": _check_mark,
    "clock_step": _check_clock_step,
    "restart": _check_restart,
    "camera": _check_camera,
}


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


def _find_nul(value: Any) -> tuple[str, str] | None:
    """Return the first text with a NUL and its dotted name, or None. `value` nests 254 levels at most.

    It searches the value itself: `\\u0000` in its JSON may also be a backslash that was escaped.
    """
    if type(value) is str:
        return ("", value) if "\0" in value else None
    parts = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    for key, part in parts:
        if type(key) is str and "\0" in key:
            return "", key
        if found := _find_nul(part):
            name, text = found
            return (f"{key}.{name}" if name else str(key))[:MAX_NAME_SHOWN], text
    return None


def _nul_detail(where: str, name: str, text: str) -> str:
    if text in MARKS:
        return f"{name or where} is {MARKS[text]}; a finite number expected"
    return f"{where} contains a NUL character, which cannot be stored"


def _named(value: Any) -> str:
    """Return the name of a value for an error message: its kind, or its short JSON."""
    match value:
        case None:
            return "null or missing"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str() if value in MARKS:
            return MARKS[value]
        case _:
            text = orjson.dumps(value).decode()
            return text if len(text) <= 40 else text[:37] + "..."
