"""An arm with the joints of an SO-101, which writes down each turn of lerobot's loop."""

import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from lerobot.cameras import CameraConfig
from lerobot.cameras.utils import make_cameras_from_configs
from lerobot.motors import MotorCalibration
from lerobot.robots import Robot, RobotConfig

from .formula import JOINTS, KEYS, clipped, positions


@RobotConfig.register_subclass("mock_arm")
@dataclass(kw_only=True)
class MockArmConfig(RobotConfig):
    log: Path
    """A file of JSON lines, one for each turn: number, time, observation without pictures, action, action done."""
    use_degrees: bool = True
    cameras: dict[str, CameraConfig] = field(default_factory=dict)


class MockArm(Robot):
    config_class = MockArmConfig
    name = "mock_arm"

    def __init__(self, config: MockArmConfig) -> None:
        super().__init__(config)
        self.config = config
        self.cameras = make_cameras_from_configs(config.cameras)
        self.calibration = {joint: MotorCalibration(number, 0, 0, 0, 4095) for number, joint in enumerate(JOINTS, 1)}
        self._turns = 0
        self._turn: dict[str, Any] = {}
        self._log: TextIO | None = None

    @cached_property
    def observation_features(self) -> dict[str, Any]:
        pictures = {name: (camera.height, camera.width, 3) for name, camera in self.config.cameras.items()}
        return dict.fromkeys(KEYS, float) | pictures

    @cached_property
    def action_features(self) -> dict[str, type]:
        return dict.fromkeys(KEYS, float)

    @property
    def is_connected(self) -> bool:
        return self._log is not None

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        for camera in self.cameras.values():
            camera.connect()
        self._log = self.config.log.open("w", buffering=1)

    def calibrate(self) -> None:
        """Do nothing: there are no motors."""

    def configure(self) -> None:
        """Do nothing: there are no motors."""

    def get_observation(self) -> dict[str, Any]:
        observation = positions(self._turns)
        self._turn = {"number": self._turns, "time": time.time(), "observation": observation}
        self._turns += 1
        return observation | {name: camera.async_read() for name, camera in self.cameras.items()}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        done = clipped(action)
        self._log.write(json.dumps(self._turn | {"action": action, "done": done}) + "\n")
        return done

    def disconnect(self) -> None:
        for camera in self.cameras.values():
            camera.disconnect()
        self._log.close()
        self._log = None
