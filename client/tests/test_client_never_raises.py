"""`send` never disturbs the robot's loop: whatever it is given, wherever it is called, and whatever callbacks do."""

import asyncio
import logging
import os
import signal
import traceback

import hostile
import pytest
from client_core import NOW, Core
from fake_server import FakeServer, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from teleop_client import AsyncRobotClient, ClientClosed, FrameInvalid, JointsChanged, RobotClient
from teleop_client.reporting import AWAY_S, MAX_KEYS, OTHER_KEYS
from test_client_sockets import on_loop

try:
    from teleop.ingest.parse import parse
except ImportError:  # the client alone, without the server
    parse = None

NAN = float("nan")


# Classes stand for their instances, which hypothesis could not show.
BAD_CLASSES = st.sampled_from(
    [hostile.Object, hostile.Deep, hostile.Scalar, *map(hostile.subclass, (dict, list, tuple, str, float, int))]
)
LEAVES = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    st.sampled_from([10**400, -(10**4000), "x" * 70_000, "\ud800", 1.5, {1, 2}, object()]),
    BAD_CLASSES,
)
KEYS = st.text() | st.sampled_from(["a", 1, None, NAN, (1, 2), "\0", "\ud800", hostile.Object])
VALUES = st.recursive(
    LEAVES,
    lambda below: st.lists(below, max_size=5) | st.dictionaries(KEYS, below, max_size=5) | st.tuples(below, below),
    max_leaves=10,
)
NAMES = st.text(max_size=5) | st.sampled_from(["frames", "frame_index", "action.a", "observation.state", "type"])


def built(value):
    if type(value) is dict:
        return {built(key): built(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(built, value))
    return value() if isinstance(value, type) else value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, VALUES, LEAVES, st.dictionaries(NAMES, VALUES, max_size=3))
def test_the_server_accepts_every_frame_that_the_client_sends(observation, action, timestamp, extra):
    core = Core().greet()
    index = core.send(built(observation), built(action), built(timestamp), built(extra))
    message, invalid = core.next_message(), core.stats.invalid
    core.report_waiting()
    assert "error" not in [error.kind for error in core.errors if type(error) is FrameInvalid]
    assert (message is None) == (index is None) == ("frame" in invalid)
    if message and parse:
        assert parse(message).frame_index == index


def cyclic():
    value = {}
    value["a"] = [value, value]
    return value


BAD = {
    "cyclic": cyclic,
    "deep": hostile.Deep,
    "scalar": hostile.Scalar,
    "object": hostile.Object,
    "in a list": lambda: [hostile.Object()] * 3,
    "in an object": lambda: {"a": hostile.Object()},
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_it_survives_values_without_end(make):
    core = Core().greet()
    assert core.send({"a.pos": 1.5, "bad": make()}, None, NOW, {}) == 0
    assert core.written()[0]["observation"]["a.pos"] == 1.5
    assert core.stats.invalid


def test_it_counts_invalid_values_by_key_and_reports_them_once(caplog):
    core = Core()
    for value in (NAN, NAN, NAN):
        core.send({"a.pos": value, "front": b""}, None, NOW, {})
    assert core.stats.invalid == {"observation.a.pos": 3, "observation.front": 3}
    core.report_waiting()
    assert [(type(error), error.key, error.kind) for error in core.errors] == [
        (FrameInvalid, "observation.a.pos", "not finite"),
        (FrameInvalid, "observation.front", "bytes"),
    ]
    assert caplog.messages == [str(error) for error in core.errors]
    assert core.stats.last_error is None


def test_it_reports_a_key_again_if_its_fault_changes_or_returns():
    core = Core()

    def reported_for(value, after_s):
        core.errors.clear()
        core.now += after_s
        core.send({"a": value}, None, NOW, {})
        core.report_waiting()
        return sum(type(error) is FrameInvalid for error in core.errors)

    assert reported_for(NAN, 0) == 1
    assert reported_for(b"", 0.1) == 1
    assert reported_for(NAN, 0.1) == 0  # an alternating fault is no news
    assert reported_for(NAN, AWAY_S - 1) == reported_for(NAN, AWAY_S - 1) == 0  # a lasting one neither
    assert reported_for(NAN, AWAY_S + 1) == 1


def test_it_counts_a_bounded_number_of_keys():
    core = Core()
    for number in range(MAX_KEYS + 50):
        core.send({f"a{number}": NAN}, None, NOW, {})
    assert len(core.stats.invalid) == MAX_KEYS + 1
    assert core.stats.invalid[OTHER_KEYS] == 50


def test_it_raises_if_it_is_strict():
    core = Core(strict=True)
    with pytest.raises(ValueError, match=r"a\.pos is nan") as error:
        core.send({"a.pos": NAN}, None, NOW, {})
    assert (type(error.value), error.value.key) == (FrameInvalid, "observation.a.pos")
    assert (core.stats.sent, core.stats.invalid) == (0, {})


def test_it_warns_once_of_changed_joints():
    core = Core()
    for names in ("ab", "a", "ab", "abc"):
        core.send(dict.fromkeys(names, 0.5), [0.5] * len(names), NOW, {})
    core.send(None, [0.5] * 3, NOW, {})  # a frame without an observation
    core.report_waiting()
    assert core.stats.joint_changes == 3
    assert [type(error) for error in core.errors] == [JointsChanged]
    expected = "observation: b is missing, action: action[1] is new, action: action[2] is missing"
    assert str(core.errors[0]) == f"the joints changed: {expected}"


def test_a_nan_or_an_image_is_no_change_of_joints():
    core = Core()
    for observation in ({"a": 0.5, 7: 0.5}, {"a": NAN, 7: 0.5, "front": b""}):
        core.send(observation, [observation["a"]], NOW, {})
    assert core.stats.joint_changes == 0


class Broken(logging.Handler):
    def emit(self, record):
        raise RuntimeError("the disk is full")


@pytest.mark.parametrize("kind", [AsyncRobotClient, RobotClient])
@on_loop
async def test_errors_in_on_error_and_in_the_log_never_reach_the_loop(kind, monkeypatch):
    handler, reported = Broken(), []
    logging.getLogger("teleop_client").addHandler(handler)

    def on_error(error):
        reported.append(error)
        raise RuntimeError

    try:
        async with FakeServer() as server:
            client = kind(server.url, "robot_A", on_error=on_error)
            assert client.send({"a": 1.5}) is None  # it is not started
            client.start()
            assert [client.send({"a": NAN}), client.send({"a": NAN}, timestamp="now")] == [0, 1]
            await until(lambda: client.stats.acked == 2)
            await asyncio.to_thread(client.close) if kind is RobotClient else await client.close()
            assert client.send({"a": NAN}) is client.send({"a": 1.5}) is None
    finally:
        logging.getLogger("teleop_client").removeHandler(handler)
    assert [type(error) for error in reported] == [ClientClosed, FrameInvalid, FrameInvalid, ClientClosed]
    assert client.stats.not_running == 3


def in_forked_process(check):
    """Run `check` in a fork of this process; raise if it fails or hangs there."""
    if not (child := os.fork()):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(5)
        try:
            check()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", [AsyncRobotClient, RobotClient])
@on_loop
async def test_a_forked_process_sends_nothing_and_leaves_the_connection_alone(kind, strict):
    errors = []

    def in_child():
        if strict:
            with pytest.raises(ClientClosed, match="forked"):
                client.send({"a": 1.5})
        else:
            assert client.send({"a": 1.5}) is client.send({"a": 1.5}) is None
            assert [str(error).startswith("frames are dropped: this process was forked") for error in errors] == [True]
            assert client.stats.not_running == 2
        if kind is RobotClient:
            client.close()
            with pytest.raises(ClientClosed):
                client.flush()
            client.__exit__(None, None, None)
        else:
            with pytest.raises(StopIteration):
                client.close().send(None)
            with pytest.raises(ClientClosed):
                client.flush().send(None)
            with pytest.raises(StopIteration):
                client.__aexit__(None, None, None).send(None)

    async with FakeServer() as server:
        client = kind(server.url, "robot_A", strict=strict, on_error=errors.append).start()
        client.send({"a": 1.5})
        await until(lambda: client.stats.acked == 1)
        in_forked_process(in_child)
        assert client.send({"a": 1.5}) == 1
        await until(lambda: client.stats.acked == 2)
        assert (client.stats.reconnects, client.stats.not_running) == (0, 0)
        await asyncio.to_thread(client.close) if kind is RobotClient else await client.close()
