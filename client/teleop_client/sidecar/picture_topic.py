"""Hand the pictures of one of lerobot's cameras to the client's camera of this name."""

from collections.abc import Callable
from typing import Any, Protocol

from ..camera.camera import QUEUE, Camera

Decoder = Callable[[memoryview], Any]


class ImageReader(Protocol):
    """The module `images`."""

    @property
    def DECODERS(self) -> dict[str, Decoder]: ...

    def is_repeated(self, image: Any, before: Any) -> bool: ...


class PictureTopic:
    """A topic of pictures, whose payloads `decode` reads."""

    def __init__(self, camera: Camera, decode: Decoder, is_repeated: Callable[[Any, Any], bool]) -> None:
        self._camera, self._decode, self._is_repeated = camera, decode, is_repeated
        self._last: Any = None

    def record(self, payload: memoryview, time_s: float) -> bool:
        """Record a picture; return whether it was taken. Raises ValueError if it cannot be read."""
        image = self._decode(payload)
        if self._last is not None and self._is_repeated(image, self._last):
            image = self._last  # the camera does not encode the same object again
        self._last = image
        return self._camera.write(image, timestamp=time_s)

    @property
    def is_full(self) -> bool:
        """Return whether the camera may drop a picture if another one comes now."""
        return self._camera.counts()["waiting"] >= QUEUE
