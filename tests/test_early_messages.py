"""Messages that reach the server before it has answered the handshake are stored in order, or the connection ends."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from types import SimpleNamespace

import pytest

from teleop.ingest import consumer
from tests.chaos.environment import serving, sqlite_file
from tests.patched_server import PatchedServer
from tests.raw_client import masked, raw_client
from tests.robot_socket import frame
from tests.services import Server, wait_until

FRAMES = [frame(index) for index in range(60)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sqlite_file() as url:
        yield url


@pytest.fixture(scope="module", params=["", "open_slowly"], ids=["quick", "slow"])
def server(url: str, request) -> Iterator[Server]:
    """Yield a server that opens sessions at once, then one that takes half a second."""
    with serving(url, how=request.param) as server:
        yield server


@pytest.fixture
def robot_id(request) -> str:
    return request.node.name.replace("[", "-").replace("]", "").replace(" ", "_")[-64:].lstrip("_-")


def stored(url: str, robot_id: str) -> list[int]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        rows = file.execute("SELECT frame_index FROM teleop_teleopframe WHERE robot_id = ? ORDER BY id", [robot_id])
        return [index for (index,) in rows]


def last_ack(client, index: int) -> int:
    """Return the last acknowledged index, once it is `index` or the connection has ended."""
    last = -1
    for message in client.messages():
        assert message["type"] in ("session", "ack"), message
        last = message.get("frame_index", last)
        if last == index:
            break
    return last


@pytest.mark.parametrize(
    "early, later",
    [
        pytest.param(FRAMES, [], id="all early"),
        pytest.param(FRAMES[:30], FRAMES[30:], id="half early"),
    ],
)
def test_it_stores_frames_that_come_in_one_packet_with_the_handshake(
    url: str, server: Server, robot_id: str, early: list[dict], later: list[dict]
):
    with raw_client(server, robot_id) as client:
        client.socket.sendall(client.handshake + masked(*early))
        if later:
            client.socket.sendall(masked(*later))
        assert last_ack(client, 59) == 59
        assert stored(url, robot_id) == list(range(60))


def test_it_stores_frames_sent_while_the_handshake_waits(url: str, server: Server, robot_id: str):
    with raw_client(server, robot_id) as client:
        client.socket.sendall(client.handshake)
        for message in FRAMES:
            client.socket.sendall(masked(message))
        assert last_ack(client, 59) == 59
        assert stored(url, robot_id) == list(range(60))


def test_it_stores_early_frames_of_a_mute_client(url: str, server: Server, robot_id: str):
    with raw_client(server, robot_id, mute=True) as client:
        client.socket.sendall(client.handshake + masked(*FRAMES))
        wait_until(lambda: len(stored(url, robot_id)) == 60, 10, "60 frames")
        assert stored(url, robot_id) == list(range(60))


def test_it_closes_a_connection_with_too_many_early_bytes(url: str, server: Server, robot_id: str):
    """1.6 MB are accepted after the handshake was answered, and too many before that."""
    large = masked(*(frame(index, note="x" * 2**14) for index in range(100)))
    with raw_client(server, robot_id) as client:
        with suppress(ConnectionResetError, BrokenPipeError):
            client.socket.sendall(client.handshake)
            client.socket.sendall(large)
        last = last_ack(client, 99)
        assert last == -1 or (last == 99 and not isinstance(server, PatchedServer))
        assert stored(url, robot_id) == list(range(last + 1))


@pytest.mark.parametrize("early", [0, 1, 3])
def test_it_keeps_the_order_of_messages_queued_before_the_accept(monkeypatch, early: int):
    """An ASGI server without our `direct` may queue messages before the application has accepted."""
    received: list[str] = []
    disconnected: list[int | None] = []
    connection = SimpleNamespace(greet=lambda: None, receive=received.append)

    async def scenario() -> None:
        events: asyncio.Queue[dict] = asyncio.Queue()
        sent: list[str] = []

        async def open_slowly(*args) -> object:
            for number in range(early):
                events.put_nowait({"type": "websocket.receive", "text": str(number)})
            await asyncio.sleep(0)
            return object()

        async def send(message: dict) -> None:
            sent.append(message["type"])

        worker = SimpleNamespace(
            handshakes=SimpleNamespace(open=open_slowly),
            connect=lambda lease, transport: connection,
            disconnected=lambda connection, code: disconnected.append(code),
            previews=SimpleNamespace(greeted=lambda connection: None),
        )
        monkeypatch.setattr(consumer, "running_worker", lambda: worker)
        scope = {"url_route": {"kwargs": {"robot_id": "arm"}}, "headers": [], "query_string": b"", "subprotocols": []}
        events.put_nowait({"type": "websocket.connect"})
        serving = asyncio.ensure_future(consumer.RobotConsumer()(scope, events.get, send))
        while "websocket.accept" not in sent:  # noqa: ASYNC110 - a few turns
            await asyncio.sleep(0)
        for number in range(early, 5):
            events.put_nowait({"type": "websocket.receive", "text": str(number)})
        events.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(serving, 5)

    asyncio.run(scenario())
    assert (received, disconnected) == ([str(number) for number in range(5)], [1000])
