"""`teleop-agent` sends the spools of dead processes, and never disturbs a running client."""

import asyncio
import os
import subprocess
import sys

import pytest
from fake_server import FakeServer, until
from teleop_client import agent
from teleop_client.drain import REFUSED_S, Outcome
from test_client_sockets import SESSION, on_loop, send, stored
from test_client_spool import AWAY, client, drain, offline

FOLDER = "robot_A"


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# the arms of the lab\nrobot_A  secret-A\n\nrobot_B secret-B\n")
    file.chmod(0o600)
    return file


@on_loop
async def test_it_sends_and_deletes_the_spools_of_dead_processes(spool_dir, key_file):
    await offline(3)
    await offline(2, robot_id="robot_B", session="session-of-robot-B")
    async with FakeServer() as server:
        counts = await drain(spool_dir, server.url, key_file)
        assert stored(server) == [0, 1, 2]
        assert counts == {Outcome.SENT: 2}
        assert [headers["Authorization"] for headers in server.headers] == ["Bearer secret-A", "Bearer secret-B"]
    assert [list(robot.iterdir()) for robot in agent.robots(spool_dir)] == [[], []]


@on_loop
async def test_it_finds_the_server_in_the_spool(spool_dir):
    async with FakeServer() as server:
        await server.stop()
        await offline_at(server.url)
        await server.start()
        assert await drain(spool_dir) == {Outcome.SENT: 1}


async def offline_at(url):
    robot = client(url).start()
    send(robot, 3)
    await robot.close()


@on_loop
async def test_it_asks_the_server_not_to_take_a_session_from_a_running_client(spool_dir):
    async with FakeServer() as server:
        async with client(server.url) as robot:
            await robot.wait_connected(5)
            server.kill()
            send(robot, 1)
            await robot.close()
        await server.start()
        server.status = 409
        assert await drain(spool_dir, server.url) == {Outcome.IN_USE: 1}
        assert server.paths[-1].endswith(f"?session={SESSION}&takeover=no&expect=17")
        server.status = None
        assert await drain(spool_dir, server.url) == {Outcome.SENT: 1}


@on_loop
async def test_it_never_opens_the_spool_of_a_running_client(spool_dir):
    async with FakeServer() as server, client(server.url) as robot:
        send(robot, 1)
        await robot.flush(5)
        assert await drain(spool_dir, server.url) == {Outcome.IN_USE: 1}
        assert [found.state for found in agent.found_spools(spool_dir)] == ["in use"]
        assert robot.stats.reconnects == 0


@on_loop
async def test_a_client_that_starts_gets_its_spool_from_a_drain(spool_dir):
    await offline(3)
    async with FakeServer() as server:
        server.ack = False
        task = asyncio.create_task(drain(spool_dir, server.url))
        await until(lambda: len(server.sessions.get(SESSION, ())) == 3)
        robot = client(server.url)
        await asyncio.gather(task, asyncio.to_thread(robot.prepare, 5))
        server.ack = True
        robot._connection.start()
        assert send(robot, 1) == [3]
        await robot.end(5)
        assert stored(server) == [0, 1, 2, 3]


@on_loop
async def test_a_wrong_key_leaves_the_spool_for_a_better_one_and_sets_it_aside_after_a_week(spool_dir, monkeypatch):
    await offline(3)
    async with FakeServer() as server:
        server.status = 403
        assert await drain(spool_dir, server.url) == {Outcome.LEFT: 1}
        monkeypatch.setattr("teleop_client.drain.REFUSED_S", -1)
        assert REFUSED_S > 0
        assert await drain(spool_dir, server.url) == {Outcome.SET_ASIDE: 1}
        assert await drain(spool_dir, server.url) == {}
    (found,) = agent.found_spools(spool_dir)
    assert (found.state, found.frames) == ("set aside", 3)
    assert "403" in (spool_dir / "set-aside" / FOLDER / SESSION / "reason.txt").read_text()


@pytest.mark.parametrize("status", [410, None], ids=["the server says so", "an older server begins another session"])
@on_loop
async def test_frames_of_a_session_that_staff_deleted_are_set_aside(spool_dir, status):
    async with FakeServer() as server:
        robot = client(server.url).start()
        await robot.wait_connected(5)
        server.kill()
        send(robot, 3)
        await robot.close()
        server.sessions.clear()
        server.session_id, server.status = 18, status
        await server.start()
        assert await drain(spool_dir, server.url) == {Outcome.SET_ASIDE: 1}
        assert not server.sessions.get(SESSION)
    assert "deleted" in (spool_dir / "set-aside" / FOLDER / SESSION / "reason.txt").read_text()


@on_loop
async def test_it_sends_the_frames_of_a_session_that_staff_have_ended(spool_dir):
    """The connection reopens it for as long as the frames take."""
    await offline(3)
    async with FakeServer() as server:
        server.sessions[SESSION] = {}
        assert await drain(spool_dir, server.url) == {Outcome.SENT: 1}
        assert stored(server) == [0, 1, 2]


@on_loop
async def test_it_drops_and_counts_frames_that_the_server_refuses_for_good(spool_dir, caplog):
    await offline(3)
    caplog.set_level("INFO", "teleop_client")
    async with FakeServer() as server:
        server.refuse = {1}
        assert await drain(spool_dir, server.url) == {Outcome.SENT: 1}
    assert "2 frames sent, 1 refused" in caplog.text


@on_loop
async def test_a_server_that_is_away_leaves_everything(spool_dir, monkeypatch):
    monkeypatch.setattr("teleop_client.drain.IDLE_S", 0.1)
    await offline(3)
    assert await drain(spool_dir, AWAY) == {Outcome.LEFT: 1}
    assert [found.frames for found in agent.found_spools(spool_dir)] == [3]


@on_loop
async def test_a_key_that_is_revoked_during_a_drain_leaves_the_rest(spool_dir):
    await offline(3)
    async with FakeServer() as server:
        server.ack = False
        task = asyncio.create_task(drain(spool_dir, server.url))
        await until(lambda: len(server.sessions.get(SESSION, ())) == 3)
        await server.close_robots(4401)
        assert await task == {Outcome.LEFT: 1}
    assert [found.frames for found in agent.found_spools(spool_dir)] == [3]


@on_loop
async def test_it_asks_the_server_of_a_disabled_robot_every_ten_minutes_only(spool_dir):
    now = 0.0
    await offline(3)
    async with FakeServer() as server:
        server.status, server.body = 403, '{"detail":"robot robot_A is disabled","code":"robot_disabled"}'
        draining = agent.Agent(spool_dir, agent.Keys(None), server.url, clock=lambda: now)
        assert await draining.drain() == {Outcome.DISABLED: 1}
        now = 599.0
        assert await draining.drain() == {}
        assert len(server.headers) == 1
        server.status, now = None, 661.0
        assert await draining.drain() == {Outcome.SENT: 1}


def test_it_refuses_a_key_file_that_others_may_read(key_file):
    key_file.chmod(0o640)
    with pytest.raises(ValueError, match="has the mode 0640; 0600 expected"):
        agent.Keys(key_file)


def test_it_names_the_line_of_a_damaged_key_file_without_the_key(key_file):
    key_file.write_text("robot_A secret-A\nrobot_B secret B\n")
    with pytest.raises(ValueError, match="line 2 has 3 words") as error:
        agent.Keys(key_file)
    assert "secret" not in str(error.value)


def test_the_command_shows_the_spools(spool_dir):
    asyncio.run(offline(3))
    command = [sys.executable, "-m", "teleop_client.agent", "--spool-dir", str(spool_dir), "status"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout
    assert shown.splitlines()[0].split() == ["robot", "session", "state", "frames", "MB", "changed"]
    assert shown.splitlines()[1].split()[:5] == ["robot_A", SESSION, "waits", "<=", "3"]
