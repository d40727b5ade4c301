"""Messages that the parser refuses, with code and text; accepted messages come out as they were sent."""

import json

import orjson
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.ingest.parse import End, Event, Frame, Refusal, Start, parse
from teleop.protocol import MAX_DATA_BYTES, MAX_EVENT_BYTES, MAX_TIMESTAMP, MIN_TIMESTAMP, Code

DEEP = b'{"a":' * 300 + b"1" + b"}" * 300


def frame(**changes) -> dict:
    return {"frame_index": 7, "timestamp": 1703318400.5, "observation": {"joint_positions": [0.5]}} | changes


def encoded(**changes) -> bytes:
    return orjson.dumps(frame(**changes))


def raw(observation: bytes) -> bytes:
    """Return a frame with an observation that no serialiser would write."""
    return b'{"frame_index":7,"timestamp":1703318400.5,"observation":%s}' % observation


def refused(message: bytes | str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(message)
    return caught.value


@pytest.mark.parametrize(
    "message",
    [
        *[b"", b"{", b"\0", b"hello", b"\xff\xfe", b"\xef\xbb\xbf{}", bytes(range(256))],  # noise
        *[b"[]", b"1", b'"text"', b"null", b"true"],  # JSON, but not an object
        raw(b"1e999"),
        b"[NaN]",
        raw(b"nan"),
        raw(b"-NaN"),
        raw(b"NaNs"),
        raw(b'{"a":NaN'),
        raw(b'{"a":[NaN,"\xff"]}'),
        raw(b'{"a":NaN,"a":1}'),
        raw(b'{"a":[%s1]}' % (b"NaN," * 20_000)),
        b'{"type":"start","other":NaN}',
        b'{"frames":[%s],"other":NaN}' % raw(b"{}"),
        raw(b'{"a":"\xff"}'),
        raw(b'{"a":"\\ud800"}'),
        raw(b'{"\\udc00":1}'),
        raw(b'{"a":' * 2000 + b"1" + b"}" * 2000),
        b'{"type":"stop"}',
        b'{"type":null}',
        b'{"type":["start"]}',
        b'{"frames":{}}',
        b'{"frames":null}',
        b'{"frames":[]}',
        orjson.dumps({"frames": [frame(frame_index=index) for index in range(601)]}),
        '{"frame_index":"\ud800"}',
    ],
)
def test_it_refuses_an_invalid_message(message):
    refusal = refused(message)
    assert (refusal.code, refusal.frame_index) == (Code.INVALID_MESSAGE, None)


@pytest.mark.parametrize("index", [None, "7", 7.0, 7.5, True, False, -1, 2**31, 2**63, [7], {}])
def test_it_refuses_an_invalid_frame_index(index):
    refusal = refused(encoded(frame_index=index))
    assert (refusal.code, refusal.frame_index) == (Code.INVALID_FRAME, None)
    assert refusal.detail.startswith("frame_index is ")


def test_it_refuses_a_frame_index_of_2_to_the_70():
    assert refused(b'{"frame_index":%d}' % 2**70).code == Code.INVALID_FRAME


@pytest.mark.parametrize(
    "timestamp", [None, "1703318400", True, 1e18, -1, 0, MIN_TIMESTAMP - 0.001, MAX_TIMESTAMP, 1703318400500, [1], {}]
)
def test_it_refuses_an_invalid_timestamp(timestamp):
    refusal = refused(encoded(timestamp=timestamp))
    assert (refusal.code, refusal.frame_index) == (Code.INVALID_FRAME, 7)
    assert refusal.detail.startswith("timestamp is ")


def test_it_names_field_value_and_bound():
    assert refused(encoded(timestamp=1e18)).detail == "timestamp is 1e+18; unix seconds between 2000 and 2100 expected"


@pytest.mark.parametrize("name", ["observation", "action"])
@pytest.mark.parametrize("value", [None, "text", 1, True])
def test_it_refuses_an_observation_or_action_that_is_not_an_object(name, value):
    refusal = refused(encoded(**{name: value}))
    assert (refusal.code, refusal.frame_index) == (Code.INVALID_FRAME, 7)
    assert refusal.detail.startswith(f"{name} is ")


def test_it_refuses_an_observation_that_is_a_list():
    assert refused(encoded(observation=[1.0])).detail == "observation is a list; an object expected"


@pytest.mark.parametrize(
    "row",
    [
        {"observation.state": [0.5, 2], "action": [1.5, -2e9]},
        {"observation.state": [0.5], "observation.environment_state": [1, 2], "task": "fold", "next.done": False},
        {"observation.shoulder_pan.pos": 1.5, "observation.language": "fold", "action.shoulder_pan.pos": 1},
        {"action": []},
        {"action.gripper": {"pos": 1}},
        {"observation": {"a.pos": 1}, "action": [1.0]},
        {"observation": {"a.pos": 1}, "action.a.pos": 1.0},
        {"observation.state": [1.0] * 1024},
    ],
)
def test_it_keeps_a_row_of_lerobot_as_it_was_sent(row):
    taken = parse(orjson.dumps({"frame_index": 7, "timestamp": 1703318400.5} | row))
    assert taken == Frame(7, 1703318400_500_000, orjson.dumps(row))


@pytest.mark.parametrize(
    "row, detail",
    [
        ({"action": [1, None]}, "action.1 is null or missing; a finite number expected"),
        ({"action": [True]}, "action.0 is true; a finite number expected"),
        ({"observation.state": [[1.0]]}, "observation.state.0 is a list; a finite number expected"),
        ({"observation.images.front": [[[0, 0, 0]]]}, "observation.images.front.0 is a list; a finite number expected"),
        ({"observation.state": ["a"]}, 'observation.state.0 is "a"; a finite number expected'),
        ({"observation.state": [0] * 1025}, "observation.state contains 1025 numbers; at most 1024 expected"),
        ({"action": {}, "action.a": 1}, "action and action.a are both in the frame; one of the two expected"),
        ({"action": [1], "action.a": 1}, "action and action.a are both in the frame; one of the two expected"),
        (
            {"observation": {}, "observation.state": [1]},
            "observation and observation.state are both in the frame; one of the two expected",
        ),
        ({"observation.state": [1], "action": 1}, "action is 1; an object or a list of numbers expected"),
        ({"observations": {}}, "observation and action are missing; at least one of them expected"),
        ({f"action.{number}": 1 for number in range(1025)}, "the frame has 1025 names; at most 1024 expected"),
    ],
)
def test_it_refuses_an_invalid_row_of_lerobot(row, detail):
    refusal = refused(orjson.dumps({"frame_index": 7, "timestamp": 1703318400.5} | row))
    assert (refusal.code, refusal.frame_index, refusal.detail) == (Code.INVALID_FRAME, 7, detail)


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    "changes, detail",
    [
        ({"observation": {"a.pos": NAN}}, "observation.a.pos is NaN; a finite number expected"),
        ({"observation": {"a": [1, {"b": -INFINITY}]}}, "observation.a.1.b is -Infinity; a finite number expected"),
        ({"note": "NaN", "battery": INFINITY}, "battery is Infinity; a finite number expected"),
        ({"note": '"\\NaN', "battery": NAN}, "battery is NaN; a finite number expected"),
        ({"action": [1.5, NAN]}, "action.1 is NaN; a finite number expected"),
        ({"action": NAN}, "action is NaN; an object or a list of numbers expected"),
        ({"timestamp": INFINITY}, "timestamp is Infinity; unix seconds between 2000 and 2100 expected"),
        ({"observation": {"x" * 200: NAN}}, f"observation.{'x' * 88} is NaN; a finite number expected"),
    ],
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_it_names_nan_and_infinity(changes, detail, kind):
    refusal = refused(kind(json.dumps(frame(**changes))))
    assert (refusal.code, refusal.frame_index, refusal.detail) == (Code.INVALID_FRAME, 7, detail)


def test_it_names_a_frame_index_that_is_nan():
    refusal = refused(json.dumps(frame(frame_index=NAN)))
    assert (refusal.code, refusal.frame_index) == (Code.INVALID_FRAME, None)
    assert refusal.detail == "frame_index is NaN; an integer from 0 to 2^31-1 expected"


def test_it_refuses_only_the_batch_frames_with_nan():
    frames = [frame(frame_index=index, note="NaN") for index in range(100)]
    frames[3]["observation"]["joint_positions"] = [0.5, NAN]
    frames[99]["action"] = {"gripper.pos": INFINITY}
    parsed = parse(json.dumps({"frames": frames}))
    refusals = {item.frame_index: item.detail for item in parsed if isinstance(item, Refusal)}
    assert refusals == {
        3: "frames[3]: observation.joint_positions.1 is NaN; a finite number expected",
        99: "frames[99]: action.gripper.pos is Infinity; a finite number expected",
    }
    assert parsed[4].data == orjson.dumps({"observation": {"joint_positions": [0.5]}, "note": "NaN"})


@pytest.mark.parametrize("kind, code", [("start", Code.INVALID_START), ("end", Code.INVALID_END)])
def test_it_names_nan_in_meta_info(kind, code):
    refusal = refused(json.dumps({"type": kind, "meta_info": {"task": "fold", "load": NAN}}))
    assert (refusal.code, refusal.detail) == (code, "meta_info.load is NaN; a finite number expected")


def test_it_names_nan_where_the_whole_message_is_refused():
    refusal = refused(b'{"frames":[%s],"other":NaN}' % raw(b"{}"))
    assert refusal.detail.endswith("; NaN and Infinity are not JSON")


@pytest.mark.parametrize(
    "part", [b'{"', b'"\\\\', b"N", b"-", b'"', b" ", b'\\"', b"NaN,", b"[", b'"":1,', b"I", b"Infinit", b"1,"]
)
def test_it_refuses_a_long_message_with_nan_in_linear_time(part):
    """Quadratic time would exceed the test's time limit by far."""
    assert refused(b'{"a":NaN,' + part * (2**20 // len(part) - 10)).code == Code.INVALID_MESSAGE


@pytest.mark.parametrize("missing", ["frame_index", "timestamp", "observation"])
def test_it_refuses_a_frame_with_a_missing_field(missing):
    value = frame()
    del value[missing]
    assert refused(orjson.dumps(value)).code == Code.INVALID_FRAME


@pytest.mark.parametrize(
    "observation", [b'{"a":"x\\u0000"}', b'{"a":[{"\\u0000":1}]}', b'{"a":{"b":["\\u0000"]}}', DEEP]
)
def test_it_refuses_nul_and_deep_nesting_in_an_observation(observation):
    refusal = refused(raw(observation))
    assert (refusal.code, refusal.frame_index) == (Code.INVALID_FRAME, 7)


@pytest.mark.parametrize("message", [raw(b"null"), b'{"frame_index":null}', b"{}"])
def test_it_reports_a_null_or_missing_field(message):
    assert " is null or missing; " in refused(message).detail


def test_it_refuses_nul_outside_the_observation():
    assert refused(encoded(note="a\0b")).code == Code.INVALID_FRAME


def test_it_accepts_an_escaped_backslash_before_u0000():
    assert parse(encoded(note="\\u0000")).data.endswith(rb'"note":"\\u0000"}')


def test_it_accepts_64_kib_of_data_and_refuses_one_byte_more():
    room = MAX_DATA_BYTES - len(b'{"observation":{"a":""}}')
    assert len(parse(encoded(observation={"a": "x" * room})).data) == MAX_DATA_BYTES
    refusal = refused(encoded(observation={"a": "x" * (room + 1)}))
    assert (refusal.code, refusal.frame_index) == (Code.FRAME_TOO_LARGE, 7)


def test_it_accepts_254_levels_of_nesting_and_refuses_255():
    assert parse(raw(b'{"a":' * 253 + b"1" + b"}" * 253))
    assert "nested too deep" in refused(raw(b'{"a":' * 254 + b"1" + b"}" * 254)).detail


def named(count: int) -> dict:
    return {f"n{number}.pos": 0 for number in range(count)}


@pytest.mark.parametrize(
    "observation",
    [
        named(1024),
        {"cloud": [0] * 20_000},
        {"text": '":' * 2000},
        {"deep": {"deeper": named(1023)}, "empty": {}},
        {"objects": [{"a": 1}] * 1023},
    ],
)
def test_it_accepts_1024_names(observation):
    assert parse(encoded(observation=observation))


@pytest.mark.parametrize(
    "observation",
    [
        named(1025),
        {"deep": {"deeper": named(1024)}, "empty": {}},
        {"objects": [{"a": 1}] * 1024},
        {"a": {f"{n}": {} for n in range(1025)}},
    ],
)
def test_it_refuses_1025_names(observation):
    refusal = refused(encoded(observation=observation))
    assert (refusal.code, refusal.frame_index) == (Code.INVALID_FRAME, 7)
    assert refusal.detail == "the frame has 1025 names; at most 1024 expected"


def test_it_refuses_only_the_batch_frame_with_too_many_names():
    bad, good = parse(orjson.dumps({"frames": [frame(observation=named(1025)), frame(frame_index=8)]}))
    assert bad.detail == "frames[0]: the frame has 1025 names; at most 1024 expected"
    assert good.frame_index == 8


def test_it_measures_a_frame_as_compact_utf8():
    parse(b'{"frame_index":0,"timestamp":1703318400,"observation":{}' + b" " * MAX_DATA_BYTES + b"}")
    assert refused(json.dumps(frame(note="é" * (MAX_DATA_BYTES // 2)))).code == Code.FRAME_TOO_LARGE


@pytest.mark.parametrize("index", [0, 2**31 - 1])
@pytest.mark.parametrize("timestamp", [MIN_TIMESTAMP, MAX_TIMESTAMP - 1, 1703318400.123456])
def test_it_accepts_boundary_values(index, timestamp):
    taken = parse(encoded(frame_index=index, timestamp=timestamp))
    assert (taken.frame_index, taken.timestamp_us) == (index, round(timestamp * 1_000_000))


@pytest.mark.parametrize("observation", [{"joint_positions": [1.5] * 6}, {"shoulder_pan.pos": 1.5}, {}])
def test_it_accepts_both_shapes_of_observation(observation):
    assert orjson.loads(parse(encoded(observation=observation)).data) == {"observation": observation}


def test_it_accepts_an_action_without_an_observation():
    taken = parse(b'{"frame_index":0,"timestamp":1703318400,"action":{"x.vel":0.1}}')
    assert taken == Frame(0, 1703318400_000_000, b'{"action":{"x.vel":0.1}}')


def test_it_keeps_other_keys_and_their_order():
    message = b'{"z":1,"action":{"b":1,"a":2},"frame_index":3,"type":"x","timestamp":1703318400,"a":null}'
    assert parse(message).data == b'{"z":1,"action":{"b":1,"a":2},"type":"x","a":null}'


def test_it_parses_large_integers_as_doubles():
    assert parse(raw(b'{"n":123456789012345678901234567890}')).data == b'{"observation":{"n":1.2345678901234568e+29}}'


def test_it_returns_a_refusal_in_place_of_an_invalid_frame():
    good, bad, nothing = frame(), frame(frame_index=8, timestamp="now"), None
    first, second, third = parse(orjson.dumps({"frames": [good, bad, nothing]}))
    assert first.frame_index == 7
    assert (second.code, second.frame_index) == (Code.INVALID_FRAME, 8)
    assert second.detail.startswith('frames[1]: timestamp is "now"; ')
    assert third.detail.startswith("frames[2]: the frame is ")


def test_it_accepts_a_batch_of_600():
    batch = [frame(frame_index=index) for index in range(600)]
    assert [taken.frame_index for taken in parse(orjson.dumps({"frames": batch}))] == list(range(600))


@pytest.mark.parametrize("fps", [b"0", b"-1", b"1001", b"1e9", b'"fast"', b"59.94", b"true", b"null", b"[60]"])
def test_it_refuses_an_invalid_fps(fps):
    refusal = refused(b'{"type":"start","fps":%s}' % fps)
    assert (refusal.code, refusal.detail[:7]) == (Code.INVALID_START, "fps is ")


@pytest.mark.parametrize("kind, code", [(b"start", Code.INVALID_START), (b"end", Code.INVALID_END)])
@pytest.mark.parametrize(
    "meta_info", [b"[]", b"1", b'"text"', b'{"a":"\\u0000"}', b'{"\\u0000":1}', DEEP, b'{"a":"%s"}' % (b"x" * 2**16)]
)
def test_it_refuses_invalid_meta_info(kind, code, meta_info):
    refusal = refused(b'{"type":"%s","meta_info":%s}' % (kind, meta_info))
    assert (refusal.code, refusal.frame_index, refusal.detail[:9]) == (code, None, "meta_info")


@pytest.mark.parametrize(
    "message, expected",
    [
        (b'{"type":"start"}', Start(60, {})),
        (b'{"type":"start","fps":30.0,"meta_info":{"task":"fold"}}', Start(30, {"task": "fold"})),
        (b'{"type":"start","meta_info":null,"new":1}', Start(60, {})),
        (b'{"type":"end","meta_info":{"success":null}}', End({"success": None})),
        ('{"type":"end"}', End({})),
    ],
)
def test_it_parses_control_messages(message, expected):
    assert parse(message) == expected


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)
keys = st.sampled_from(["frame_index", "timestamp", "observation", "action", "type", "frames", "fps", "meta_info"])


@given(st.recursive(values | st.floats(), lambda inner: st.dictionaries(texts, inner, max_size=4)), st.booleans())
def test_it_refuses_exactly_the_frames_with_a_number_that_is_not_finite(observation, is_batch):
    """Python's json module is the oracle: with allow_nan=False it raises for these frames, and no others."""
    try:
        json.dumps(observation, allow_nan=False)
    except ValueError:
        is_finite = False
    else:
        is_finite = True
    frames = [frame(frame_index=index, observation={"a": value}) for index, value in enumerate([observation, 1.5])]
    first, second = parse(json.dumps({"frames": frames}))
    assert isinstance(first, Frame) is is_finite
    assert second.data == b'{"observation":{"a":1.5}}'


@given(st.binary() | st.text() | st.dictionaries(keys, values).map(orjson.dumps))
def test_it_raises_only_refusal_for_any_input(message):
    try:
        parsed = parse(message)
    except Refusal as refusal:
        assert orjson.dumps([refusal.code, refusal.detail, refusal.frame_index])
    else:
        assert isinstance(parsed, Frame | Start | End | list)


@given(st.binary(min_size=1, max_size=3), st.integers(0, 200))
def test_it_parses_or_refuses_a_frame_with_corrupted_bytes(noise, at):
    message = encoded(action={"gripper.pos": 1.5, "text": "ü\\ \"'\n"})
    at %= len(message)
    try:
        parse(message[:at] + noise + message[at + len(noise) :])
    except Refusal as refusal:
        assert refusal.code in (Code.INVALID_MESSAGE, Code.INVALID_FRAME)


@given(st.dictionaries(texts, values), st.dictionaries(texts.filter(lambda name: name not in frame()), values))
def test_it_keeps_data_as_it_was_sent(observation, others):
    others = {name: value for name, value in others.items() if name.partition(".")[0] not in ("observation", "action")}
    data = parse(encoded(observation=observation, **others)).data
    assert data == orjson.dumps({"observation": observation} | others)
    assert json.dumps(json.loads(data)) == json.dumps({"observation": observation} | others)


@given(st.integers(MIN_TIMESTAMP * 10**6, MAX_TIMESTAMP * 10**6 - 1))
def test_it_keeps_every_microsecond(timestamp_us):
    assert parse(encoded(timestamp=timestamp_us / 10**6)).timestamp_us == timestamp_us


def test_a_queued_frame_uses_at_most_1_5_times_its_counted_memory():
    """Counted: its data plus 256 bytes (teleop/ingest/writer.py), not the message that contained it."""
    process, message = psutil.Process(), encoded(action={f"joint_{number}": 0.123456789 for number in range(20)})
    before = process.memory_info().rss
    waiting = [parse(message) for _ in range(20_000)]
    counted = 20_000 * (len(waiting[0].data) + 256)
    assert process.memory_info().rss - before < 1.5 * counted


RESTART = {"from_index": 600, "to_index": 1200, "rebooted": True}


def event(detail=None, **changes) -> bytes:
    mark = {"type": "event", "id": "5f.0_c-3", "kind": "mark", "timestamp": 1703318400.25}
    return orjson.dumps(mark | {"detail": detail or {"note": "lifted"}} | changes)


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("mark", {"note": ""}),
        ("mark", {"note": "é" * 500, "more": [1, None, {"x": True}]}),
        ("clock_step", {"step_s": 259200.5}),
        ("clock_step", {"step_s": -1, "applied": True}),
        ("clock_step", {"step_s": 1.7e9, "applied": False}),
        ("restart", RESTART),
        ("restart", RESTART | {"from_index": 1200, "clock_step_s": -0.5}),
        ("restart", {"from_index": 2**31 - 1, "to_index": 2**31, "rebooted": False, "clock_step_s": None}),
        ("camera", {"camera": "front", "fault": "frozen", "seconds": 3}),
        *[("camera", {"camera": "", "fault": fault}) for fault in ("stopped", "resized", "slow")],
    ],
)
def test_it_parses_an_event(kind, detail):
    expected = Event("5f.0_c-3", kind, 1703318400_250_000, orjson.dumps(detail))
    assert parse(event(detail, kind=kind)) == parse(event(detail, kind=kind).decode()) == expected


@pytest.mark.parametrize("event_id", [None, "", "x" * 65, "a b", "é", "a\n", 7, ["a"], {}])
def test_it_refuses_an_invalid_event_id(event_id):
    refusal = refused(event(id=event_id))
    assert (refusal.code, refusal.event_id, refusal.frame_index) == (Code.INVALID_EVENT, None, None)
    assert refusal.detail.startswith("id is ")
    assert refusal.detail.endswith("; 1 to 64 letters, digits, _, - and . expected")


def step(value) -> dict:
    return {"kind": "clock_step", "detail": {"step_s": value}}


def restarted(**changes) -> dict:
    return {"kind": "restart", "detail": RESTART | changes}


def camera(**changes) -> dict:
    return {"kind": "camera", "detail": {"camera": "front", "fault": "slow"} | changes}


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"kind": None}, "kind is null or missing; mark, clock_step, restart, camera expected"),
        ({"kind": ["mark"]}, "kind is a list; "),
        ({"kind": "Mark"}, 'kind is "Mark"; '),
        ({"timestamp": "now"}, 'timestamp is "now"; unix seconds between 2000 and 2100 expected'),
        ({"timestamp": True}, "timestamp is true; "),
        ({"timestamp": MIN_TIMESTAMP - 1}, f"timestamp is {MIN_TIMESTAMP - 1}; "),
        ({"timestamp": MAX_TIMESTAMP}, f"timestamp is {MAX_TIMESTAMP}; "),
        ({"detail": None}, "detail is null or missing; an object expected"),
        ({"detail": []}, "detail is a list; an object expected"),
        ({"detail": {}}, "detail.note is null or missing; a text of at most 500 characters expected"),
        ({"detail": {"note": 7}}, "detail.note is 7; "),
        ({"detail": {"note": "x" * 501}}, 'detail.note is "xxx'),
        ({"detail": {"note": "a\0b"}}, "detail contains a NUL character"),
        ({"detail": {"note": "", "\0": 1}}, "detail contains a NUL character"),
        (step(None), "detail.step_s is null or missing; seconds, at most 130 years, expected"),
        (step("1"), 'detail.step_s is "1"; '),
        (step(True), "detail.step_s is true; "),
        (step(-1e300), "detail.step_s is -1e+300; "),
        ({"kind": "clock_step", "detail": {"step_s": 1, "applied": 1}}, "detail.applied is 1; true or false expected"),
        (restarted(from_index=-1), "detail.from_index is -1; an integer from 0 to 2^31-1 expected"),
        (restarted(from_index=2**31), "detail.from_index is 2147483648; "),
        (restarted(to_index=599), "detail.to_index is 599; an integer from 600 to 100600 expected"),
        (restarted(to_index=100_601), "detail.to_index is 100601; "),
        (restarted(to_index=1200.0), "detail.to_index is 1200.0; "),
        (restarted(rebooted=None), "detail.rebooted is null or missing; "),
        (restarted(clock_step_s="1"), 'detail.clock_step_s is "1"; '),
        (camera(camera=None), "detail.camera is null or missing; a text expected"),
        (camera(fault="hot"), 'detail.fault is "hot"; stopped, frozen, resized, slow expected'),
        (camera(fault=["slow"]), "detail.fault is a list; "),
    ],
)
def test_it_refuses_an_invalid_event(changes, detail):
    refusal = refused(orjson.dumps(orjson.loads(event()) | changes))
    assert (refusal.code, refusal.event_id) == (Code.INVALID_EVENT, "5f.0_c-3")
    assert refusal.detail.startswith(detail)


def test_it_refuses_a_large_or_deep_detail():
    room = MAX_EVENT_BYTES - len(orjson.dumps({"note": "", "more": ""}))
    assert parse(event({"note": "", "more": "x" * room}))
    assert "at most 4096 expected" in refused(event({"note": "", "more": "x" * (room + 1)})).detail
    deep = b'{"type":"event","id":"a","kind":"mark","timestamp":1703318400,"detail":%s}'
    assert parse(deep % (b'{"note":"","x":' + b"[" * 253 + b"]" * 253 + b"}"))
    assert "nested too deep" in refused(deep % (b'{"note":"","x":' + b"[" * 255 + b"]" * 255 + b"}")).detail


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        (step(float("nan")), Code.INVALID_EVENT, "detail.step_s is NaN; a finite number expected"),
        ({"timestamp": float("inf")}, Code.INVALID_EVENT, "timestamp is Infinity; "),
        ({"id": float("nan")}, Code.INVALID_EVENT, "id is NaN; "),
        ({"other": float("nan")}, Code.INVALID_MESSAGE, "message is not valid JSON: "),
    ],
)
def test_it_names_nan_in_an_event(changes, code, detail):
    refusal = refused(json.dumps(json.loads(event()) | changes))
    assert (refusal.code, refusal.detail.startswith(detail)) == (code, True)


def test_a_message_with_a_frame_index_is_a_frame_even_if_it_has_a_type():
    assert isinstance(parse(encoded(type="event")), Frame)
