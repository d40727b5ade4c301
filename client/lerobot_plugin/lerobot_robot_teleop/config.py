"""The flags of the stream: each field is `--robot.stream.<field>`."""

from dataclasses import dataclass
from pathlib import Path

DROP, STREAM = "drop", "stream"


@dataclass
class StreamConfig:
    """The address of the stream, and what belongs to it. lerobot logs its whole configuration: the key is not here."""

    url: str  # of the server, as https://host
    robot_id: str  # the robot's id on the server
    task: str | None = None  # without it, that of --dataset.single_task
    fps: int | None = None  # without it, that of --dataset.fps or --fps
    cameras: bool = True  # record films
    reset: str = DROP  # the reset phase between episodes: "drop", or "stream" it as sessions of its own
    key_file: Path | None = None  # of mode 0600, with lines of a robot's id and its key; without it, TELEOP_KEY
    spool_dir: Path | None = None  # where frames wait for the server; without it, that of teleop-client
    upload_kbit_s: float | None = None  # the limit for the uploads of films

    def __post_init__(self) -> None:
        if self.reset not in (DROP, STREAM):
            raise ValueError(f'robot.stream.reset is {self.reset!r}; "{DROP}" or "{STREAM}" expected')
        # A shell does not expand the ~ in --robot.stream.key_file=~/keys.
        self.key_file = self.key_file and Path(self.key_file).expanduser()
        self.spool_dir = self.spool_dir and Path(self.spool_dir).expanduser()
