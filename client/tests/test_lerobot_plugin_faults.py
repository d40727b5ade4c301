"""Nothing that happens to the stream disturbs lerobot's loop: it records the same, and the user sees a message."""

import logging

import pytest
import teleop_client
from lerobot_stub.stub_fixtures import *  # noqa: F403 - fixtures
from lerobot_stub.stub_fixtures import KEY, ROBOT_ID, Events
from teleop_client import threaded

DISCARDED = {"success": False, "tags": ["re-recorded"]}
RERECORD = ("rerecord_episode", "exit_early")


@pytest.fixture
def record(run_of_lerobot):
    """Return a function that records two episodes, the first of them again, with a plain arm and with this one.

    Both must save the same episodes.
    """

    def record_with(arm):
        events = Events({2: RERECORD})
        return run_of_lerobot.record(arm, events.teleop, events, episodes=2, frames=4, reset_frames=3)

    def record(arm):
        config_class = run_of_lerobot.so_follower.SOFollowerRobotConfig
        plain = run_of_lerobot.make_robot(config_class(port="/dev/null"))
        assert record_with(arm) == record_with(plain)
        assert arm.calls == plain.calls

    return record


close = teleop_client.RobotClient.close  # as it is, also in tests that replace it


@pytest.fixture(autouse=True)
def _close_clients():
    yield
    for client in list(threaded._running):
        close(client)


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("url", ["server:8000", "ftp://server", "http://", ""])
def test_it_says_once_that_the_url_is_wrong(record, make_arm, caplog, url):
    record(make_arm(url))
    (error,) = errors(caplog)
    assert error.startswith("nothing is streamed to the server, and lerobot goes on without it: ")
    assert repr(url) in error


def test_it_says_once_that_the_robot_id_is_wrong(record, make_arm, server, caplog):
    record(make_arm(server, robot_id="robot A"))
    (error,) = errors(caplog)
    assert "robot A" in error


def test_it_says_once_that_there_is_no_key(record, make_arm, server, caplog, monkeypatch):
    monkeypatch.delenv("TELEOP_KEY")
    record(make_arm(server))
    (error,) = errors(caplog)
    assert error.endswith("there is no key of robot_A: set TELEOP_KEY, or give --robot.stream.key_file")
    assert not server.headers


def test_it_refuses_a_key_file_that_others_may_read(record, make_arm, server, caplog, tmp_path):
    (file := tmp_path / "keys").write_text(f"{ROBOT_ID} {KEY}")
    file.chmod(0o644)
    record(make_arm(server, key_file=file))
    (error,) = errors(caplog)
    assert "0600 expected" in error
    assert KEY not in caplog.text


def test_it_reads_the_key_of_a_private_file_in_the_home(record, make_arm, server, monkeypatch, tmp_path):
    monkeypatch.delenv("TELEOP_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    (file := tmp_path / "keys").write_text(f"{ROBOT_ID} {KEY}")
    file.chmod(0o600)
    record(make_arm(server, key_file="~/keys", spool_dir="~/spools"))
    assert (tmp_path / "spools" / ROBOT_ID).is_dir()
    assert server.headers[0]["Authorization"].endswith(KEY)


def test_it_reports_a_key_that_the_server_refuses(record, make_arm, server, caplog):
    server.status = 403
    record(make_arm(server))
    assert "403" in caplog.text
    assert KEY not in caplog.text


def test_it_keeps_the_frames_if_the_server_refuses_the_key_during_an_episode(
    run_of_lerobot, make_arm, server, caplog, spool_dir
):
    def revoke_key():
        server.wait(lambda: server.sessions)
        server.status = 401
        server.call(server.close_robots(4401, "key revoked"))

    arm, events = make_arm(server), Events({2: revoke_key})
    saved = run_of_lerobot.record(arm, events.teleop, events, episodes=2, frames=4, reset_frames=1)
    assert "the robot's key was revoked" in caplog.text
    assert f"the rest is in {spool_dir / ROBOT_ID}" in caplog.text
    server.status = None
    with teleop_client.RobotClient(server.url, ROBOT_ID, KEY) as next_run:
        server.wait(lambda: [each.name for each in (spool_dir / ROBOT_ID).iterdir()] == [next_run.session])
    assert server.frames() == saved


def test_it_lets_ctrl_c_end_the_wait_for_the_server(run_of_lerobot, make_arm, server, caplog, spool_dir, monkeypatch):
    wait, waiting = run_of_lerobot.clients.Clients.wait, []

    def press_ctrl_c(*waits):
        waiting.extend(waits)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_of_lerobot.clients.Clients, "wait", press_ctrl_c)
    monkeypatch.setattr(run_of_lerobot.clients, "END_S", 0.1)
    server.end = False
    arm, leader = make_arm(server), Events({1: press_ctrl_c}).teleop
    with pytest.raises(KeyboardInterrupt):
        run_of_lerobot.teleoperate(arm, leader, frames=4)
    assert arm.calls[-1] == "disconnect"
    assert f"the rest is in {spool_dir / ROBOT_ID}" in caplog.text
    wait(*waiting)


def test_it_keeps_the_path_of_the_url(run_of_lerobot, make_arm, server):
    url = server.url.replace("ws:", "http:") + "/teleop/"
    run_of_lerobot.teleoperate(make_arm(url), Events().teleop, frames=1)
    (path,) = server.paths
    assert path.startswith("/teleop/ws/log/robot_A?session=")


def test_it_keeps_the_frames_on_disk_while_the_server_is_away(
    run_of_lerobot, record, make_arm, server, caplog, spool_dir, monkeypatch
):
    monkeypatch.setattr(run_of_lerobot.clients, "END_S", 0.1)
    server.kill_now()
    record(make_arm(server))
    assert f"the rest is in {spool_dir / ROBOT_ID}, and the next run or `teleop-agent drain` sends it" in caplog.text
    server.call(server.start())
    with teleop_client.RobotClient(server.url, ROBOT_ID, KEY) as next_run:
        server.wait(lambda: [each.name for each in (spool_dir / ROBOT_ID).iterdir()] == [next_run.session])
    assert [len(frames) for frames in server.frames()] == [3, 4, 4]
    assert server.ends() == [DISCARDED, {}, {}]


def test_it_says_how_many_frames_are_lost_without_a_disk(
    run_of_lerobot, record, make_arm, server, caplog, monkeypatch, tmp_path
):
    monkeypatch.setattr(run_of_lerobot.clients, "END_S", 0.1)
    server.kill_now()
    (no_folder := tmp_path / "file").touch()
    record(make_arm(server, spool_dir=no_folder))
    assert "11 frames are lost: the disk did not take them, and the server was away" in caplog.text


@pytest.mark.parametrize("method", ["send", "start", "new_session", "end", "close", "__init__"])
def test_it_survives_an_exception_of_the_client(record, make_arm, server, caplog, monkeypatch, method):
    def fail(*_, **__):
        raise RuntimeError("a fault of the test")

    monkeypatch.setattr(teleop_client.RobotClient, method, fail)
    record(make_arm(server))
    assert errors(caplog)[0].startswith("the stream to the server has a fault in ")
    assert "a fault of the test" in caplog.text
    assert "the stream to the server had faults, counted by method: {" in caplog.text


@pytest.mark.parametrize(
    ("module", "name"),
    [("clients", "describe"), ("clients", "image_names"), ("stream", "Clock"), ("clients", "spools")],
)
def test_it_survives_an_exception_of_its_own_parts(
    run_of_lerobot, record, make_arm, server, caplog, monkeypatch, module, name
):
    arm = make_arm(server)

    def fail(*_, **__):
        raise RuntimeError("a fault of the test")

    monkeypatch.setattr(getattr(run_of_lerobot, module), name, fail)
    record(arm)
    assert "a fault of the test" in caplog.text


def test_it_survives_an_observation_that_is_no_dict(run_of_lerobot, make_arm, server, caplog, monkeypatch):
    monkeypatch.setattr(run_of_lerobot.so_follower.SOFollower, "get_observation", lambda _: 7)
    run_of_lerobot.teleoperate(make_arm(server), lambda observation: {"gripper.pos": 1.0}, frames=3)
    assert len(errors(caplog)) == 1
    assert "{'observe': 3}" in caplog.text


def test_it_survives_a_log_that_raises(run_of_lerobot, make_arm, server, monkeypatch):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("a fault of the test")

    monkeypatch.setattr(run_of_lerobot.so_follower.SOFollower, "get_observation", lambda _: 7)
    arm = make_arm(server)
    arm.connect()
    logging.getLogger("lerobot_robot_teleop").addHandler(handler := Broken())
    arm.get_observation()
    logging.getLogger("lerobot_robot_teleop").removeHandler(handler)
    arm.disconnect()


def test_it_survives_a_listener_that_raises(lerobot, capsys):
    listener = lerobot.stream.EpisodeListener(None)
    listener.handle(logging.makeLogRecord({"name": "root", "levelno": logging.INFO, "msg": "Recording episode 1"}))
    assert "'NoneType' object has no attribute 'begin_episode'" in capsys.readouterr().err


def test_it_ignores_other_messages_of_the_log(run_of_lerobot, make_arm, server):
    arm, leader = make_arm(server), Events().teleop
    arm.connect()
    logging.getLogger("another").info("Recording episode 1")
    logging.getLogger().info(("Recording episode 1",))
    logging.getLogger().info("Recording episode %d", 1)
    logging.getLogger().info("Recording episode 1 again")
    arm.send_action(leader(arm.get_observation()))
    arm.disconnect()
    assert [start.get("episode") for start in server.starts()] == [None]


def test_it_raises_the_robots_own_errors(run_of_lerobot, make_arm, server, monkeypatch):
    def fail(*_):
        raise ConnectionError("the motors do not answer")

    monkeypatch.setattr(run_of_lerobot.so_follower.SOFollower, "disconnect", fail)
    with pytest.raises(ConnectionError, match="the motors do not answer"):
        run_of_lerobot.teleoperate(make_arm(server), Events().teleop, frames=2)
    assert server.ends() == [{}]


def test_it_starts_nothing_for_a_robot_that_sends_no_action(run_of_lerobot, make_arm, server, caplog, spool_dir):
    arm = make_arm(server)
    arm.connect(calibrate=False)
    arm.get_observation()
    arm.disconnect()
    assert not server.headers
    assert not spool_dir.exists()
    assert not caplog.text.count("lerobot_robot_teleop")
