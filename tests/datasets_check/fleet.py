"""A small fleet in the database: the kinds of robots, clocks and films that a dataset can be made of.

Django has to be set up before this module is imported.
"""

import math
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from django.core.files import File

from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from tests.datasets_check.numbered_films import AV1, B_FRAMES, COPIED, IRREGULAR, MPEG4, OFFSET_AV1, Encoding, film
from videos.film.examine import examine
from videos.models import VideoChunk

BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
SO101 = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JITTER_S, LARGE_JITTER_S = 0.004, 0.025  # the large one is more than half a frame at 30 Hz
Frame = Callable[[float], dict[str, Any]]


class Shot(NamedTuple):
    """A film: pictures `first` to `first + count` of a camera whose picture n is seen n / fps after the start."""

    camera: str
    first: int
    count: int
    encoding: Encoding
    fps: int = 30


def fill() -> dict[str, list[int]]:
    """Store the fleet; return the ids of the sessions of each kind."""
    fold = {"task": "Fold the towel", "success": True, "tags": ["night"], "operator": "Ann", "units": "degrees"}
    cube = {"task": "Put the cube into the box", "success": False, "units": "degrees"}
    return {
        "so101": [
            _session("arm-1", fold, _so101, _steady(130, 30), _late_wrist()),
            _session("arm-2", cube, _so101, [*_steady(120, 30), *_steady(130, 30, begin=5.98)], _seam()),
        ],
        "bimanual": [_session("two-arms", fold, _two_arms, _steady(230, 60), [Shot("top", 0, 120, COPIED)], fps=60)],
        "lists": [_session("wheels", {}, _lists, [*_steady(110, 60), *_steady(105, 60, begin=3.85)], [], fps=60)],
        "lekiwi": [_session("kiwi", cube, _lekiwi, _steady(120, 30, jitter_s=LARGE_JITTER_S), _clocks())],
        "one-joint": [_session("gripper", cube, _one_joint, _steady(120, 59.3), [Shot("top", 0, 75, OFFSET_AV1)], 60)],
    }


def _late_wrist() -> list[Shot]:
    """Return films of which one begins 0.4 s after the frames."""
    return [Shot("front", 0, 135, COPIED), Shot("wrist", 12, 123, B_FRAMES)]


def _seam() -> list[Shot]:
    """Return films that go on while the frames have a gap; one camera has two chunks."""
    return [Shot("front", 0, 150, COPIED), Shot("front", 150, 170, COPIED), Shot("wrist", 0, 320, MPEG4)]


def _clocks() -> list[Shot]:
    """Return a film in AV1, and one whose pictures have the times of the camera's clock."""
    return [Shot("front", 0, 130, AV1), Shot("wrist", 0, 130, IRREGULAR)]


def _steady(count: int, fps: float, begin: float = 0.0, jitter_s: float = JITTER_S) -> list[float]:
    """Return times of frames, in seconds after the start, that a computer's scheduler has shifted a little."""
    noise = np.random.default_rng(count).uniform(-jitter_s, jitter_s, count) * (np.arange(count) > 0)
    return sorted((begin + np.arange(count) / fps + noise).tolist())


def _so101(t: float) -> dict[str, Any]:
    def angles(shift):
        return {f"{joint}.pos": 40 * math.sin((1 + n / 5) * t + shift) for n, joint in enumerate(SO101)}

    return {"observation": angles(0), "action": angles(0.1)}


def _two_arms(t: float) -> dict[str, Any]:
    one = _so101(t)
    return {
        part: {
            f"{side}_{joint}": value * sign for side, sign in (("left", 1), ("right", -1)) for joint, value in joints
        }
        for part, joints in ((part, list(values.items())) for part, values in one.items())
    }


def _lekiwi(t: float) -> dict[str, Any]:
    """Return an arm on a base with wheels."""
    base = {"x.vel": 0.1 * math.sin(t), "y.vel": 0.05 * math.sin(3 * t), "theta.vel": 30 * math.cos(t)}
    return {
        part: {f"arm_{joint}": value for joint, value in values.items()} | base for part, values in _so101(t).items()
    }


def _one_joint(t: float) -> dict[str, Any]:
    return {"observation": {"gripper.pos": 50 + 50 * math.sin(t)}, "action": {"gripper.pos": 50 + 50 * math.cos(t)}}


def _lists(t: float) -> dict[str, Any]:
    """Return joints as a list, a bool and a text."""
    positions = [math.sin(t + n) for n in range(7)]
    observation = {"joint_positions": positions, "gripper_closed": t % 1 > 0.5, "mode": "fast" if t > 1 else "slow"}
    return {"observation": observation, "action": {"joint_positions": [value + 0.1 for value in positions]}}


def _session(
    robot: str, labels: dict[str, Any], frame: Frame, times: list[float], shots: Iterable[Shot], fps: int = 30
) -> int:
    owner, _ = Robot.objects.get_or_create(pk=robot, defaults={"robot_type": "so_follower"})
    moments = [BEGIN + timedelta(seconds=t) for t in times]
    session = TeleopSession.objects.create(
        robot=owner,
        key=f"{robot}-morning",
        fps=fps,
        frame_count=len(times),
        start_time=moments[0],
        end_time=moments[-1],
        meta_info=labels,
    )
    TeleopFrame.objects.bulk_create(
        TeleopFrame(session=session, robot=owner, frame_index=index, timestamp=moment, data=frame(t))
        for index, (t, moment) in enumerate(zip(times, moments, strict=True))
    )
    for shot in shots:
        _upload(session, shot)
    return session.pk


def _upload(session: TeleopSession, shot: Shot) -> None:
    begin = BEGIN.timestamp() + shot.first / shot.fps
    end = begin + shot.count / shot.fps
    chunk = VideoChunk(session=session, camera_key=shot.camera, start_timestamp=begin, end_timestamp=end)
    with tempfile.NamedTemporaryFile() as file:
        file.write(film(shot.first, shot.count, shot.fps, shot.encoding))
        file.seek(0)
        chunk.describe(examine(file.name))
        chunk.keep(File(file))
