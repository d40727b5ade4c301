"""Encode frames for the wire, and refuse invalid frames before sending."""

import json
from types import SimpleNamespace

import pytest
from teleop_client.encoding import encode_data, frame_message, key_header, start_message, websocket_url

NOW = 1703318400.123
NAN = float("nan")


def frame(observation=None, action=None, timestamp=NOW, **extra):
    return json.loads(frame_message(7, encode_data(observation, action, timestamp, extra)))


class Array(SimpleNamespace):
    """A value like numpy's arrays and scalars: not JSON, but with `tolist` and `nbytes`."""

    def tolist(self):
        return self.value


def test_it_writes_a_frame_in_the_order_of_its_joints():
    encoded = frame_message(7, encode_data({"b.pos": 1.5, "a.pos": 2}, {"b.pos": 0.1}, NOW, {"note": "å"}))
    expected = '{"frame_index":7,"timestamp":1703318400.123,"observation":{"b.pos":1.5,"a.pos":2},'
    assert encoded.decode() == expected + '"action":{"b.pos":0.1},"note":"å"}'


def test_it_accepts_numpy_values_without_importing_numpy():
    observation = {"joint_positions": Array(value=[1.5, 2.5], nbytes=16), "gripper.pos": Array(value=3.5, nbytes=4)}
    assert frame(observation)["observation"] == {"joint_positions": [1.5, 2.5], "gripper.pos": 3.5}


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        pytest.param({"a.pos": NAN}, "observation.a.pos is nan", id="nan"),
        pytest.param({"j": [0.0, float("inf")]}, r"observation.j\[1\] is inf", id="infinity in a list"),
        pytest.param({"j": Array(value=[0.0, NAN], nbytes=16)}, "observation.j is Array", id="nan in an array"),
        pytest.param({"cam": Array(value=[], nbytes=921600)}, "observation.cam is Array.*video", id="image"),
        pytest.param({"a": {"b": {1}}}, "observation.a.b is set", id="no JSON type"),
        pytest.param({"s": "\ud800"}, "observation.s is", id="lone surrogate"),
        pytest.param({(1, 2): 0.0}, "keys must be str", id="key"),
        pytest.param({"s": "x" * 65536}, "frame is 65560 bytes; at most 65536", id="too large"),
        pytest.param([1.0], "observation is list; dict expected", id="list"),
        pytest.param(None, "needs an observation or an action", id="nothing"),
    ],
)
def test_it_refuses_invalid_data_and_names_the_key(observation, message):
    with pytest.raises(ValueError, match=message):
        frame(observation)


def test_it_writes_a_row_of_lerobot():
    state = Array(value=[1.5, 2.5], nbytes=16)
    encoded = frame_message(7, encode_data(None, [0.5, 1], NOW, {"observation.state": state, "task": "fold"}))
    expected = (
        '{"frame_index":7,"timestamp":1703318400.123,"action":[0.5,1],"observation.state":[1.5,2.5],"task":"fold"}'
    )
    assert encoded.decode() == expected


@pytest.mark.parametrize(
    ("action", "extra", "message"),
    [
        pytest.param(None, {"observations.state": [1]}, "needs an observation or an action", id="no flat key"),
        pytest.param(1.5, {}, "action is float; dict or list of numbers expected", id="number"),
        pytest.param([1.5, NAN], {}, r"action\[1\] is nan", id="nan"),
        pytest.param([1], {"action.a": 1}, "action and action.a are both in the frame", id="both"),
    ],
)
def test_it_refuses_an_invalid_row_of_lerobot(action, extra, message):
    with pytest.raises(ValueError, match=message):
        frame(None, action, **extra)


@pytest.mark.parametrize("timestamp", [NAN, 1e18, 0.0])
def test_it_refuses_an_invalid_timestamp(timestamp):
    with pytest.raises(ValueError, match="timestamp is"):
        frame({"a": 1.0}, timestamp=timestamp)


@pytest.mark.parametrize("key", ["frame_index", "frames"])
def test_it_refuses_reserved_keys(key):
    with pytest.raises(ValueError, match=f"{key} cannot be"):
        frame({"a": 1.0}, **{key: 1})


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
        pytest.param(0, None, "fps is 0; 1 to 1000", id="fps"),
        pytest.param(60, {"rate": NAN}, "rate is nan", id="nan"),
        pytest.param(60, {"note": "x" * 65536}, "meta_info is over 65536", id="too large"),
    ],
)
def test_it_refuses_an_invalid_start(fps, meta_info, message):
    with pytest.raises(ValueError, match=message):
        start_message(fps, meta_info)
