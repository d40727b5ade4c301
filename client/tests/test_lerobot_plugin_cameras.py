"""The plugin and the images of observations: films with the same pictures, or none."""

import re
import threading
import time

import av
import pytest
from lerobot_stub.stub_fixtures import *  # noqa: F403 - fixtures
from lerobot_stub.stub_fixtures import ROBOT_ID, Events

TWO_CAMERAS = {"cameras": {"front": 0, "wrist": 1}}


@pytest.fixture
def record_slowly(run_of_lerobot, monkeypatch):
    """Return a function that runs lerobot's loop, which waits until each picture is encoded, like a slow camera's."""
    senders = []

    class Sender(run_of_lerobot.stream.Sender):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            senders.append(self)

    monkeypatch.setattr(run_of_lerobot.stream, "Sender", Sender)

    def record_slowly(arm):
        events = Events()

        def leader(observation):
            while any(camera["waiting"] for sender in senders for camera in sender.client.stats.cameras.values()):
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


def test_it_says_how_many_pictures_were_dropped(run_of_lerobot, make_arm, server, caplog, monkeypatch):
    monkeypatch.setattr("teleop_client.camera.camera.QUEUE", 0)
    run_of_lerobot.teleoperate(make_arm(server, {"cameras": {"front": 0}}), Events().teleop, frames=30)
    assert re.search(r"\d+ of 30 pictures of camera front were dropped: this computer encodes too slowly", caplog.text)


@pytest.mark.parametrize(
    ("limit", "lost", "frames"), [("FRAMES_WAIT", "3 frames", 3), ("IMAGES_WAIT", "3 pictures", 6)]
)
def test_it_never_waits_for_a_slow_disk(run_of_lerobot, make_arm, server, caplog, monkeypatch, limit, lost, frames):
    has_begun, is_fast, send = threading.Event(), threading.Event(), run_of_lerobot.stream.Sender.send

    def send_slowly(*args):
        has_begun.set()
        assert is_fast.wait(5)
        send(*args)

    monkeypatch.setattr(run_of_lerobot.stream.Sender, "send", send_slowly)
    monkeypatch.setattr(run_of_lerobot.stream, limit, 2)
    arm, leader = make_arm(server, {"cameras": {"front": 0}}), Events().teleop
    arm.connect()
    for _ in range(6):
        arm.send_action(leader(arm.get_observation()))
        assert has_begun.wait(5)
    is_fast.set()
    arm.disconnect()
    assert [len(session) for session in server.frames()] == [frames]
    assert f"{lost} are lost: the disk of this computer was too slow" in caplog.text
