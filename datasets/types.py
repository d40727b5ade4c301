"""The values that pass between the steps of an export: no Django, no I/O.

All times are integers, microseconds of unix time, as the database has them. The grid of an episode is computed from
integers too: row k is at begin_us + k / fps, rounded to a microsecond (datasets/grid/times.py).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

DType = Literal["float32", "float64", "int64", "bool", "string"]


class Refused(Exception):
    """The export cannot be made as asked. The message names the session, the value and the bound, for people."""


class Recording(NamedTuple):
    """The frames of one session, sorted by time; frames of equal times by frame_index.

    `indexes` are frame_index and `times_us` timestamps, int64 [frames]. A column of `columns` is named by the path to
    its value (`observation.shoulder_pan.pos`, `action.3`). It is float64 [frames] with NaN where a frame has no value,
    or object [frames] of bool or str, with None where a frame has no value.
    """

    session_id: int
    indexes: np.ndarray
    times_us: np.ndarray
    columns: dict[str, np.ndarray]


class Film(NamedTuple):
    """One stored chunk of a camera. `path` is the file as uploaded."""

    video_id: int
    path: Path
    sha256: str
    media_type: str
    codec: str  # as FFmpeg names it
    pixel_format: str
    width: int
    height: int


class Camera(NamedTuple):
    """All pictures of one camera of one session that a player shows, sorted by time.

    `times_us` are their times on the session's clock, int64 [pictures], strictly ascending; picture i is number
    `picture_numbers[i]` (from 0, in the order shown) of `films[film_numbers[i]]`.
    """

    key: str  # of the dataset: "observation.images.front"
    films: tuple[Film, ...]
    times_us: np.ndarray
    film_numbers: np.ndarray
    picture_numbers: np.ndarray


class Feature(NamedTuple):
    """A feature of the dataset that comes from frames, and the columns of a Recording that fill it.

    With `names` its shape is [len(names)], and column i is named names[i]. Without names its shape is [1].
    """

    key: str  # "observation.state", "action", or of a bool or text "observation.gripper_closed"
    dtype: DType
    names: tuple[str, ...] | None
    columns: tuple[str, ...]


class CameraFeature(NamedTuple):
    key: str
    height: int
    width: int


class Layout(NamedTuple):
    """The features, cameras and units of a dataset; all its sessions have the same (datasets/recording/layout.py)."""

    features: tuple[Feature, ...]
    cameras: tuple[CameraFeature, ...]
    robot_type: str | None
    units: str | None  # meta_info["units"], None if the robot did not say


class FilmEntry(NamedTuple):
    """A stored chunk in the manifest."""

    video_id: int
    camera: str  # as uploaded
    sha256: str
    start_timestamp: float


@dataclass(frozen=True)
class SessionEntry:
    """A session in the manifest, frozen: labels that change later do not change an existing export.

    `marks` are those of people: {"timestamp": unix seconds, "kind": null or "trim_start" or "trim_end", "note", "by"}.
    `quality` has numbers only.
    `values_sha256` is the hash of the frames, known once they were read ("" before).
    """

    session_id: int
    key: str
    robot: str
    robot_type: str | None
    fps: int
    frame_count: int
    start_time: str  # ISO 8601, UTC, microseconds
    end_time: str
    task: str | None
    success: bool | None
    tags: tuple[str, ...]
    operator: str | None
    note: str | None
    quality: dict[str, float]
    clock_steps: tuple[dict[str, Any], ...]
    marks: tuple[dict[str, Any], ...]
    films: tuple[FilmEntry, ...]
    is_validation: bool = False
    values_sha256: str = ""
    units: str | None = None  # meta_info["units"]; JSON text if it is no text
    joint_names: tuple[str, ...] = ()  # meta_info["joint_names"], which name the joints of lists
    event_count: int | None = None  # events of its robot, which MCAP has; None: not exported


class Trim(NamedTuple):
    """A part of a session that is in no episode."""

    begin_us: int
    end_us: int
    reason: str  # "mark", "idle", "gap", "clock step", "camera front", "no value of elbow.pos", "too short"


@dataclass(frozen=True)
class Episode:
    """A part of a session on the grid. `samples` and `pictures` are computed once, by the grid.

    `samples[name]` are positions in the Recording for each row, int64 [length]; columns without missing values share
    one array, under "". `pictures[camera key]` are positions in Camera.times_us, int64 [length]. `runs`, with the keys
    of `samples`, are the positions of the first and last frame between which values may be interpolated.
    """

    session_id: int
    number: int  # within its session, from 0
    begin_us: int
    fps: int
    length: int
    samples: dict[str, np.ndarray]
    pictures: dict[str, np.ndarray]
    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    repeated_rows: int = 0  # rows that repeat the frame of the row before (fills)
    unused_frames: int = 0  # frames within the episode that no row uses
    largest_offset_us: int = 0  # between a row's time and the time of its frame
    repeated_pictures: dict[str, int] = field(default_factory=dict)
    unused_pictures: dict[str, int] = field(default_factory=dict)


class Plan(NamedTuple):
    """The episodes of one session, and the parts of it that are in none."""

    episodes: list[Episode]
    trims: list[Trim]
    warnings: list[str]  # frozen cameras, clock steps, missing frames: sentences for the report
