"""Frames survive the process: outages, kills, restarts, full disks, and other processes."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from client_core import Core
from fake_server import FakeServer, until
from teleop_client import AsyncRobotClient, ClientClosed, RobotClient, SpoolInUse, SpoolUnusable, agent
from teleop_client.drain import Outcome
from teleop_client.encoding import control_message
from test_client_sockets import SESSION, SOON, on_loop, send, stored

AWAY = "ws://127.0.0.1:9"  # nothing listens on this port


def client(url, robot_id="robot_A", session=SESSION, kind=AsyncRobotClient, **options):
    return kind(url, robot_id, session=session, delays=SOON, **options)


def offline(count, **options):
    """Return a client that was closed with so many frames, without a server."""

    async def run():
        robot = client(AWAY, **options).start()
        send(robot, count)
        await robot.close()
        return robot

    return run()


def drain(spool_dir, url=None, keys=None):
    return agent.Agent(spool_dir, agent.Keys(keys), url).drain()


def events(server, kind):
    return [m["detail"] for m in server.messages if m.get("type") == "event" and m["kind"] == kind]


def killed(url, program, **environment):
    """Run a program that prints a line when it is to be killed; kill it then."""
    code = f"import sys, time\nfrom teleop_client import RobotClient\nurl = {url!r}\n{program}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    line = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return line.strip()


RECORD = f"""
client = RobotClient(url, "robot_A", session={SESSION!r}).start()
for number in range(200):
    client.send({{"a.pos": 0.5}})
print("recorded", flush=True)
time.sleep(60)
"""


@on_loop
async def test_the_next_process_sends_what_a_killed_one_has_recorded_offline():
    assert await asyncio.to_thread(killed, AWAY, RECORD) == "recorded"
    async with FakeServer() as server, client(server.url) as robot:
        await robot.flush(5)
        assert (stored(server), server.duplicates) == (list(range(200)), 0)
        assert robot.stats.recovered == 200


@on_loop
async def test_after_a_kill_indexes_go_on_behind_the_reserved_ones_and_an_event_says_so():
    await asyncio.to_thread(killed, AWAY, RECORD)
    async with FakeServer() as server, client(server.url) as robot:
        (index,) = send(robot, 1)
        await robot.end(5)
        assert index >= 800
        assert stored(server) == [*range(200), index]
        (jump,) = events(server, "restart")
        assert jump == {"from_index": 200, "to_index": index, "rebooted": False}


@on_loop
async def test_a_client_that_was_closed_goes_on_without_a_gap():
    await offline(3)
    async with FakeServer() as server, client(server.url) as robot:
        assert send(robot, 2) == [3, 4]
        await robot.end(5)
        assert (stored(server), events(server, "restart")) == (list(range(5)), [])


@on_loop
async def test_a_client_sends_what_another_session_of_the_robot_has_left(spool_dir):
    await offline(3, session="the-session-before")
    async with FakeServer() as server, client(server.url):
        await until(lambda: list(server.sessions.get("the-session-before", ())) == [0, 1, 2])
        await until(lambda: not (spool_dir / "robot_A" / "the-session-before").exists())


@on_loop
async def test_the_log_has_the_frames_of_each_session_that_was_left(spool_dir, caplog):
    caplog.set_level("INFO", "teleop_client")
    await offline(3, session="the-first-session")
    await offline(2, session="the-second-session")
    async with FakeServer() as server, client(server.url):
        await until(lambda: caplog.text.count("frames sent") == 2)
    assert "the-first-session: sent; 3 frames sent" in caplog.text
    assert "the-second-session: sent; 2 frames sent" in caplog.text


@on_loop
async def test_a_recording_made_offline_arrives_with_its_start_its_end_and_its_marks():
    robot = client(AWAY, session="the-session-before", fps=30, meta_info={"task": "fold"}).start()
    send(robot, 2)
    robot.mark("slips")
    with pytest.raises(TimeoutError):
        await robot.end(0.05, {"success": True})
    await robot.close()
    async with FakeServer() as server, client(server.url):
        await until(lambda: any(m.get("meta_info") == {"success": True} for m in server.messages))
    sent = server.received["the-session-before"]
    assert [m.get("type") for m in sent] == ["start", "event", None, "end"]
    assert (sent[0]["fps"], sent[0]["meta_info"]) == (30, {"task": "fold"})
    assert sent[1]["detail"] == {"note": "slips"}


@on_loop
async def test_leaving_the_block_in_an_outage_keeps_the_frames(monkeypatch):
    monkeypatch.setattr("teleop_client.aio.EXIT_TIMEOUT_S", 0.05)
    async with client(AWAY, session="the-session-before") as robot:
        send(robot, 2)
    async with FakeServer() as server, client(server.url):
        await until(lambda: len(server.sessions.get("the-session-before", ())) == 2)


@on_loop
async def test_a_complete_session_leaves_no_files(spool_dir):
    async with FakeServer() as server, client(server.url) as robot:
        send(robot, 2)
        assert (spool_dir / "robot_A" / SESSION).is_dir()
    assert not (spool_dir / "robot_A" / SESSION).exists()


@on_loop
async def test_it_notices_after_a_restart_that_the_server_lost_acknowledged_frames():
    async with FakeServer() as server:
        robot = client(server.url).start()
        send(robot, 3)
        await robot.flush(5)
        await robot.close()
        server.sessions.clear()
        async with client(server.url) as robot:
            await robot.wait_connected(5)
            assert robot.stats.lost == 3


@on_loop
async def test_frames_that_another_process_has_stored_move_its_own_behind_them():
    async with FakeServer() as server:
        server.sessions[SESSION] = {index: {} for index in range(10)}
        await offline(3)
        async with client(server.url) as robot:
            send(robot, 2)
            await robot.end(5)
        assert (stored(server), server.duplicates) == (list(range(15)), 0)


@on_loop
async def test_an_index_that_a_power_cut_takes_back_is_not_used_twice(spool_dir, tmp_path):
    """The frames behind the last sync are gone, but the server may have them."""
    folder = spool_dir / "robot_A" / SESSION
    async with FakeServer() as server:
        robot = client(server.url).start()
        await robot.wait_connected(5)
        robot.protocol._spool.log.sync()
        shutil.copytree(folder, tmp_path / "on the disk")
        send(robot, 5)
        await robot.flush(5)
        await robot.close()
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "on the disk", folder)
        await offline(2)  # before it knows of the five frames
        async with client(server.url) as robot:
            await robot.end(5)
    assert server.duplicates == 0
    assert len(stored(server)) == 7
    assert min(index for index in stored(server) if index > 4) >= 600


@on_loop
async def test_frames_beyond_the_memory_are_read_from_the_disk_in_order(monkeypatch):
    monkeypatch.setattr("teleop_client.buffer.MEMORY_FRAMES", 50)
    monkeypatch.setattr("teleop_client.buffer.LOAD_BYTES", 2000)
    await offline(200)
    async with FakeServer(max_unacked=20) as server, client(server.url) as robot:
        send(robot, 300)
        await robot.end(10)
        assert (stored(server), server.duplicates) == (list(range(500)), 0)
        assert (robot.stats.acked, robot.stats.pending, robot.stats.recovered) == (500, 0, 200)


@on_loop
async def test_segments_are_deleted_when_all_their_frames_are_acknowledged(spool_dir, monkeypatch):
    async with FakeServer() as server:
        robot = client(server.url).start()
        robot.protocol._spool.log._segment_bytes = 2000
        for _ in range(10):
            send(robot, 50)
            await robot.flush(5)
            await asyncio.to_thread(robot.protocol._spool.log.sync)
        segments = list((spool_dir / "robot_A" / SESSION).glob("*.spool"))
        await robot.close()
        assert len(segments) < 6


@on_loop
async def test_a_second_client_of_the_session_is_refused(monkeypatch):
    monkeypatch.setattr("teleop_client.aio.LOCK_WAIT_S", 0)
    async with FakeServer() as server, client(server.url):
        with pytest.raises(SpoolInUse):
            client(server.url).start()


@pytest.mark.parametrize("fault", ["another robot's", "a newer version's", "a file"])
@on_loop
async def test_it_records_in_memory_if_the_spool_cannot_be_used(fault, spool_dir):
    folder = spool_dir / "robot_A" / SESSION
    if fault == "another robot's":
        await offline(2, robot_id="robot_B")
        (spool_dir / "robot_B").rename(spool_dir / "robot_A")
    elif fault == "a file":
        folder.parent.mkdir(parents=True)
        folder.write_text("")
    else:
        await offline(2)
    if fault == "a newer version's":
        for segment in folder.glob("*.spool"):
            segment.write_bytes(b"TELEOPS2" + segment.read_bytes()[8:])
    errors = []
    async with FakeServer() as server, client(server.url, on_error=errors.append) as robot:
        send(robot, 2)
        await robot.flush(5)
    assert [type(error) for error in errors] == [SpoolUnusable]
    assert stored(server) == [0, 1]


@on_loop
async def test_it_drops_and_counts_new_frames_when_the_quota_is_full():
    robot = client(AWAY, max_spool_bytes=30_000, max_held_frames=600).start()
    await until(lambda: send(robot, 10)[-1] is None)
    assert (robot.stats.sent, robot.stats.pending) == (600, 600)
    kept = 600 - robot.stats.unspooled
    await robot.close()
    async with FakeServer() as server, client(server.url) as robot:
        await robot.flush(5)
        assert len(stored(server)) == kept > 100


@on_loop
async def test_it_holds_frames_in_memory_while_the_disk_takes_none(monkeypatch):
    monkeypatch.setattr("teleop_client.connection.CHECK_INTERVAL_S", 0.01)
    errors = []
    async with FakeServer() as server, client(server.url, on_error=errors.append) as robot:
        log = robot.protocol._spool.log
        monkeypatch.setattr(log, "append", lambda *record, **options: setattr(log, "problem", "the disk is full"))
        assert send(robot, 5) == list(range(5))
        await robot.flush(5)
        assert (stored(server), robot.stats.unspooled) == (list(range(5)), 5)
        await until(lambda: errors)
        assert "takes no frames: the disk is full" in str(errors[0])


PUSH = f"""
client = RobotClient(url, "robot_A", session={SESSION!r}).start()
for number in range(200):
    client.send({{"a.pos": 0.5}}, timestamp=1.8e9 + number, frame_index=number)
print("recorded", flush=True)
time.sleep(60)
"""


@on_loop
async def test_a_data_set_that_is_sent_again_after_a_kill_is_stored_once():
    await asyncio.to_thread(killed, AWAY, PUSH)
    async with FakeServer() as server, client(server.url) as robot:
        frames = [robot.send({"a.pos": 0.5}, timestamp=1.8e9 + number, frame_index=number) for number in range(250)]
        assert frames == list(range(250))
        await robot.end(5)
        assert (stored(server), server.duplicates) == (list(range(250)), 0)
        assert [frame["timestamp"] - 1.8e9 for frame in server.sessions[SESSION].values()] == list(range(250))
        assert events(server, "restart") == []


@pytest.mark.parametrize("kind", [AsyncRobotClient, RobotClient])
@on_loop
async def test_a_new_session_begins_at_once_and_the_old_one_is_sent_to_its_end(kind):
    async with FakeServer() as server:
        robot = client(server.url, kind=kind, meta_info={"task": "one"}).start()
        send(robot, 3)
        second = robot.new_session({"task": "two"}, {"success": False})
        assert (send(robot, 2), robot.session) == ([0, 1], second)
        await (asyncio.to_thread(robot.end, 5) if kind is RobotClient else robot.end(5))
        assert [server.received[key][-1] for key in (SESSION, second)] == [
            {"type": "end", "meta_info": {"success": False}},
            {"type": "end"},
        ]
        assert {key: len(frames) for key, frames in server.sessions.items()} == {SESSION: 3, second: 2}
        assert robot.stats.sent == robot.stats.acked == 5


@pytest.mark.parametrize("fault", ["the quota", "a full disk"])
@on_loop
async def test_marks_and_the_end_are_on_disk_though_the_spool_takes_no_frames(fault, monkeypatch):
    robot = client(AWAY, max_spool_bytes=20_000, max_held_frames=500).start()
    log = robot.protocol._spool.log
    await until(lambda: send(robot, 10)[-1] is None)
    if fault == "a full disk":
        monkeypatch.setattr("teleop_client.spool.segments._Segment.write", lambda *_: os.write(10**6, b""))
    assert robot.mark("slips", 1.8e9)
    robot.protocol.end(control_message("end", {"success": True}))
    if fault == "a full disk":
        monkeypatch.undo()
        await until(lambda: log.end.segment == 2)
    folder = log._folder.path
    shutil.copytree(folder, folder.with_name("a-copy-of-the-spool"))  # as a kill would leave it
    await robot.close()
    shutil.rmtree(folder)
    folder.with_name("a-copy-of-the-spool").rename(folder)
    async with FakeServer() as server:
        assert await drain(folder.parent.parent, server.url) == {Outcome.SENT: 1}
        assert events(server, "mark") == [{"note": "slips"}]
        assert server.messages[-1] == {"type": "end", "meta_info": {"success": True}}


@pytest.mark.parametrize("call", ["flush", "wait_connected"])
@on_loop
async def test_a_wait_ends_when_another_task_closes_the_client(call):
    robot = client(AWAY).start()
    send(robot, 1)
    waits = asyncio.create_task(getattr(robot, call)(None))
    await asyncio.sleep(0)
    await robot.close()
    with pytest.raises(ClientClosed):
        async with asyncio.timeout(5):
            await waits


@on_loop
async def test_sessions_that_were_ended_offline_are_sent_one_after_another_when_the_server_is_back(monkeypatch):
    monkeypatch.setattr("teleop_client.aio.FINISH_S", 0.05)
    monkeypatch.setattr("teleop_client.aio.LEFTOVERS_POLL_S", 0.01)
    async with FakeServer() as server:
        await server.stop()
        async with client(server.url) as robot:
            for _ in range(5):
                send(robot, 2)
                robot.new_session()
            await until(lambda: not robot._finishing)
            assert len(asyncio.all_tasks()) < 10
            await server.start()
            await until(lambda: len(server.sessions) == 6)
            await until(lambda: sum(map(len, server.sessions.values())) == 10)


@on_loop
async def test_frames_that_a_thread_sends_during_new_session_are_all_stored_once(monkeypatch):
    import teleop_client.aio as aio

    opened = aio.open_spool
    monkeypatch.setattr(aio, "open_spool", lambda *a, **k: (time.sleep(0.02), opened(*a, **k))[1])
    async with FakeServer() as server:
        robot = client(server.url, kind=RobotClient).start()
        sent, stop = [], threading.Event()

        def loop():
            while not stop.is_set():
                sent.append(robot.send({"a": 0.5}))

        thread = threading.Thread(target=loop)
        thread.start()
        for _ in range(5):
            await asyncio.to_thread(robot.new_session)
        stop.set()
        await asyncio.to_thread(thread.join)
        await asyncio.to_thread(robot.end, 20)
        assert None not in sent
        assert sum(map(len, server.sessions.values())) == len(sent)


@on_loop
async def test_a_push_that_is_interrupted_the_second_time_is_stored_once():
    def push(robot, count):
        return [robot.send({"a": 0.5}, timestamp=1.8e9 + number, frame_index=number) for number in range(count)]

    async with FakeServer() as server:
        async with client(server.url) as robot:
            push(robot, 100)
        robot = client(AWAY).start()
        push(robot, 50)
        await robot.close()
        async with client(server.url) as robot:
            await robot.flush(5)
        assert stored(server) == list(range(100))


@on_loop
async def test_a_push_tells_which_frames_cannot_be_added_behind_later_ones():
    robot = client(AWAY, max_spool_bytes=6_000, max_held_frames=1).start()
    log = robot.protocol._spool.log
    first = [robot.send({"a": 0.5}, frame_index=number) for number in range(200)]
    log.quota_bytes = 1 << 30
    log._check_at = 0
    await until(lambda: log.problem is None)
    assert robot.send({"a": 0.5}, frame_index=200) == 200
    await robot.close()
    robot = client(AWAY).start()
    second = [robot.send({"a": 0.5}, frame_index=number) for number in range(201)]
    await robot.close()
    assert second == [*first[:-1], None, 200] if first[-1] is not None else second == [*first, 200]
    assert None in first


@pytest.mark.parametrize("index", [5.5, "7", None, 2**31])
def test_an_index_that_is_no_index_drops_that_frame_only(index):
    core = Core()
    frame = ({"a": 1.0}, None, 1.8e9, {})
    assert core.send(*frame, frame_index=2**31 if index is None else index) is None
    assert core.send(*frame) == 0


@on_loop
async def test_a_spool_that_cannot_be_used_does_not_stop_the_others(spool_dir):
    await offline(2, session="the-first-session")
    for segment in (spool_dir / "robot_A" / "the-first-session").glob("*.spool"):
        segment.write_bytes(b"TELEOPS2" + segment.read_bytes()[8:])
    await offline(2)
    (spool_dir / "robot_A" / SESSION / "wanted").touch()  # of a client that was killed while it waited
    os.utime(spool_dir / "robot_A" / SESSION / "wanted", (0, 0))
    async with FakeServer() as server:
        assert await drain(spool_dir, server.url) == {Outcome.UNUSABLE: 1, Outcome.SENT: 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("linger_s", -1),
        ("linger_s", "x"),
        ("connect_timeout_s", 0),
        ("max_spool_bytes", 0),
        ("max_held_frames", 0),
        ("min_free_bytes", -1),
        ("upload_kbit_s", 8),
        ("fps", 29.97),
        ("meta_info", [1]),
        ("session", ""),
        ("on_error", "x"),
    ],
)
def test_it_names_the_option_that_cannot_be_used(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is"):
        AsyncRobotClient(AWAY, "robot_A", **{name: value})


@on_loop
async def test_labels_of_a_session_that_was_ended_offline_arrive_though_it_goes_on():
    robot = client(AWAY, meta_info={"task": "fold", "operator": "ada"}).start()
    send(robot, 1)
    with pytest.raises(TimeoutError):
        await robot.end(0.01, {"success": True})
    await robot.close()
    async with FakeServer() as server, client(server.url, meta_info={"operator": "bob"}) as robot:
        await robot.flush(5)
        assert server.messages[0]["meta_info"] == {"task": "fold", "operator": "bob", "success": True}


@on_loop
async def test_marks_are_kept_too_while_the_key_is_wrong():
    async with FakeServer() as server:
        server.status = 403
        robot = client(server.url).start()
        await until(lambda: robot.protocol.error)
        send(robot, 1)
        assert robot.mark("slips")
        await robot.close()
        server.status = None
        async with client(server.url) as robot:
            await robot.end(5)
        assert events(server, "mark") == [{"note": "slips"}]
