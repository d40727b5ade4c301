"""Describe a robot and a run of lerobot for the meta_info of their sessions."""

import hashlib
import itertools
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import lerobot
import yaml
from lerobot.robots import Robot

from .config import StreamConfig

RECORD_FPS, TELEOPERATE_FPS = 30, 60  # lerobot's defaults

logger = logging.getLogger(__package__)


def describe(robot: Robot, stream: StreamConfig) -> dict[str, Any]:
    """Return the meta_info of a connected robot. Facts that a robot does not have are left out."""
    found: dict[str, Any] = {"task": stream.task or option("dataset.single_task"), "lerobot": lerobot.__version__}
    for key, tell in TOLD.items():
        try:
            found[key] = tell(robot)
        except Exception as error:  # a robot of another plugin may have other attributes
            logger.warning("the sessions have no %s in their meta_info: %s: %s", key, type(error).__name__, error)
    return {key: value for key, value in found.items() if value is not None}


def option(name: str) -> str | None:
    """Return the value of a flag of lerobot's command line, `--name=value` or `--name value`, as lerobot reads it.

    The last one counts. lerobot reads each value as YAML: quotes are left out, and `null` is no value.
    """
    flag, text = f"--{name}", "null"
    for argument, after in itertools.pairwise([*sys.argv[1:], "null"]):
        if argument.startswith(f"{flag}="):
            text = argument.removeprefix(f"{flag}=")
        elif argument == flag:
            text = after
    value = yaml.safe_load(text)
    return None if value is None else str(value)


def fps_of_run(stream: StreamConfig) -> int:
    """Return the rate of lerobot's loop. The robot does not know it, so it is that of the command line."""
    if stream.fps is not None:
        return stream.fps
    is_recording = any(argument.startswith("--dataset.") for argument in sys.argv)
    given = option("dataset.fps") or option("fps")
    return int(given) if given else RECORD_FPS if is_recording else TELEOPERATE_FPS


def units(robot: Robot) -> str | None:
    """Return the unit of the joints' positions. The gripper is 0 to 100 in both cases."""
    for part in parts_of(robot):
        use_degrees = getattr(getattr(part, "config", None), "use_degrees", None)
        if use_degrees is not None:
            return "degrees" if use_degrees else "-100..100"
    return None


def calibration_sha256(robot: Robot) -> str | None:
    """Return a hash of all motors' calibrations: recordings with the same hash have comparable values."""
    calibrations = [{motor: asdict(values) for motor, values in part.calibration.items()} for part in parts_of(robot)]
    if not any(calibrations):
        return None
    return hashlib.sha256(json.dumps(calibrations, sort_keys=True).encode()).hexdigest()


def joint_names(robot: Robot) -> dict[str, list[str]]:
    features = {"observation": robot.observation_features, "action": robot.action_features}
    return {part: [name for name, kind in of.items() if not is_image(kind)] for part, of in features.items()}


def image_names(robot: Robot) -> list[str]:
    return [name for name, kind in robot.observation_features.items() if is_image(kind)]


def is_image(kind: Any) -> bool:
    """Return whether a feature is an array: lerobot describes arrays by their shape, and scalars by their type."""
    return isinstance(kind, tuple)


def parts_of(robot: Robot) -> list[Robot]:
    """Return the robot, and the arms that it consists of if it is bimanual."""
    return [robot, *(part for part in vars(robot).values() if isinstance(part, Robot))]


TOLD: dict[str, Callable[[Robot], Any]] = {
    "robot_type": lambda robot: robot.name,
    "units": units,
    "calibration_sha256": calibration_sha256,
    "joint_names": joint_names,
}
