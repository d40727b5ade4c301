"""A camera whose pictures show their number as twelve stripes, most significant bit on the left."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from lerobot.cameras import Camera, CameraConfig

BITS, STRIPE_PX, HEIGHT_PX = 12, 16, 96


@CameraConfig.register_subclass("mock_camera")
@dataclass(kw_only=True)
class MockCameraConfig(CameraConfig):
    fps: int | None = 30
    width: int | None = BITS * STRIPE_PX
    height: int | None = HEIGHT_PX


class MockCamera(Camera):
    """A camera with a new picture for each read, so the n-th picture belongs to the n-th observation."""

    def __init__(self, config: MockCameraConfig) -> None:
        super().__init__(config)
        self._reads = 0
        self._is_connected = False

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        return []

    def connect(self, warmup: bool = True) -> None:
        self._is_connected = True

    def read(self, *args: Any) -> np.ndarray:
        bits = [255 * (self._reads >> bit & 1) for bit in reversed(range(BITS))]
        self._reads += 1
        row = np.repeat(np.array(bits, np.uint8), STRIPE_PX)
        return np.tile(row[None, :, None], (HEIGHT_PX, 1, 3))

    def async_read(self, timeout_ms: float = 200) -> np.ndarray:
        return self.read()

    def read_latest(self, max_age_ms: int = 500) -> np.ndarray:
        return self.read()

    def disconnect(self) -> None:
        self._is_connected = False
