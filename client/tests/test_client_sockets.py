"""Both front-ends over real sockets, against a server that dies, restarts, cuts the connection or sends nothing."""

import asyncio
import functools
import threading

import pytest
from fake_server import FakeServer, until
from teleop_client import (
    AsyncRobotClient,
    ClientClosed,
    Delays,
    HandshakeRefused,
    RobotClient,
    SessionDeleted,
    SessionTaken,
    TeleopTimeout,
)
from teleop_client.drain import is_in_use

SOON = Delays(first=0.01, most=0.05, slow=0.02, staff=0.02)
SESSION = "session-of-the-tests"


class ThreadedClient:
    """RobotClient behind the interface of AsyncRobotClient, so that both go through the same tests."""

    def __init__(self, *args, **kwargs):
        self.client = RobotClient(*args, **kwargs)

    def __getattr__(self, name):
        value = getattr(self.client, name)
        waits = name in {"wait_connected", "flush", "end", "close"}
        return functools.partial(asyncio.to_thread, value) if waits else value

    async def __aenter__(self):
        await asyncio.to_thread(self.client.__enter__)
        return self

    async def __aexit__(self, *error):
        await asyncio.to_thread(self.client.__exit__, *error)


@pytest.fixture(params=[AsyncRobotClient, ThreadedClient], ids=["asyncio", "threaded"])
def connect(request):
    def connect(server, **options):
        return request.param(server.url, "robot_A", **{"session": SESSION, "delays": SOON} | options)

    return connect


def on_loop(test):
    """Run an async test; signature and fixtures stay as they are."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


def send(client, count):
    return [client.send({"a.pos": 0.5}, {"a.pos": 1.0}) for _ in range(count)]


def stored(server):
    return list(server.sessions[SESSION])


@on_loop
async def test_it_delivers_every_frame_once_and_ends(connect):
    async with FakeServer() as server, connect(server, key="secret", meta_info={"task": "fold"}) as client:
        assert send(client, 500) == list(range(500))
        assert await client.end(5, {"success": True}) == 500
        assert (stored(server), server.duplicates) == (list(range(500)), 0)
        assert server.paths == [f"/ws/log/robot_A?session={SESSION}"]
        assert server.headers[0]["Authorization"] == "Bearer secret"
        assert server.headers[0]["Sec-WebSocket-Protocol"] == "teleop.v1"
        assert server.messages[0] == {"type": "start", "fps": 60, "meta_info": {"task": "fold"}}
        assert server.messages[-1] == {"type": "end", "meta_info": {"success": True}}


@on_loop
async def test_an_idle_client_sends_immediately(connect):
    async with FakeServer() as server, connect(server) as client:
        for _ in range(3):
            send(client, 1)
            await client.flush(5)


@on_loop
async def test_it_reconnects_after_a_server_crash(connect):
    async with FakeServer() as server, connect(server) as client:
        send(client, 200)
        await until(lambda: client.stats.acked > 50)
        server.kill()
        send(client, 200)
        await until(lambda: "refused the connection" in str(client.stats.last_error))
        await server.start()
        assert await client.end(5) == 400
        assert stored(server) == list(range(400))
        assert client.stats.reconnects == 1


@on_loop
async def test_it_reconnects_after_a_server_restart(connect):
    async with FakeServer() as server, connect(server) as client:
        send(client, 50)
        await client.flush(5)
        await server.stop(1012)
        send(client, 50)
        await server.start()
        assert await client.end(5) == 100
        assert stored(server) == list(range(100))


@on_loop
async def test_it_delivers_all_frames_over_repeated_disconnects(connect):
    async with FakeServer(max_unacked=5) as server, connect(server) as client:
        server.cut_every = 2
        send(client, 100)
        await client.flush(10)
        assert stored(server) == list(range(100))
        assert client.stats.reconnects > 10


@on_loop
async def test_it_counts_stored_frames_without_ack_after_reconnecting(connect):
    async with FakeServer() as server, connect(server) as client:
        server.ack = False
        send(client, 20)
        await until(lambda: len(server.sessions.get(SESSION, ())) == 20)
        server.ack = True
        await server.close_robots(1012)
        await client.flush(5)
        assert (client.stats.acked, server.duplicates) == (20, 0)


@on_loop
async def test_a_new_process_resumes_the_session(connect):
    async with FakeServer() as server:
        with pytest.raises(KeyboardInterrupt):
            async with connect(server) as client:
                send(client, 10)
                raise KeyboardInterrupt
        assert [m.get("type") for m in server.messages] == ["start"] + [None] * (len(server.messages) - 1)
        async with connect(server) as client:
            await client.wait_connected(5)
            assert send(client, 2) == [10, 11]
        assert stored(server) == list(range(12))


@on_loop
async def test_end_reports_held_frames_on_timeout_and_can_be_repeated(connect):
    async with FakeServer() as server, connect(server) as client:
        server.end = server.ack = False
        send(client, 3)
        await until(lambda: len(server.sessions.get(SESSION, ())) == 3)
        with pytest.raises(TeleopTimeout, match=r"not ended within 0.05 s: 3 frames held"):
            await client.end(0.05)
        server.end = True
        await server.close_robots(1012)
        assert await client.end(5) == 3


@pytest.mark.parametrize("spool_dir", [None, ""], ids=["in memory", "on disk"])
@on_loop
async def test_it_stops_when_the_handshake_is_refused(connect, spool_dir):
    """On disk the frames wait for a better key: the next client sends them."""
    async with FakeServer() as server:
        server.status = 403
        with pytest.raises(HandshakeRefused, match="403"):
            async with connect(server, spool_dir=spool_dir) as client:
                with pytest.raises(HandshakeRefused):
                    await client.wait_connected(5)
                assert send(client, 1) == [None if spool_dir is None else 0]
        assert len(server.paths) == 1
        server.status = None
        async with connect(server, spool_dir=spool_dir):
            pass
        assert stored(server) == ([] if spool_dir is None else [0])


@on_loop
async def test_it_stops_when_it_is_closed_with_4409(connect):
    async with FakeServer() as server:
        with pytest.raises(SessionTaken):
            async with connect(server) as client:
                send(client, 1)
                await client.flush(5)
                await server.close_robots(4409)
        assert len(server.paths) == 1


@on_loop
async def test_it_reconnects_if_no_greeting_arrives_in_time(connect):
    async with FakeServer() as server:
        server.greet = False
        async with connect(server, connect_timeout_s=0.05) as client:
            await until(lambda: "no greeting within 0.05 s" in str(client.stats.last_error))
            server.greet = True
            send(client, 1)
            await client.flush(10)


@pytest.fixture
def deaf(monkeypatch):
    """Return a server that no longer reads, but keeps its socket open."""
    monkeypatch.setattr("teleop_client.connection.CLOSE_TIMEOUT_S", 0.05)
    server = FakeServer()
    server.read = False
    return server


@pytest.mark.parametrize("frames", [1, 200], ids=["empty buffers", "full buffers"])
@on_loop
async def test_it_reconnects_if_the_server_is_unresponsive(deaf, frames):
    async with deaf, AsyncRobotClient(deaf.url, "robot_A", ping_interval_s=0.2, ping_timeout_s=0.2) as client:
        await client.wait_connected(5)
        deaf.read = True
        for _ in range(frames):
            client.send({"s": "x" * 60000})
        await client.flush(10)
        assert client.stats.reconnects >= 1  # more if this process is too busy to answer a ping within 0.2 s


@on_loop
async def test_close_does_not_wait_for_an_unresponsive_server(deaf):
    async with deaf, AsyncRobotClient(deaf.url, "robot_A", session=SESSION) as client:
        await client.wait_connected(5)
        for _ in range(200):
            client.send({"s": "x" * 60000})
        await until(lambda: client.protocol.pending == 200)
        async with asyncio.timeout(5):
            await client.close()
        deaf.read_on()
        await until(lambda: not deaf.connections)
        assert len(stored(deaf)) < 200


@on_loop
async def test_a_second_close_waits_for_the_first(connect, spool_dir, monkeypatch):
    entered, may_leave, leave = [], threading.Event(), AsyncRobotClient._leave

    async def slow_leave(client, connection):
        entered.append(connection)
        await asyncio.to_thread(may_leave.wait)
        await leave(client, connection)

    monkeypatch.setattr(AsyncRobotClient, "_leave", slow_leave)
    async with FakeServer() as server:
        client = connect(server)
        client.start()
        first = asyncio.create_task(client.close())
        await until(lambda: entered)
        second = asyncio.create_task(client.close())
        order = []
        second.add_done_callback(lambda _: order.append(is_in_use(spool_dir / "robot_A" / SESSION)))
        await asyncio.sleep(0)
        may_leave.set()
        await asyncio.gather(first, second)
        assert order == [False]
        await client.close()


@on_loop
async def test_send_raises_client_closed_when_not_running_if_it_is_strict(connect):
    async with FakeServer() as server:
        client = connect(server, strict=True)
        with pytest.raises(ClientClosed):
            send(client, 1)
        async with client:
            send(client, 1)
            await client.flush(5)
            await client.close()
            with pytest.raises(ClientClosed):
                send(client, 1)
        assert "end" not in [m.get("type") for m in server.messages]


@on_loop
async def test_exiting_the_context_manager_ends_the_session(connect):
    async with FakeServer() as server:
        async with connect(server) as client:
            send(client, 3)
        assert server.messages[-1] == {"type": "end"}
        assert client.stats.pending == 0


@on_loop
async def test_many_threads_can_send():
    async with FakeServer() as server:
        with RobotClient(server.url, "robot_A", session=SESSION) as client:
            await asyncio.gather(*(asyncio.to_thread(send, client, 250) for _ in range(4)))
            await asyncio.to_thread(client.end, 10)
            assert stored(server) == list(range(1000))
        assert not [t for t in threading.enumerate() if t.name.startswith("teleop ")]


@on_loop
async def test_it_knows_the_time_of_the_last_stored_frame(connect):
    async with FakeServer() as server, connect(server) as client:
        await client.wait_connected(10)
        assert client.last_timestamp is None
        client.send({"x": 1.0}, timestamp=1703318400.25)
        await client.end(10)
        async with connect(server) as again:
            await again.wait_connected(10)
            assert (again.next_frame_index, again.last_timestamp) == (1, 1703318400.25)


@on_loop
async def test_it_does_not_begin_a_deleted_session_again(connect):
    seen = []
    async with FakeServer() as server:
        server.status = 410
        client = connect(server, recreate_deleted=False, on_error=seen.append)
        await asyncio.to_thread(client.client.start) if isinstance(client, ThreadedClient) else client.start()
        await until(lambda: seen)
        await client.close()
        assert [type(error) for error in seen] == [SessionDeleted]
        assert server.paths == [f"/ws/log/robot_A?session={SESSION}&expect=any"]
