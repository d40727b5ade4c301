"""Pictures of cameras: a robot that sends them, and a page that asks for them."""

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import av
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.robot_socket import KEY, RobotSocket
from tests.services import Server
from tests.watch_connection import Watcher

BLUE, RED = (40, 90, 220), (220, 40, 40)


@cache
def jpeg(colour: tuple[int, int, int] = BLUE, width: int = 160, height: int = 120) -> bytes:
    """Return a picture of one colour."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuvj420p", Fraction(1, 2)
    picture = np.full((height, width, 3), colour, "uint8")
    (packet,) = encoder.encode(av.VideoFrame.from_ndarray(picture).reformat(format="yuvj420p"))
    return bytes(packet)


def message(camera: str = "front", picture: bytes | None = None, captured_at: float | None = None) -> bytes:
    """Return a message of `/ws/preview/`."""
    name, captured_at = camera.encode(), time.time() if captured_at is None else captured_at
    return bytes([len(name)]) + name + struct.pack(">d", captured_at) + (jpeg() if picture is None else picture)


class PreviewSocket:
    """A robot's connection for pictures."""

    def __init__(self, websocket: ClientConnection):
        self.websocket = websocket

    def send(self, camera: str = "front", picture: bytes | None = None) -> None:
        self.websocket.send(message(camera, picture))

    def receive_until_close(self) -> int:
        """Return the close code; the server sends no messages."""
        try:
            return self.websocket.recv(timeout=30) and 0
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


@contextmanager
def preview_socket(server: Server, path: str = "arm", key: str | None = KEY, **options) -> Iterator[PreviewSocket]:
    """Connect; `path` follows /ws/preview/, `options` are those of websockets."""
    options = {"additional_headers": {"Authorization": f"Bearer {key}"} if key else {}} | options
    with connect(f"{server.ws_url}/ws/preview/{path}", compression=None, close_timeout=1, **options) as websocket:
        yield PreviewSocket(websocket)


class Seen(NamedTuple):
    """A picture as a page gets it."""

    robot: str
    camera: str
    age_s: float
    jpeg: bytes


def want(page: Watcher, *robot_ids: str) -> None:
    page.send(type="previews", robots=robot_ids)


def pictures(page: Watcher) -> list[Seen]:
    """Send a request, and return the pictures that came with the answer."""
    page.request_update()
    seen = []
    while isinstance(data := page.websocket.recv(timeout=30), bytes):
        names, position = [], 0
        for _ in range(2):
            end = position + 1 + data[position]
            names.append(data[position + 1 : end].decode())
            position = end
        seen.append(Seen(*names, *struct.unpack_from(">d", data, position), data[position + 8 :]))
    return seen


def request(robot: RobotSocket) -> dict:
    """Return the robot's next `preview` message, without its type."""
    found = robot.receive("preview")
    del found["type"]
    return found
