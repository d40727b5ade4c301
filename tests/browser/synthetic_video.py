"""Draw the pictures of two cameras on a simulated arm from its frames, as mp4."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

FPS = 30
WIDTH, HEIGHT = 480, 360
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype("float32")
BENCH, LINK, JOINT, CUBE = (58, 62, 70), (232, 140, 48), (245, 240, 230), (70, 150, 220)
Picture = np.ndarray
Camera = Callable[[dict[str, float]], Picture]


def _bench() -> Picture:
    """Draw a table in the light of a lamp on the left."""
    light = 1.25 - np.hypot(X - 130, Y - 90)[..., None] / 700
    ground = np.where(Y[..., None] > 290, np.array(BENCH) * 1.5, np.array(BENCH))
    return np.clip(ground * light, 0, 255)


def _line(picture: Picture, begin, end, width: float, colour) -> None:
    (x0, y0), (x1, y1) = begin, end
    length2 = (x1 - x0) ** 2 + (y1 - y0) ** 2 or 1
    along = np.clip(((X - x0) * (x1 - x0) + (Y - y0) * (y1 - y0)) / length2, 0, 1)
    away = np.hypot(X - x0 - along * (x1 - x0), Y - y0 - along * (y1 - y0))
    cover = np.clip(width - away, 0, 1)[..., None]  # with smooth edges
    picture += cover * (np.array(colour) - picture)


def front(joints: dict[str, float]) -> Picture:
    """Draw from the side: shoulder, elbow and wrist in one plane, panned a little."""
    picture = _bench()
    _line(picture, (330, 282), (350, 282), 12, CUBE)
    at, angle = (200 + joints["shoulder_pan.pos"] * 0.4, 290.0), -math.pi / 2
    _line(picture, (at[0] - 34, 300), (at[0] + 34, 300), 14, (40, 42, 46))
    for name, length, width in [("shoulder_lift", 105, 11), ("elbow_flex", 90, 9), ("wrist_flex", 48, 7)]:
        angle += math.radians(joints[f"{name}.pos"]) * 0.6
        end = (at[0] + length * math.cos(angle), at[1] + length * math.sin(angle))
        _line(picture, at, end, width, LINK)
        _line(picture, at, at, width + 2, JOINT)
        at = end
    for side in (-1, 1):
        jaw = angle + side * (0.1 + joints["gripper.pos"] / 160)
        _line(picture, at, (at[0] + 30 * math.cos(jaw), at[1] + 30 * math.sin(jaw)), 4, JOINT)
    return picture


def wrist(joints: dict[str, float]) -> Picture:
    """Draw from the wrist: the jaws above the cube, turned by the roll."""
    picture = _bench()
    roll, gap = math.radians(joints["wrist_roll.pos"]) * 0.4, 18 + joints["gripper.pos"]
    middle = np.array((240 + joints["shoulder_pan.pos"], 190 - joints["elbow_flex.pos"] * 0.5))
    half = np.array((22, 0))
    _line(picture, middle - half, middle + half, 34, CUBE)
    along = np.array((math.cos(roll), math.sin(roll)))
    across = np.array((-along[1], along[0]))
    for side in (-1, 1):
        jaw = np.array((240, 200)) + side * gap * along
        _line(picture, jaw - 60 * across, jaw + 110 * across, 13, LINK)
        _line(picture, jaw - 60 * across, jaw - 50 * across, 9, JOINT)
    return picture


def film(camera: Camera, moments: list[dict[str, float]]) -> bytes:
    """Return a picture for each of the joints' positions, FPS a second."""
    import av

    file = tempfile.NamedTemporaryFile(suffix=".mp4")  # noqa: SIM115 - by its name, as the index moves by reading again
    with av.open(file.name, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "g": str(FPS)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, joints in enumerate(moments):
            frame = av.VideoFrame.from_ndarray(camera(joints).astype("uint8"), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(file.name).read_bytes()
