"""What a run of lerobot did: the turns that the mock arm wrote down, and the dataset that lerobot recorded."""

import json
from typing import Any, NamedTuple

import numpy as np

from tests.lerobot_check.environment import HERE, Environment

CAMERAS = ("front", "wrist")
TASK = "Fold the towel"
FPS = 30
# The films are small: lerobot's default encoder, SVT-AV1, would take longer to start than to encode.
CODEC = {"0.4.4": "--dataset.vcodec=h264", "0.6.1": "--dataset.rgb_encoder.vcodec=h264"}

JOINTS = ("shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos", "wrist_roll.pos", "gripper.pos")
NUMBER = "wrist_roll.pos"  # this joint shows the number of the turn


class Turn(NamedTuple):
    """One turn of lerobot's loop, as the mock arm saw it."""

    number: int
    time: float
    observation: dict[str, float]
    action: dict[str, float]  # that the arm received, which lerobot records
    done: dict[str, float]  # that the arm carried out and returned, which the plugin streams


class Episode(NamedTuple):
    """One episode of a dataset of lerobot; the arrays have a row for each frame and a column for each joint."""

    state: np.ndarray
    action: np.ndarray
    pictures: dict[str, list[int]]

    @property
    def numbers(self) -> list[int]:
        return [int(number) for number in self.state[:, JOINTS.index(NUMBER)]]

    def since(self, row: int) -> "Episode":
        pictures = {camera: numbers[row:] for camera, numbers in self.pictures.items()}
        return Episode(self.state[row:], self.action[row:], pictures)


class Recorder:
    """One run of lerobot-record or lerobot-teleoperate."""

    def __init__(self, environment: Environment, name: str) -> None:
        self.environment, self.name = environment, name
        self.dataset = environment.folder / f"dataset-{name}"
        self._turns = environment.folder / f"turns-{name}.jsonl"

    def devices(self, robot_type: str = "mock_arm") -> list[str]:
        cameras = ", ".join(f"{name}: {{type: mock_camera}}" for name in CAMERAS)
        arm = [f"--robot.type={robot_type}", "--robot.id=one", f"--robot.log={self._turns}"]
        return [*arm, f"--robot.cameras={{{cameras}}}", "--teleop.type=mock_leader"]

    def options(self, episodes: int, episode_s: float, reset_s: float = 0) -> list[str]:
        """Return the options of lerobot-record for the dataset."""
        options = {
            "repo_id": "check/check",
            "root": self.dataset,
            "single_task": TASK,
            "fps": FPS,
            "num_episodes": episodes,
            "episode_time_s": episode_s,
            "reset_time_s": reset_s,
            "push_to_hub": "false",
        }
        given = [f"--dataset.{name}={value}" for name, value in options.items()]
        return [*given, "--play_sounds=false", CODEC[self.environment.lerobot]]

    def turns(self) -> list[Turn]:
        return [Turn(**json.loads(line)) for line in self._lines()]

    def turn_count(self) -> int:
        return len(self._lines())

    def _lines(self) -> list[str]:
        return self._turns.read_text().splitlines() if self._turns.exists() else []

    def episodes(self) -> list[Episode]:
        """Return the episodes as lerobot reads them."""
        file = self.environment.folder / f"{self.name}.npz"
        self.environment.run(f"read-{self.name}", "python", HERE / "read_recording.py", self.dataset, file)
        arrays: Any = np.load(file)
        numbers = arrays["episode_index"]
        return [
            Episode(
                arrays["observation.state"][numbers == number],
                arrays["action"][numbers == number],
                {camera: arrays[camera][numbers == number].tolist() for camera in CAMERAS},
            )
            for number in range(numbers.max() + 1)
        ]

    def info(self) -> dict[str, Any]:
        return json.loads((self.dataset / "meta/info.json").read_text())
