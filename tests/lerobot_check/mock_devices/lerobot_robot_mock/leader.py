"""A leader that follows a formula, and whose user can press the key for "re-record this episode"."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lerobot.teleoperators import Teleoperator, TeleoperatorConfig
from pynput import keyboard

from .formula import KEYS, target


@TeleoperatorConfig.register_subclass("mock_leader")
@dataclass(kw_only=True)
class MockLeaderConfig(TeleoperatorConfig):
    rerecord_at: int | None = None
    """The number of the action at which the user presses the left arrow key."""


class MockLeader(Teleoperator):
    config_class = MockLeaderConfig
    name = "mock_leader"

    def __init__(self, config: MockLeaderConfig) -> None:
        super().__init__(config)
        self.config = config
        self._actions = 0
        self._is_connected = False

    @cached_property
    def action_features(self) -> dict[str, type]:
        return dict.fromkeys(KEYS, float)

    @property
    def feedback_features(self) -> dict[str, type]:
        return {}

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        self._is_connected = True

    def calibrate(self) -> None:
        """Do nothing: there are no motors."""

    def configure(self) -> None:
        """Do nothing: there are no motors."""

    def get_action(self) -> dict[str, float]:
        action = target(self._actions)
        if self._actions == self.config.rerecord_at:
            keyboard.press(keyboard.Key.left)
        self._actions += 1
        return action

    def send_feedback(self, feedback: dict[str, Any]) -> None:
        """Do nothing: there are no motors."""

    def disconnect(self) -> None:
        self._is_connected = False
