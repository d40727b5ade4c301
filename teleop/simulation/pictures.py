"""Draw what the two cameras of a simulated arm see, from the positions of its joints. Pure; needs NumPy."""

import math
from collections.abc import Callable

import numpy as np

WIDTH, HEIGHT = 480, 360
Picture = np.ndarray
Joints = dict[str, float]  # degrees, as of teleop/simulation/arm.py

_LINK, _JOINT, _CUBE, _FOOT = (232, 140, 48), (245, 240, 230), (70, 150, 220), (40, 42, 46)
_Y, _X = np.mgrid[0:HEIGHT, 0:WIDTH].astype("float32")
# A table in the light of a lamp on the left.
_BENCH = np.clip(
    np.where(_Y[..., None] > 290, np.array((87.0, 93.0, 105.0)), np.array((58.0, 62.0, 70.0)))
    * (1.25 - np.hypot(_X - 130, _Y - 90)[..., None] / 700),
    0,
    255,
).astype("float32")


def _line(picture: Picture, begin, end, width: float, colour) -> None:
    """Draw a line with round ends and smooth edges, into the part of the picture that it covers."""
    (x0, y0), (x1, y1) = begin, end
    left, right = (int(np.clip(edge, 0, WIDTH)) for edge in (min(x0, x1) - width - 1, max(x0, x1) + width + 2))
    top, bottom = (int(np.clip(edge, 0, HEIGHT)) for edge in (min(y0, y1) - width - 1, max(y0, y1) + width + 2))
    part = np.s_[top:bottom, left:right]
    x, y = _X[part], _Y[part]
    length2 = (x1 - x0) ** 2 + (y1 - y0) ** 2 or 1
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length2, 0, 1)
    away = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
    cover = np.clip(width - away, 0, 1)[..., None]
    picture[part] += cover * (np.array(colour, "float32") - picture[part])


def front(joints: Joints) -> Picture:
    """Draw from the side: shoulder, elbow and wrist in one plane, panned a little."""
    picture = _BENCH.copy()
    _line(picture, (330, 282), (350, 282), 12, _CUBE)
    at, angle = (200 + joints["shoulder_pan.pos"] * 0.4, 290.0), -math.pi / 2
    _line(picture, (at[0] - 34, 300), (at[0] + 34, 300), 14, _FOOT)
    for name, length, width in [("shoulder_lift", 105, 11), ("elbow_flex", 90, 9), ("wrist_flex", 48, 7)]:
        angle += math.radians(joints[f"{name}.pos"]) * 0.6
        end = (at[0] + length * math.cos(angle), at[1] + length * math.sin(angle))
        _line(picture, at, end, width, _LINK)
        _line(picture, at, at, width + 2, _JOINT)
        at = end
    for side in (-1, 1):
        jaw = angle + side * (0.1 + joints["gripper.pos"] / 160)
        _line(picture, at, (at[0] + 30 * math.cos(jaw), at[1] + 30 * math.sin(jaw)), 4, _JOINT)
    return picture.astype("uint8")


def wrist(joints: Joints) -> Picture:
    """Draw from the wrist: the jaws above the cube, turned by the roll."""
    picture = _BENCH.copy()
    roll, gap = math.radians(joints["wrist_roll.pos"]) * 0.4, 18 + joints["gripper.pos"]
    middle = np.array((240 + joints["shoulder_pan.pos"], 190 - joints["elbow_flex.pos"] * 0.5))
    half = np.array((22, 0))
    _line(picture, middle - half, middle + half, 34, _CUBE)
    along = np.array((math.cos(roll), math.sin(roll)))
    across = np.array((-along[1], along[0]))
    for side in (-1, 1):
        jaw = np.array((240, 200)) + side * gap * along
        _line(picture, jaw - 60 * across, jaw + 110 * across, 13, _LINK)
        _line(picture, jaw - 60 * across, jaw - 50 * across, 9, _JOINT)
    return picture.astype("uint8")


CAMERAS: dict[str, Callable[[Joints], Picture]] = {"front": front, "wrist": wrist}
