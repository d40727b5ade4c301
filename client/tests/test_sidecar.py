"""`teleop-sidecar` over real sockets: a Foxglove server of the tests in front, the fake teleop server behind."""

import asyncio
import json
import logging
import os
import signal
import struct
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import pytest
from fake_server import FakeServer, until
from teleop_client import AsyncRobotClient
from teleop_client.sidecar import command, follow, images
from teleop_client.sidecar.follow import Sidecar
from teleop_client.sidecar.foxglove import MAX_ATTEMPTS, SUBPROTOCOL, FoxgloveClient, FoxgloveError
from teleop_client.sidecar.run import Run
from test_client_sockets import SOON, on_loop
from test_sidecar_run import ACTION, FRONT, START_S, STATE, plain, raw, state
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

SCHEMAS = {FRONT: ("protobuf", "foxglove.RawImage")}


class FakeFoxglove:
    """A server as that of foxglove-sdk 0.25: `say` sends a message of a topic to its subscribers."""

    def __init__(self, topics=(STATE, ACTION), subprotocol=SUBPROTOCOL):
        self.topics = dict(enumerate(topics, 1))  # by channel
        self.subscriptions = {}  # by channel
        self.session_id = "run 1"
        self.info = {}  # more fields of serverInfo
        self.greeting = None  # a text in place of serverInfo
        self.status = None  # of HTTP
        self.refusals = 0  # subscriptions that are refused because they come too early
        self.connections = 0
        self._subprotocols = [subprotocol] if subprotocol else None
        self.port = 0

    async def __aenter__(self):
        options = {"subprotocols": self._subprotocols, "select_subprotocol": None if self._subprotocols else _none}
        self._server = await serve(
            self._client, "127.0.0.1", self.port, process_request=self._answer, compression=None, **options
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def stop(self):
        self._server.close()
        await self._server.wait_closed()
        self.subscriptions.clear()

    def drop_connections(self):
        for connection in list(self._server.connections):
            connection.transport.abort()
        self.subscriptions.clear()

    def _answer(self, connection, request):
        return connection.respond(HTTPStatus(self.status), "") if self.status else None

    async def _client(self, connection):
        self.connections += 1
        self.subscriptions.clear()
        self._connection = connection
        info = {"op": "serverInfo", "name": "", "capabilities": [], "sessionId": self.session_id} | self.info
        with suppress(ConnectionClosed):
            await connection.send(self.greeting or json.dumps(info))
            await self.advertise(*self.topics)
            async for message in connection:
                await self._on_message(json.loads(message))

    async def advertise(self, *channels):
        fields = [(each, self.topics[each], *SCHEMAS.get(self.topics[each], ("json", "s"))) for each in channels]
        names = ("id", "topic", "encoding", "schemaName")
        await self._say(op="advertise", channels=[dict(zip(names, each, strict=True)) for each in fields])

    async def unadvertise(self, channel):
        del self.topics[channel], self.subscriptions[channel]
        await self._say(op="unadvertise", channelIds=[channel])

    async def _on_message(self, message):
        assert message["op"] == "subscribe"
        for each in message["subscriptions"]:
            if self.refusals:
                self.refusals -= 1
                await self._say(op="status", level=2, message=f"Unknown channel ID: {each['channelId']}")
            else:
                self.subscriptions[each["channelId"]] = each["id"]

    async def _say(self, **message):
        await self._connection.send(json.dumps(message))

    async def say(self, topic, after_s, payload):
        """Send a message once there is a subscription of its topic."""
        (channel,) = (number for number, name in self.topics.items() if name == topic)
        await until(lambda: channel in self.subscriptions)
        header = struct.pack("<BIQ", 1, self.subscriptions[channel], round((START_S + after_s) * 1e9))
        with suppress(ConnectionClosed):
            await self._connection.send(header + payload)

    async def tick(self, number):
        await self.say(STATE, number / 30, state(a=number))
        await self.say(ACTION, number / 30, state(a=-number))


def _none(connection, subprotocols):
    return None


@asynccontextmanager
async def recording(foxglove, server):
    """Run a sidecar between the two servers."""

    def new_client():
        return AsyncRobotClient(server.url, "robot_A", fps=30, linger_s=0, delays=SOON)

    sidecar = Sidecar("127.0.0.1", foxglove.port, lambda: Run(new_client, 30, images))
    following = asyncio.create_task(sidecar.follow())
    try:
        yield sidecar
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await sidecar.finish()


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(follow, "RETRY_S", 0.01)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "teleop_client")
    return caplog


def frames(server):
    """Return the numbers of the ticks that are stored, by session."""
    return [[frame["observation"]["a.pos"] for frame in stored.values()] for stored in server.sessions.values()]


def ended(server):
    return sum(message.get("type") == "end" for message in server.messages)


@on_loop
async def test_it_streams_each_tick_of_the_loop_with_its_time():
    async with FakeServer() as server, FakeFoxglove() as foxglove, recording(foxglove, server):
        for number in range(3):
            await foxglove.tick(number)
        await until(lambda: frames(server) == [[0, 1, 2]])
    (stored,) = server.sessions.values()
    assert [frame["action"] for frame in stored.values()] == [{"a.pos": -number} for number in range(3)]
    times = [frame["timestamp"] - START_S for frame in stored.values()]
    assert times == pytest.approx([0, 1 / 30, 2 / 30], abs=1e-6)
    assert ended(server) == 1


@on_loop
async def test_it_begins_a_session_for_each_run_of_lerobot(log):
    async with FakeServer() as server, FakeFoxglove() as foxglove, recording(foxglove, server):
        await foxglove.tick(1)
        await foxglove.stop()
        await until(lambda: ended(server) == 1)
        foxglove.session_id = "run 2"
        async with foxglove:
            await foxglove.tick(2)
            await until(lambda: frames(server) == [[1], [2]])
    assert "waiting for lerobot: 127.0.0.1" in log.text
    assert "session" in log.text
    assert "1 frames, 0 pictures, 0 incomplete frames, 0 unreadable messages" in log.text


@on_loop
async def test_it_goes_on_with_the_session_after_a_lost_connection():
    async with FakeServer() as server, FakeFoxglove() as foxglove, recording(foxglove, server):
        await foxglove.tick(1)
        await until(lambda: frames(server) == [[1]])
        foxglove.drop_connections()
        await foxglove.tick(2)
        await until(lambda: frames(server) == [[1, 2]])


@on_loop
async def test_it_begins_no_session_for_a_run_without_topics(log):
    async with FakeServer() as server, FakeFoxglove(topics=()) as foxglove:
        async with recording(foxglove, server):
            await until(lambda: "connected to" in log.text)
        assert server.sessions == {}


@on_loop
async def test_it_subscribes_again_if_the_server_was_not_ready():
    async with FakeServer() as server, FakeFoxglove() as foxglove:
        foxglove.refusals = 5
        async with recording(foxglove, server):
            await foxglove.tick(1)
            await until(lambda: frames(server) == [[1]])


@on_loop
async def test_a_topic_may_go_and_come_back():
    async with FakeServer() as server, FakeFoxglove() as foxglove, recording(foxglove, server):
        await foxglove.tick(1)
        await foxglove.unadvertise(2)
        for number in (2, 3):
            await foxglove.say(STATE, number, state(a=number))
        await until(lambda: frames(server) == [[1, 2]])
        foxglove.topics[7] = ACTION
        await foxglove.advertise(7)
        await foxglove.tick(4)
        await until(lambda: 4 in frames(server)[0])


@on_loop
async def test_it_records_without_pictures_after_one_that_is_too_large(log, monkeypatch):
    monkeypatch.setattr(follow, "MAX_MESSAGE_BYTES", 1 << 20)
    topics = (STATE, ACTION, FRONT)
    async with FakeServer() as server, FakeFoxglove(topics) as foxglove, recording(foxglove, server):
        await foxglove.tick(1)
        await foxglove.say(FRONT, 2, raw(plain(size=(1000, 1000))))
        await until(lambda: foxglove.connections == 2)
        await foxglove.tick(3)
        await until(lambda: frames(server) == [[1, 3]])
        assert set(foxglove.subscriptions) == {1, 2}
    assert "a message of more than 1 MiB: the rest of this run is recorded without pictures" in log.text


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"status": 400}, "is no Foxglove server (HTTP 400): does another program have this port?"),
        ({"_subprotocols": None}, "it does not speak foxglove.sdk.v1: is this the server of lerobot 0.6 or later?"),
        ({"info": {"capabilities": ["playbackControl"]}}, "it plays a recorded dataset, and no robot runs"),
        ({"info": {"capabilities": 5}}, "capabilities of its serverInfo is '5'; a list expected"),
        ({"greeting": "[1]"}, "it sent the text '[1]'; a JSON object expected"),
        ({"greeting": "{}"}, "it advertised topics before its serverInfo"),
        ({"greeting": '{"op": "advertise", "channels": [{"id": "x"}]}'}, "it advertised {'id': 'x'}; id, topic,"),
    ],
)
@on_loop
async def test_it_says_once_why_a_server_cannot_be_used_and_waits_for_a_better_one(log, options, reason):
    foxglove = FakeFoxglove()
    usable = {name: getattr(foxglove, name) for name in options}
    vars(foxglove).update(options)
    async with FakeServer() as server, foxglove, recording(foxglove, server):
        await until(lambda: reason in log.text)
        tries = foxglove.connections
        if "status" not in options:
            await until(lambda: foxglove.connections > tries + 1)
        assert log.text.count(reason) == 1
        await foxglove.stop()
        vars(foxglove).update(usable)
        async with foxglove:
            await foxglove.tick(1)
            await until(lambda: frames(server) == [[1]])


def test_it_gives_up_a_subscription_that_the_server_always_refuses(caplog):
    class Receiver:
        def handler(self, channel):
            return lambda time, payload: None

    client = FoxgloveClient(lambda server: Receiver())
    client.receive('{"op": "serverInfo", "capabilities": []}')
    channel = {"id": 1, "topic": STATE, "encoding": "json", "schemaName": "s"}
    answer = client.receive(json.dumps({"op": "advertise", "channels": [channel]}))
    attempts = 0
    while answer:
        attempts += 1
        answer = client.receive('{"op": "status", "level": 2, "message": "Unknown channel ID: 1"}')
    assert attempts == MAX_ATTEMPTS
    assert "the Foxglove server says: Unknown channel ID: 1" in caplog.text


def test_it_ignores_messages_of_a_topic_that_is_gone():
    class Receiver:
        def handler(self, channel):
            return lambda time, payload: pytest.fail("a message of a topic that is gone")

        def remove(self, topic):
            assert topic == STATE

    client = FoxgloveClient(lambda server: Receiver())
    client.receive('{"op": "serverInfo", "capabilities": []}')
    channel = {"id": 1, "topic": STATE, "encoding": "json", "schemaName": "s"}
    (subscription,) = json.loads(client.receive(json.dumps({"op": "advertise", "channels": [channel]})))[
        "subscriptions"
    ]
    assert client.receive('{"op": "unadvertise", "channelIds": [1, 2, "x"]}') is None
    client.receive(struct.pack("<BIQ", 1, subscription["id"], 0) + state(a=1))


def test_it_needs_another_connection_for_another_session_of_the_server():
    receivers = {"run 1": object(), "run 2": object()}
    client = FoxgloveClient(lambda server: receivers[server.session_id])
    for _ in range(2):
        client.receive('{"op": "serverInfo", "capabilities": [], "sessionId": "run 1"}')
    with pytest.raises(FoxgloveError, match="it began another session"):
        client.receive('{"op": "serverInfo", "capabilities": [], "sessionId": "run 2"}')


def test_it_ignores_other_binary_messages_and_refuses_truncated_ones():
    client = FoxgloveClient(lambda server: None)
    for message in (b"", b"\x02" + bytes(8), struct.pack("<BIQ", 1, 99, 0)):
        assert client.receive(message) is None
    with pytest.raises(FoxgloveError, match="a message of 5 bytes; at least 13 expected"):
        client.receive(b"\x01" + bytes(4))


@on_loop
async def test_the_command_ends_the_session_when_it_is_stopped():
    async with FakeServer() as server, FakeFoxglove() as foxglove:
        options = ["--url", server.url, "--robot", "robot_A", "--foxglove", str(foxglove.port), "--task", "fold"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "teleop_client.sidecar.command", *options, "--no-cameras"),
            stderr=subprocess.PIPE,
            env=os.environ | {"TELEOP_KEY": "secret"},
        )
        try:
            await until(lambda: len(foxglove.subscriptions) == 2, within_s=20)
            await foxglove.tick(1)
            await until(lambda: frames(server) == [[1]])
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                _, log = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert (process.returncode, ended(server)) == (0, 1), log
    assert server.headers[0]["Authorization"] == "Bearer secret"
    start = next(message for message in server.messages if message.get("type") == "start")
    assert (start["fps"], start["meta_info"]) == (30, {"recorded_by": "teleop-sidecar", "task": "fold"})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--robot", "a/b"], "robot_id is 'a/b'"),
        (["--url", "ftp://host"], "ftp"),
        (["--foxglove", "70000"], "'70000'; 1 to 65535 expected"),
        (["--fps", "x"], "'x'; 1 to 1000 expected"),
        (["--key-file", "/nowhere/keys"], "/nowhere/keys"),
    ],
)
def test_the_command_refuses_unusable_options(options, reason, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--url", "ws://127.0.0.1:1", "--robot", "robot_A", *options])
    assert reason in capsys.readouterr().err
