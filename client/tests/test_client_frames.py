"""Encode frames for the wire, leave out values that the server would refuse, and check arguments."""

import json
from types import MappingProxyType, SimpleNamespace

import pytest
from teleop_client.encoding import encode_frame, frame_message, key_header, start_message, websocket_url

NOW = 1703318400.123
TIME = b"1703318400.123"
NAN, INF = float("nan"), float("inf")


class Array(SimpleNamespace):
    """A value like numpy's and torch's arrays and scalars: not JSON, but with `tolist`, `item` and `shape`."""

    def __init__(self, value, *shape, **attributes):
        super().__init__(value=value, shape=shape, **attributes)

    def tolist(self):
        return self.value

    item = tolist


class Unreadable(Array):
    def tolist(self):
        raise AssertionError("it converted the image")

    item = tolist


def encoded(observation=None, action=None, timestamp=None, **extra):
    return encode_frame(observation, action, timestamp, extra)


def frame(*args, **kwargs):
    """Return a frame without faults, as an object."""
    found = encoded(*args, **kwargs)
    assert not found.faults
    return json.loads(frame_message(7, TIME, found.data))


def cleaned(*args, **kwargs):
    """Return the parts of a frame with faults, and the sentences about them."""
    found = encoded(*args, **kwargs)
    data = found.data and json.loads(b"{" + found.data)
    return data, [detail for _, detail in found.faults.values()]


def test_it_writes_a_frame_in_the_order_of_its_joints():
    text = frame_message(7, TIME, encoded({"b.pos": 1.5, "a.pos": 2}, {"b.pos": 0.1}, note="å").data).decode()
    expected = '{"frame_index":7,"timestamp":1703318400.123,"observation":{"b.pos":1.5,"a.pos":2},'
    assert text == expected + '"action":{"b.pos":0.1},"note":"å"}'


def test_it_writes_the_same_bytes_with_and_without_a_closer_look():
    numpy = pytest.importorskip("numpy")
    observation = {"b.pos": 1.5, "a.pos": 1e-7, 'a "key" \\ é': -0.0, "": 1e22, "least": 5e-324}
    action = observation | {"a.pos": numpy.float32(27.392338), "b.pos": numpy.float64(0.1)}
    found, looked = encoded(observation, action), encoded(observation, action, note="")
    assert found.data == looked.data.replace(b',"note":""', b"")
    assert found.joints == looked.joints


@pytest.mark.parametrize("value", [True, None, 7])
def test_it_writes_a_value_that_is_no_float_in_place(value):
    assert frame({"a": 0.5, "ok": value, "b": 0.5})["observation"] == {"a": 0.5, "ok": value, "b": 0.5}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Array([1.5, 2], 2), [1.5, 2], id="array"),
        pytest.param(Array([[1.5], [2.5]], 2, 1, dtype="float32"), [[1.5], [2.5]], id="small matrix"),
        pytest.param(Array(3.5), 3.5, id="scalar"),
        pytest.param(SimpleNamespace(item=lambda: 3.5), 3.5, id="only item"),
        pytest.param((1, 2.5), [1, 2.5], id="tuple"),
        pytest.param(MappingProxyType({"x": 1.5}), {"x": 1.5}, id="mapping"),
        pytest.param({"x": {"y": [True, None, "text"]}}, {"x": {"y": [True, None, "text"]}}, id="nested"),
        pytest.param({}, {}, id="empty"),
    ],
)
def test_it_accepts_values_of_robots(value, expected):
    assert frame({"a": value})["observation"] == {"a": expected}


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int64", "uint8", "bool_"])
def test_it_accepts_scalars_and_arrays_of_numpy(kind):
    numpy = pytest.importorskip("numpy")
    scalar, array = getattr(numpy, kind)(1), numpy.ones(3, kind)
    assert frame({"a": scalar, "b": array}, array)["observation"] == {"a": 1, "b": [1, 1, 1]}


@pytest.mark.parametrize(
    ("observation", "sent", "message"),
    [
        pytest.param({"a.pos": NAN, "b": 1.5}, {"a.pos": None, "b": 1.5}, "observation.a.pos is nan", id="nan"),
        pytest.param({"j": [0.0, -INF]}, {"j": [0.0, None]}, "observation.j[1] is -inf", id="infinity in a list"),
        pytest.param({"j": Array([0.0, NAN], 2)}, {"j": [0.0, None]}, "observation.j[1] is nan", id="in an array"),
        pytest.param({"j": Array(NAN)}, {"j": None}, "observation.j is nan", id="nan scalar"),
        pytest.param({"i": 10**400}, {"i": None}, "observation.i is beyond the doubles", id="large integer"),
        pytest.param(
            {"c": Unreadable(0, 480, 640, 3)}, {}, "observation.c is Unreadable of 480x640x3; images", id="image"
        ),
        pytest.param({"c": Unreadable(0, 8, 8, dtype="uint8")}, {}, "observation.c is Unreadable of 8x8", id="icon"),
        pytest.param({"c": Unreadable(0, 4097)}, {}, "observation.c is Unreadable of 4097", id="large array"),
        pytest.param({"c": [[[0] * 3] * 640] * 480}, {}, "observation.c has too many elements", id="image as lists"),
        pytest.param({"b": b"jpeg", "a": 1}, {"a": 1}, "observation.b is bytes", id="bytes"),
        pytest.param({"a": {"b": {1}}}, {"a": {}}, "observation.a.b is set", id="object"),
        pytest.param({"a": [1, {2}, 3]}, {"a": [1, None, 3]}, "observation.a[1] is set", id="object in a list"),
        pytest.param({"s": "\ud800"}, {}, "observation.s contains a lone surrogate", id="lone surrogate"),
        pytest.param({"s": "a\0"}, {}, "observation.s contains NUL", id="NUL"),
        pytest.param({"\0": 1.5}, {}, "observation contains NUL", id="NUL in a key"),
        pytest.param({(1, 2): 0.0}, {}, "observation has a key of the type tuple; keys must be str", id="key"),
        pytest.param({"s": "x" * 65536}, {}, "observation.s is left out: the frame is 65583 bytes", id="too large"),
        pytest.param({"s": "x" * 10**6}, {}, "observation.s has 1000000 characters", id="long text"),
    ],
)
def test_it_keeps_the_rest_of_a_frame_with_an_unusable_value(observation, sent, message):
    data, (detail,) = cleaned(observation, {"a.pos": 1.5})
    assert data == {"observation": sent, "action": {"a.pos": 1.5}}
    assert detail.startswith(message)


@pytest.mark.parametrize(("levels", "faults"), [(252, 0), (253, 1), (5000, 1)])
def test_it_sends_254_levels(levels, faults):
    value = 1.5
    for _ in range(levels):
        value = {"a": value}
    data, details = cleaned({"deep": value, "a": 1.5})
    assert (data["observation"]["a"], len(details)) == (1.5, faults)


@pytest.mark.parametrize("observation", [[1.0], None, 1.5, NAN, {1.5}])
def test_it_makes_no_frame_without_observation_and_action(observation):
    data, details = cleaned(observation, None, task="fold")
    assert data is None
    assert details[-1] == "frame needs an observation or an action"


def test_it_leaves_out_an_observation_that_is_no_object():
    assert cleaned([1.0], [1.0]) == ({"action": [1.0]}, ["observation is list; dict expected"])


def test_it_sends_the_first_1024_keys():
    data, (detail,) = cleaned({str(number): 1.5 for number in range(2000)})
    assert list(data["observation"]) == [str(number) for number in range(1024)]
    assert detail == "observation has too many keys for a frame"


def test_it_leaves_out_the_largest_values_of_a_frame_that_is_too_large():
    lists = {name: [1 / 3] * length for name, length in (("a", 10), ("b", 2000), ("c", 2050))}
    data, (detail,) = cleaned(lists)
    assert list(data["observation"]) == ["a", "b"]
    assert detail.startswith("observation.c is left out: the frame is ")


def test_it_writes_a_row_of_lerobot():
    state = Array([1.5, 2.5], 2)
    text = frame_message(7, TIME, encoded(None, [0.5, 1], **{"observation.state": state, "task": "fold"}).data).decode()
    expected = (
        '{"frame_index":7,"timestamp":1703318400.123,"action":[0.5,1],"observation.state":[1.5,2.5],"task":"fold"}'
    )
    assert text == expected


@pytest.mark.parametrize(
    ("action", "extra", "sent", "message"),
    [
        pytest.param(1.5, {}, {}, "action is float; dict or list of numbers expected", id="number"),
        # The server refuses null in these lists. The columns of an object have the same names.
        pytest.param([1.5, NAN], {}, {"action": {"0": 1.5, "1": None}}, "action[1] is nan", id="nan"),
        pytest.param(
            None,
            {"action.x": [NAN, 2]},
            {"action.x": {"0": None, "1": 2}},
            "action.x[0] is nan",
            id="nan in a flat key",
        ),
        pytest.param([1.5] * 1025, {}, {}, "action has 1025 elements; at most 1024", id="long"),
        pytest.param([1], {"action.a": 1}, {"action": [1]}, "action.a and action are both in the frame", id="both"),
        pytest.param([1], {"frames": 1}, {"action": [1]}, "frames cannot be a frame's own key", id="reserved"),
        pytest.param([1], {"frame_index": 1}, {"action": [1]}, "frame_index cannot be a frame's own key", id="index"),
    ],
)
def test_it_keeps_the_rest_of_an_invalid_row_of_lerobot(action, extra, sent, message):
    data, (detail,) = cleaned({"a": 1.5}, action, **extra)
    assert data == {"observation": {"a": 1.5}} | sent
    assert detail.startswith(message)


@pytest.mark.parametrize("timestamp", [NAN, 1e18, 0.0, "2026", b"2027", {}, 10**400], ids=repr)
def test_it_leaves_out_an_invalid_timestamp(timestamp):
    found = encoded({"a": 1.0}, timestamp=timestamp)
    assert (found.time_s, json.loads(b"{" + found.data)) == (None, {"observation": {"a": 1.0}})
    assert found.faults["timestamp"][1].startswith("timestamp is ")


@pytest.mark.parametrize("observation", [{"a": 1.0}, {"a": Array(1.0)}])
def test_it_keeps_the_time_that_the_program_gave(observation):
    assert encoded(observation, timestamp=Array(NOW)).time_s is None
    assert encoded(observation, timestamp=NOW).time_s == NOW


def test_it_accepts_a_frame_of_exactly_64_kib():
    assert len(frame({"s": "x" * (65536 - 24)})["observation"]["s"]) == 65512


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://host:8000", "ws://host:8000/ws/log/robot_A?session=12345678"),
        ("https://host/teleop/", "wss://host/teleop/ws/log/robot_A?session=12345678"),
    ],
)
def test_it_builds_the_url(url, expected):
    assert websocket_url(url, "robot_A", "12345678") == expected


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("url", ("ftp://host", "robot_A", "12345678")),
        ("robot_id", ("ws://host", "../robot", "12345678")),
        ("session", ("ws://host", "robot_A", "short")),
    ],
)
def test_it_names_the_invalid_argument(name, arguments):
    with pytest.raises(ValueError, match=f"^{name} is"):
        websocket_url(*arguments)


@pytest.mark.parametrize("key", ["secret\n", "se cret", "s\u00e9cret"])
def test_it_refuses_an_invalid_key_without_showing_it(key):
    with pytest.raises(ValueError, match=r"^key has blanks") as error:
        key_header(key)
    assert key not in str(error.value)


@pytest.mark.parametrize(
    ("fps", "meta_info", "message"),
    [
        pytest.param(0, None, "fps is 0; a whole number from 1 to 1000", id="fps"),
        pytest.param(60, {"rate": NAN}, "rate is nan", id="nan"),
        pytest.param(60, {"note": "x" * 65536}, "meta_info is over 65536", id="too large"),
    ],
)
def test_it_refuses_an_invalid_start(fps, meta_info, message):
    with pytest.raises(ValueError, match=message):
        start_message(fps, meta_info)
