"""An arm without hardware: its joints and pictures follow from the number of the observation."""

from dataclasses import dataclass, field

import numpy as np

from .config import RobotConfig
from .robot import Robot

MOTORS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
HEIGHT, WIDTH = 48, 64


@dataclass
class MotorCalibration:
    id: int
    homing_offset: int


@dataclass
class SOFollowerConfig:
    port: str
    max_relative_target: float | None = None
    cameras: dict[str, int] = field(default_factory=dict)
    use_degrees: bool = True


@RobotConfig.register_subclass("so101_follower")
@RobotConfig.register_subclass("so100_follower")
@dataclass
class SOFollowerRobotConfig(RobotConfig, SOFollowerConfig):
    pass


class SOFollower(Robot):
    config_class = SOFollowerRobotConfig
    name = "so_follower"

    def __init__(self, config):
        super().__init__(config)
        self.config, self.calls = config, []
        self.calibration = {motor: MotorCalibration(id, 10 * id) for id, motor in enumerate(MOTORS, 1)}
        self.number = 0
        self._is_connected = False

    @property
    def observation_features(self):
        return self.action_features | dict.fromkeys(self.config.cameras, (HEIGHT, WIDTH, 3))

    @property
    def action_features(self):
        return {f"{motor}.pos": float for motor in MOTORS}

    @property
    def is_connected(self):
        return self._is_connected

    def connect(self, calibrate=True):
        self.calls.append("connect")
        self._is_connected = True

    def get_observation(self):
        self.number += 1
        observation = {f"{motor}.pos": self.number + place / 10 for place, motor in enumerate(MOTORS)}
        for camera in self.config.cameras:
            observation[camera] = np.full((HEIGHT, WIDTH, 3), self.number % 256, np.uint8)
        return observation

    def send_action(self, action):
        """Send the action, clipped to max_relative_target, and return it."""
        self.calls.append("send_action")
        most = self.config.max_relative_target
        return action if most is None else {name: min(value, most) for name, value in action.items()}

    def disconnect(self):
        self.calls.append("disconnect")
        self._is_connected = False


@RobotConfig.register_subclass("bi_so_follower")
@dataclass
class BiSOFollowerConfig(RobotConfig):
    left_arm_config: SOFollowerConfig
    right_arm_config: SOFollowerConfig


class BiSOFollower(Robot):
    config_class = BiSOFollowerConfig
    name = "bi_so_follower"

    def __init__(self, config):
        super().__init__(config)
        self.config = config
        self.left_arm = SOFollower(SOFollowerRobotConfig(**vars(config.left_arm_config)))
        self.right_arm = SOFollower(SOFollowerRobotConfig(**vars(config.right_arm_config)))

    def _of_both(self, call):
        return {f"{side}_{key}": value for side in ("left", "right") for key, value in call(side).items()}

    def _arm(self, side):
        return getattr(self, f"{side}_arm")

    @property
    def observation_features(self):
        return self._of_both(lambda side: self._arm(side).observation_features)

    @property
    def action_features(self):
        return self._of_both(lambda side: self._arm(side).action_features)

    @property
    def is_connected(self):
        return self.left_arm.is_connected and self.right_arm.is_connected

    def connect(self, calibrate=True):
        self.left_arm.connect()
        self.right_arm.connect()

    def get_observation(self):
        return self._of_both(lambda side: self._arm(side).get_observation())

    def send_action(self, action):

        def of(side):
            return {key.removeprefix(f"{side}_"): action[key] for key in action if key.startswith(side)}

        return self._of_both(lambda side: self._arm(side).send_action(of(side)))

    def disconnect(self):
        self.left_arm.disconnect()
        self.right_arm.disconnect()
