"""The types `<type>_stream`: their configs, their robots, and the description of a robot in meta_info."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, fields

import pytest
from lerobot_stub.stub_fixtures import *  # noqa: F403 - fixtures
from lerobot_stub.stub_fixtures import PLUGIN, STUB, Events
from teleop_client import __file__ as client_file

IMPORT_PLUGINS = """
import lerobot.robots.so_follower
from lerobot.robots import RobotConfig
from lerobot.utils.import_utils import register_third_party_plugins
register_third_party_plugins()
print(*sorted(RobotConfig.get_known_choices()))
"""
OTHER_PLUGIN = """
from dataclasses import dataclass
from lerobot.robots import RobotConfig

@RobotConfig.register_subclass("zebra")
@dataclass
class ZebraConfig(RobotConfig):
    port: str = ""

@RobotConfig.register_subclass("broadcaster")
@dataclass
class BroadcasterConfig(RobotConfig):
    stream: str = "its own"
"""


def install(folder, name, text=None):
    """Install a distribution, as `pip install` does, so that lerobot finds it; with a package of this text."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}-1.dist-info").mkdir()
    (folder / f"{name}-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    if text is not None:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(text)


def import_plugins(*folders):
    """Run the beginning of a script of lerobot, which finds the distributions of the first folder first."""
    path = [*folders, STUB, PLUGIN, os.path.dirname(os.path.dirname(client_file))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", IMPORT_PLUGINS]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)


def test_it_is_found_by_lerobot_and_streams_the_types_of_all_plugins(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "lerobot_robot_teleop")
    install(second, "lerobot_robot_broken", "raise ImportError('no driver')")
    install(second, "lerobot_robot_zebra", OTHER_PLUGIN)
    found = import_plugins(first, second)
    plain = {"so100_follower", "so101_follower", "bi_so_follower", "zebra"}
    assert set(found.stdout.split()) == plain | {f"{name}_stream" for name in plain} | {"broadcaster"}


def test_it_tells_the_user_why_it_cannot_be_imported(tmp_path):
    install(tmp_path, "lerobot_robot_teleop")
    (tmp_path / "teleop_client.py").write_text("raise ImportError('no client')")
    found = import_plugins(tmp_path)
    assert "_stream" not in found.stdout
    sentence = "lerobot_robot_teleop: the robot types with _stream are not available: ImportError: no client\n"
    assert sentence in found.stderr


def test_it_makes_the_robot_that_lerobot_makes(lerobot, make_arm):
    arm = make_arm("http://server", {"id": "black", "max_relative_target": 5.0})
    plain = lerobot.so_follower.SOFollowerRobotConfig(port="/dev/null", id="black", max_relative_target=5.0)
    assert type(arm) is lerobot.so_follower.SOFollower
    assert (arm.name, arm.id) == ("so_follower", "black")
    assert type(arm.config) is type(plain)
    assert arm.config == plain


def test_it_adds_only_the_field_stream_to_a_config(lerobot):
    streamed = lerobot.RobotConfig.get_choice_class("so101_follower_stream")
    plain = lerobot.RobotConfig.get_choice_class("so101_follower")
    assert {field.name for field in fields(streamed)} - {field.name for field in fields(plain)} == {"stream"}
    with pytest.raises(TypeError, match="stream"):
        streamed(port="/dev/null")


def test_it_refuses_an_unknown_reset(lerobot):
    with pytest.raises(ValueError, match=r"robot.stream.reset is 'keep'; \"drop\" or \"stream\" expected"):
        lerobot.config.StreamConfig(url="http://server", robot_id="robot_A", reset="keep")


def test_it_describes_the_robot_and_the_run(run_of_lerobot, make_arm, server):
    arm = make_arm(server)
    run_of_lerobot.teleoperate(arm, Events().teleop, frames=1)
    (start,) = server.starts()
    names = list(arm.action_features)
    calibration = {motor: asdict(values) for motor, values in arm.calibration.items()}
    assert start == {
        "task": "Fold the towel",
        "lerobot": "0.6.1",
        "robot_type": "so_follower",
        "units": "degrees",
        "calibration_sha256": hashlib.sha256(json.dumps([calibration], sort_keys=True).encode()).hexdigest(),
        "joint_names": {"observation": names, "action": names},
    }


def test_it_describes_the_arms_of_a_bimanual_robot(run_of_lerobot, make_bimanual, server):
    run_of_lerobot.teleoperate(make_bimanual(server), Events().teleop, frames=1)
    (start,) = server.starts()
    assert start["units"] == "-100..100"
    assert len(start["joint_names"]["action"]) == 12
    assert len(start["calibration_sha256"]) == 64


def test_it_leaves_out_facts_that_a_robot_does_not_have(run_of_lerobot, make_arm, server, caplog, monkeypatch):
    arm = make_arm(server)
    arm.calibration = {"gripper": "unknown"}
    run_of_lerobot.teleoperate(arm, Events().teleop, frames=1)
    (start,) = server.starts()
    assert "calibration_sha256" not in start
    assert start["robot_type"] == "so_follower"
    assert "the sessions have no calibration_sha256 in their meta_info: TypeError" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "stream", "task", "fps"),
    [
        (["--dataset.single_task=Fold", "--dataset.fps=25"], {}, "Fold", 25),
        (["--dataset.single_task", "Fold", "--dataset.repo_id=a/b"], {}, "Fold", 30),
        (["--dataset.single_task='Fold \"it\"'", "--dataset.fps=25"], {}, 'Fold "it"', 25),
        (["--dataset.single_task=Fold", "--dataset.single_task=12", "--dataset.fps=25"], {}, "12", 25),
        (["--dataset.single_task=null", "--dataset.fps=25"], {}, None, 25),
        (["--fps", "50"], {}, None, 50),
        ([], {}, None, 60),
        (["--dataset.single_task=Fold", "--dataset.fps=25"], {"task": "Stack", "fps": 10}, "Stack", 10),
    ],
)
def test_it_takes_the_task_and_the_rate_of_the_command_line(
    run_of_lerobot, make_arm, server, monkeypatch, arguments, stream, task, fps
):
    monkeypatch.setattr(sys, "argv", ["lerobot", *arguments])
    run_of_lerobot.teleoperate(make_arm(server, **stream), Events().teleop, frames=1)
    (start,) = [message for message in server.messages if message.get("type") == "start"]
    assert (start["meta_info"].get("task"), start["fps"]) == (task, fps)
