"""Mock devices for lerobot's scripts: the types `mock_arm`, `mock_leader` and `mock_camera`."""

from .arm import MockArm, MockArmConfig
from .camera import MockCamera, MockCameraConfig
from .leader import MockLeader, MockLeaderConfig

__all__ = ["MockArm", "MockArmConfig", "MockCamera", "MockCameraConfig", "MockLeader", "MockLeaderConfig"]
