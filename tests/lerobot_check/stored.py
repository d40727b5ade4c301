"""What the server has stored of a robot, read from its database and its films."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import av

from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from tests.lerobot_check.recording import NUMBER
from tests.services import wait_until
from videos.models import VideoChunk

BITS, STRIPE_PX = 12, 16  # of the mock camera's pictures
END_TIMEOUT_S = 60


class Frame(NamedTuple):
    index: int
    time: float
    observation: dict[str, float]
    action: dict[str, float]

    @property
    def number(self) -> int:
        return int(self.observation[NUMBER])


class Picture(NamedTuple):
    number: int
    time: float


class Session(NamedTuple):
    fps: int
    meta_info: dict[str, Any]
    frames: list[Frame]
    pictures: dict[str, list[Picture]]  # by camera

    @property
    def numbers(self) -> list[int]:
        return [frame.number for frame in self.frames]


def new_robot(name: str) -> str:
    """Register a robot, and return its key."""
    return Robot.objects.create(pk=name).issue_key()


def wait_for_end(robot: str) -> None:
    """Wait until the robot has a session, and all its sessions have ended."""
    rows = TeleopSession.objects.filter(robot=robot)
    what = f"the end of all sessions of {robot}"
    wait_until(lambda: rows.exists() and not rows.filter(end_time=None).exists(), END_TIMEOUT_S, what)


def sessions_of(robot: str) -> list[Session]:
    """Return the sessions of a robot, oldest first, once all have ended."""
    wait_for_end(robot)
    return [_read(row) for row in TeleopSession.objects.filter(robot=robot).order_by("start_time")]


def _read(row: TeleopSession) -> Session:
    frames = [
        Frame(frame.frame_index, frame.timestamp.timestamp(), frame.data["observation"], frame.data["action"])
        for frame in TeleopFrame.objects.filter(session=row).order_by("frame_index")
    ]
    pictures = {camera: list(_pictures(row, camera)) for camera in row.cameras}
    return Session(row.fps, row.meta_info or {}, frames, pictures)


def _pictures(row: TeleopSession, camera: str) -> Iterator[Picture]:
    for chunk in VideoChunk.objects.filter(session=row, camera_key=camera).order_by("start_timestamp"):
        with av.open(chunk.file_path.path) as container:
            for frame in container.decode(video=0):
                yield Picture(_number_of(frame), chunk.start_timestamp + float(frame.pts * frame.time_base))


def _number_of(frame: av.VideoFrame) -> int:
    row = frame.to_ndarray(format="gray8")[frame.height // 2]
    return sum(int(row[bit * STRIPE_PX + STRIPE_PX // 2] > 127) << BITS - 1 - bit for bit in range(BITS))
