"""Read a message of `/ws/preview/`: bytes into a Picture or InvalidPicture. It decodes no picture, and does no I/O."""

import math
import struct
from typing import NamedTuple

from teleop.protocol import CAMERA_NAME, MAX_CAMERA_NAME, MAX_PREVIEW_HEIGHT, MAX_PREVIEW_WIDTH

BEGIN, END = b"\xff\xd8\xff", b"\xff\xd9"
BASELINE = (0xC0, 0xC1)  # SOF0, SOF1
NOT_A_FRAME = (0xC4, 0xC8, 0xCC)  # markers from C0 to CF that begin no picture: DHT, JPG, DAC
SCAN = 0xDA
MAX_SEGMENTS = 64  # before the picture's size: an encoder writes fewer than ten


class Picture(NamedTuple):
    """Picture of a camera; `captured_at` is the robot's time in unix seconds."""

    camera: str
    captured_at: float
    jpeg: bytes


class InvalidPicture(Exception):
    """The message is no picture; the text says why."""


def read_picture(message: bytes | str) -> Picture:
    """Return the picture in a message: the camera's name after its length, the time of the capture, and the JPEG."""
    if not message or isinstance(message, str):
        raise InvalidPicture("the message is empty or text; a binary message expected")
    end = 1 + message[0]
    name, jpeg = message[1:end], message[end + 8 :]
    if len(name) > MAX_CAMERA_NAME or not CAMERA_NAME.fullmatch(name):
        raise InvalidPicture(f"the camera's name is {name[:40]!r}; letters, digits, _ and - with single dots expected")
    if len(message) < end + 8:
        raise InvalidPicture("the message ends within the time of the capture")
    (captured_at,) = struct.unpack_from(">d", message, end)
    if not math.isfinite(captured_at):
        raise InvalidPicture(f"the time of the capture is {captured_at}; unix seconds expected")
    _check_jpeg(jpeg)
    return Picture(name.decode(), captured_at, jpeg)


def _check_jpeg(jpeg: bytes) -> None:
    """Refuse data that is no baseline JPEG of at most the allowed size.

    A browser would need 17 GB for a picture that claims 65,535 x 65,535 pixels, and seconds for a progressive one with
    thousands of scans.
    """
    if not (jpeg.startswith(BEGIN) and jpeg.endswith(END)):
        raise InvalidPicture("the picture is not a JPEG, which begins with FF D8 FF and ends with FF D9")
    width, height = _size(jpeg)
    if not (0 < width <= MAX_PREVIEW_WIDTH and 0 < height <= MAX_PREVIEW_HEIGHT):
        most = f"at most {MAX_PREVIEW_WIDTH} x {MAX_PREVIEW_HEIGHT}"
        raise InvalidPicture(f"the picture has {width} x {height} pixels; {most} expected")


def _size(jpeg: bytes) -> tuple[int, int]:
    position = 2
    try:
        for _ in range(MAX_SEGMENTS):
            prefix, marker, length = struct.unpack_from(">BBH", jpeg, position)
            if prefix != 0xFF or marker == SCAN:
                break
            if marker in BASELINE:
                height, width = struct.unpack_from(">HH", jpeg, position + 5)
                return width, height
            if 0xC0 <= marker <= 0xCF and marker not in NOT_A_FRAME:
                raise InvalidPicture("the JPEG is progressive or lossless; a baseline JPEG expected")
            position += 2 + length
    except struct.error:
        pass
    raise InvalidPicture("the JPEG has no frame header with its size")
