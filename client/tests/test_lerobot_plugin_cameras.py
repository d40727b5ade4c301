"""The plugin and the images of observations: films with the same pictures, or none."""

import re
import threading
import time
from types import SimpleNamespace

import av
import pytest
from lerobot_stub.stub_fixtures import *  # noqa: F403 - fixtures
from lerobot_stub.stub_fixtures import ROBOT_ID, Events
from teleop_client import RobotClient

TWO_CAMERAS = {"cameras": {"front": 0, "wrist": 1}}


@pytest.fixture
def record_slowly(run_of_lerobot, monkeypatch):
    """Return a function that runs lerobot's loop, which waits until each picture is encoded, like a slow camera's."""
    clients, start = [], run_of_lerobot.clients.Clients.start

    def start_and_keep(*args):
        clients.append(start(*args))
        return clients[-1]

    monkeypatch.setattr(run_of_lerobot.clients.Clients, "start", start_and_keep)

    def record_slowly(arm):
        events = Events()

        def leader(observation):
            while any(camera["waiting"] for client in clients for camera in client.stats.cameras.values()):
                time.sleep(0.001)
            return events.teleop(observation)

        return run_of_lerobot.record(arm, leader, events, episodes=2, frames=4, reset_frames=3)

    return record_slowly


def brightness(film):
    with av.open(film) as container:
        return [float(picture.to_ndarray(format="rgb24").mean()) for picture in container.decode(video=0)]


def test_it_records_the_pictures_of_each_episode_as_films(record_slowly, make_arm, server, spool_dir):
    saved = record_slowly(make_arm(server, TWO_CAMERAS))
    for key, episode in zip(server.keys(), saved, strict=True):
        for camera in TWO_CAMERAS["cameras"]:
            (film,) = (spool_dir / ROBOT_ID / key / "films" / camera).glob("*.mp4")
            assert brightness(film) == pytest.approx([observation[camera].mean() for observation, _ in episode], abs=2)


def test_it_leaves_images_out_without_films(run_of_lerobot, make_arm, server, caplog):
    run_of_lerobot.teleoperate(make_arm(server, TWO_CAMERAS, cameras=False), Events().teleop, frames=2)
    assert [len(observation) for observation, _ in server.frames()[0]] == [6, 6]
    assert not [each.getMessage() for each in caplog.records if each.levelname != "INFO"]


def test_it_streams_the_joints_if_a_camera_has_an_impossible_name(run_of_lerobot, make_arm, server, caplog):
    run_of_lerobot.teleoperate(make_arm(server, {"cameras": {"ä/b": 0}}), Events().teleop, frames=2)
    assert [len(observation) for observation, _ in server.frames()[0]] == [6, 6]
    assert "ä/b" in caplog.text


def test_it_streams_observations_in_which_images_are_missing(run_of_lerobot, make_arm, server, caplog):
    arm, leader = make_arm(server, TWO_CAMERAS), Events().teleop
    arm.connect()
    for missing in ((), ("front",), ("front", "wrist"), ()):
        observation = arm.get_observation()
        arm.config.cameras = {name: 0 for name in TWO_CAMERAS["cameras"] if name not in missing}
        arm.send_action(leader(observation))
    arm.disconnect()
    assert [len(observation) for observation, _ in server.frames()[0]] == [6] * 4
    assert not [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]


def test_it_says_how_many_pictures_were_dropped(run_of_lerobot, make_arm, server, caplog, monkeypatch):
    for bound in ("QUEUE", "QUEUE_BYTES"):
        monkeypatch.setattr(f"teleop_client.camera.camera.{bound}", 0)
    run_of_lerobot.teleoperate(make_arm(server, {"cameras": {"front": 0}}), Events().teleop, frames=30)
    assert re.search(r"\d+ of 30 pictures of camera front were dropped: this computer encodes too slowly", caplog.text)


def test_it_counts_the_pictures_and_frames_lost_to_a_full_disk(run_of_lerobot, make_arm, server, caplog, monkeypatch):
    monkeypatch.setattr(run_of_lerobot.clients, "END_S", 0.1)
    monkeypatch.setattr("teleop_client.system.free_bytes", lambda _: 1 << 20)
    server.kill_now()
    run_of_lerobot.teleoperate(make_arm(server, {"cameras": {"front": 0}}), Events().teleop, frames=5)
    assert "5 frames are lost: the disk did not take them, and the server was away" in caplog.text
    assert "5 of 5 pictures of camera front were dropped: this computer encodes too slowly, or its disk is full" in (
        caplog.text
    )


@pytest.fixture
def slow_disk(monkeypatch):
    """Let each frame wait for the disk until the event `is_fast` is set; `has_begun` is set by the first one."""
    disk, send = SimpleNamespace(has_begun=threading.Event(), is_fast=threading.Event()), RobotClient.send

    def send_slowly(*args):
        disk.has_begun.set()
        assert disk.is_fast.wait(5)
        return send(*args)

    monkeypatch.setattr(RobotClient, "send", send_slowly)
    return disk


@pytest.mark.parametrize(
    ("limit", "lost", "frames"), [("FRAMES_WAIT", "3 frames", 3), ("IMAGES_WAIT", "3 pictures", 6)]
)
def test_it_never_waits_for_a_slow_disk(
    run_of_lerobot, make_arm, server, slow_disk, caplog, monkeypatch, limit, lost, frames
):
    monkeypatch.setattr(run_of_lerobot.stream, limit, 2)
    arm, leader = make_arm(server, {"cameras": {"front": 0}}), Events().teleop
    arm.connect()
    for _ in range(6):
        arm.send_action(leader(arm.get_observation()))
        assert slow_disk.has_begun.wait(5)
    slow_disk.is_fast.set()
    arm.disconnect()
    assert [len(session) for session in server.frames()] == [frames]
    assert f"{lost} are lost: the disk of this computer was too slow" in caplog.text


def test_it_streams_a_robot_that_uses_the_same_dicts_again(run_of_lerobot, make_arm, server, slow_disk, monkeypatch):
    dicts = {"get_observation": {}, "send_action": {}}
    for name, same in dicts.items():
        method = getattr(run_of_lerobot.so_follower.SOFollower, name)

        def fill_the_same(*args, method=method, same=same):
            same.update(method(*args))
            return same

        monkeypatch.setattr(run_of_lerobot.so_follower.SOFollower, name, fill_the_same)
    arm, leader = make_arm(server), Events().teleop
    arm.connect()
    for _ in range(3):
        arm.send_action(leader(arm.get_observation()))
    slow_disk.is_fast.set()
    arm.disconnect()
    (frames,) = server.frames()
    assert [observation["shoulder_pan.pos"] for observation, _ in frames] == [1.0, 2.0, 3.0]
    assert [action["shoulder_pan.pos"] for _, action in frames] == [1.5, 2.5, 3.5]
