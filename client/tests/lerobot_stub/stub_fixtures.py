"""Fixtures for tests of the plugin: the stub of lerobot with the plugin in it, and a server in a thread."""

import asyncio
import importlib
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_server import FakeServer, until
from teleop_client import aio

STUB = Path(__file__).parent
PLUGIN = STUB.parents[1] / "lerobot_plugin"
ROBOT_ID, KEY = "robot_A", "the-secret-key"

__all__ = ["lerobot", "make_arm", "make_bimanual", "run_of_lerobot", "server"]  # the fixtures


@pytest.fixture(scope="module")
def lerobot():
    """Import the stub as the scripts of lerobot do, with the plugin; return its parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STUB)
        patch.syspath_prepend(PLUGIN)
        so_follower = importlib.import_module("lerobot.robots.so_follower")
        importlib.import_module("lerobot_robot_teleop")
        yield SimpleNamespace(
            so_follower=so_follower,
            RobotConfig=importlib.import_module("lerobot.robots").RobotConfig,
            make_robot=importlib.import_module("lerobot.robots").make_robot_from_config,
            record=importlib.import_module("lerobot.scripts.lerobot_record").record,
            teleoperate=importlib.import_module("lerobot.scripts.lerobot_teleoperate").teleoperate,
            log_say=importlib.import_module("lerobot.utils.utils").log_say,
            clients=importlib.import_module("lerobot_robot_teleop.clients"),
            config=importlib.import_module("lerobot_robot_teleop.config"),
            stream=importlib.import_module("lerobot_robot_teleop.stream"),
        )
        for name in [name for name in sys.modules if name.partition(".")[0] in ("lerobot", "lerobot_robot_teleop")]:
            del sys.modules[name]


@pytest.fixture
def run_of_lerobot(lerobot, monkeypatch, caplog):
    """Be a run of lerobot: its command line, its level of the log, and the robot's key in the environment."""
    caplog.set_level("INFO")
    monkeypatch.setenv("TELEOP_KEY", KEY)
    monkeypatch.setattr(sys, "argv", ["lerobot-record", "--dataset.single_task=Fold the towel", "--dataset.fps", "25"])
    monkeypatch.setattr(aio, "FILMS_S", 0.0)  # the server of these tests takes no films
    monkeypatch.setattr(aio, "FINISH_S", 1.0)
    return lerobot


@pytest.fixture
def make_arm(run_of_lerobot):
    """Return a function that makes an arm of the type so101_follower_stream, as lerobot makes it."""

    def make_arm(server, arm=None, **stream):
        url = server if isinstance(server, str) else server.url
        config_class = run_of_lerobot.RobotConfig.get_choice_class("so101_follower_stream")
        stream = run_of_lerobot.config.StreamConfig(**{"url": url, "robot_id": ROBOT_ID} | stream)
        return run_of_lerobot.make_robot(config_class(port="/dev/null", stream=stream, **(arm or {})))

    return make_arm


@pytest.fixture
def make_bimanual(run_of_lerobot):
    """Return a function that makes a robot of the type bi_so_follower_stream."""

    def make_bimanual(server):
        stream = run_of_lerobot.config.StreamConfig(url=server.url, robot_id=ROBOT_ID)
        arms = [run_of_lerobot.so_follower.SOFollowerConfig(port="/dev/null", use_degrees=False) for _ in range(2)]
        config_class = run_of_lerobot.RobotConfig.get_choice_class("bi_so_follower_stream")
        return run_of_lerobot.make_robot(config_class(left_arm_config=arms[0], right_arm_config=arms[1], stream=stream))

    return make_bimanual


class ThreadedServer(FakeServer):
    """The server of the tests in a thread of its own, because lerobot's loop blocks the test's thread."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def kill_now(self):
        async def kill():
            self.kill()

        self.call(kill())

    def wait(self, condition):
        self.call(until(condition))

    def keys(self):
        """Return the keys of the sessions with frames, in the order of their times: they connect in any order."""
        with_frames = [key for key, frames in self.sessions.items() if frames]
        return sorted(with_frames, key=lambda key: self.sessions[key][0]["timestamp"])

    def frames(self):
        """Return the frames of each session: observations and actions, in order."""
        stored = [self.sessions[key] for key in self.keys()]
        assert all(sorted(frames) == list(range(len(frames))) for frames in stored)
        return [[(frames[at]["observation"], frames[at]["action"]) for at in range(len(frames))] for frames in stored]

    def starts(self):
        """Return the meta_info of the start of each session."""
        return [self.received[key][0]["meta_info"] for key in self.keys()]

    def ends(self):
        """Return the meta_info of the end of each session, None for those without an end."""
        last = [self.received[key][-1] for key in self.keys()]
        return [message.get("meta_info", {}) if message.get("type") == "end" else None for message in last]


@pytest.fixture
def server():
    server = ThreadedServer()
    server.call(server.start())
    yield server
    server.call(server.stop())
    server.loop.call_soon_threadsafe(server.loop.stop)


class Events(dict):
    """lerobot's events, which its keyboard listener sets: `keys` are pressed at the action of this number.

    A key is the names of events, or a function.
    """

    def __init__(self, keys=None):
        super().__init__(exit_early=False, rerecord_episode=False, stop_recording=False)
        self.keys, self.actions = keys or {}, 0

    def teleop(self, observation):
        """Be the leader arm: the action follows from the observation."""
        key = self.keys.get(self.actions, ())
        self.update(dict.fromkeys(() if callable(key) else key, True))
        if callable(key):
            key()
        self.actions += 1
        return {name: value + 0.5 for name, value in observation.items() if name.endswith(".pos")}
