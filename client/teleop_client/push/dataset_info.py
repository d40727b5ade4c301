"""Read meta/info.json: the version of the format, the rate, and what a row of the dataset becomes in a frame."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .dataset_files import read_json
from .dataset_types import DatasetUnfinished, DatasetUnusable

INFO = "meta/info.json"
VERSIONS = ("v3.0", "v2.1")
MAX_FPS = 1000
JOINTS = {"observation.state": "observation", "action": "action"}  # the part of a frame that each becomes
INDEXES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
# An export writes the true time of each frame under this key. In `observation` it would look like a joint.
CAPTURE_TIME = "observation.capture_time"
NUMBERS = frozenset(
    ("float16", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
)
SCALARS = NUMBERS | {"bool", "string"}
IMAGES = "observation.images."
CAMERA = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")  # the names that the server takes
MAX_CAMERA = 100
# Names that have a meaning of their own in a frame; the last one is a parameter of RobotClient.send.
_FRAME_KEYS = {"observation", "action", "frames", *INDEXES, "self"}


@dataclass(frozen=True)
class Joints:
    """A feature whose values are the joints of `part`."""

    key: str
    part: str
    dtype: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Scalar:
    """A feature with one value a row: `name` in `part`, or beside the parts if `part` is None."""

    key: str
    part: str | None
    dtype: str
    name: str


@dataclass(frozen=True)
class Info:
    """The fields of info.json that are of use. `cameras` maps the name of a camera to its feature."""

    version: str
    fps: int
    robot_type: str | None
    total_episodes: int
    total_frames: int
    chunks_size: int
    data_path: str | None
    video_path: str | None
    joints: list[Joints] = field(default_factory=list)
    scalars: list[Scalar] = field(default_factory=list)
    cameras: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def read_info(root: Path) -> Info:
    """Return the contents of info.json; raise DatasetUnusable if this reader cannot read the dataset."""
    if not (root / INFO).is_file():
        raise _no_info(root)
    raw = read_json(root, INFO)
    info = Info(
        version=_version(raw),
        fps=_fps(raw.get("fps")),
        robot_type=_text(raw, "robot_type"),
        total_episodes=_count(raw, "total_episodes"),
        total_frames=_count(raw, "total_frames"),
        chunks_size=max(_count(raw, "chunks_size", 1000), 1),
        data_path=_text(raw, "data_path"),
        video_path=_text(raw, "video_path"),
    )
    features = raw.get("features")
    if not isinstance(features, dict) or not all(isinstance(feature, dict) for feature in features.values()):
        raise DatasetUnusable(f"{INFO}: features is no object of objects")
    for key, feature in features.items():
        _add_feature(info, key, feature)
    if not info.joints:
        raise DatasetUnusable(
            f"{INFO}: features has neither observation.state nor action with numbers in one dimension"
        )
    return info


def _add_feature(info: Info, key: str, feature: Mapping[str, Any]) -> None:
    if key in INDEXES:
        return
    dtype, shape = feature.get("dtype"), _shape(key, feature)
    if dtype == "video":
        _add_camera(info, key, feature, shape)
    elif dtype == "image":
        info.left_out[key] = f"{key} has its pictures inside the Parquet files; only films are sent"
    elif key in JOINTS:
        _add_joints(info, key, feature, shape)
    elif shape != (1,):
        sizes = list(shape)
        info.left_out[key] = (
            f"{key} has the shape {sizes}; beside observation.state and action only single values are sent"
        )
    elif dtype not in SCALARS:
        info.left_out[key] = f"{key} is of the type {dtype!r}; numbers, bool and string are sent"
    else:
        _add_scalar(info, key, str(dtype))


def _add_joints(info: Info, key: str, feature: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    dtype = feature.get("dtype")
    if len(shape) != 1 or not shape[0]:
        info.left_out[key] = f"{key} has the shape {list(shape)}; one dimension expected"
    elif dtype not in NUMBERS:
        info.left_out[key] = f"{key} is of the type {dtype!r}; numbers expected"
    else:
        names = joint_names(key, feature.get("names"), shape[0])
        info.joints.append(Joints(key, JOINTS[key], str(dtype), names))


def joint_names(key: str, given: Any, count: int) -> tuple[str, ...]:
    """Return the name of each joint. Without names they are numbers, as the server names the places of a list.

    Older writers nest the names: {"motors": ["a", "b"]}, {"left": [...], "right": [...]} or {"a": 0, "b": 1}.
    """
    if not given:
        return tuple(map(str, range(count)))
    names = _flat_names(given)
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise DatasetUnusable(f"{INFO}: names of {key} are mixed; a list with the name of each joint expected")
    if len(names) != count or len({*names}) != count:
        raise DatasetUnusable(
            f"{INFO}: {key} has {count} values, but {len(names)} names, {len({*names})} of them different"
        )
    return tuple(names)


def _flat_names(given: Any) -> list[Any] | None:
    if isinstance(given, list):
        return given
    if not isinstance(given, dict):
        return None
    if all(isinstance(place, int) for place in given.values()):
        return sorted(given, key=given.__getitem__)
    if not all(isinstance(names, list) for names in given.values()):
        return None
    if len(given) == 1:
        return list(*given.values())
    return [f"{group}.{name}" for group, names in given.items() for name in names]


def _add_scalar(info: Info, key: str, dtype: str) -> None:
    part, _, name = key.partition(".")
    if key == CAPTURE_TIME:
        scalar = Scalar(key, None, dtype, name)
    elif part in JOINTS.values() and name:
        scalar = Scalar(key, part, dtype, name)
    else:
        scalar = Scalar(key, None, dtype, key)
    if scalar.part is None and scalar.name in _FRAME_KEYS:
        info.left_out[key] = f"{key} has a name that a frame uses itself"
    elif scalar.name in _names_of(info, scalar.part):
        info.left_out[key] = f"{key} has the name of another value of its row"
    else:
        info.scalars.append(scalar)


def _names_of(info: Info, part: str | None) -> set[str]:
    joints = {name for joints in info.joints if joints.part == part for name in joints.names}
    return joints | {scalar.name for scalar in info.scalars if scalar.part == part}


def _add_camera(info: Info, key: str, feature: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    about = feature.get("info") or feature.get("video_info") or {}
    flags = [about.get(name) for name in ("is_depth_map", "video.is_depth_map")] if isinstance(about, dict) else []
    name = key.removeprefix(IMAGES).removeprefix("observation.")
    if any(flags) or (len(shape) == 3 and 1 in (shape[0], shape[2])):
        info.left_out[key] = f"{key} is a film of depth; films of colours are sent"
    elif info.video_path is None:
        info.left_out[key] = f"{key} is a film, but {INFO} has no video_path"
    elif not CAMERA.fullmatch(name) or len(name) > MAX_CAMERA:
        info.left_out[key] = (
            f"{key} is no name that the server takes for a camera; letters, digits, _, - and . expected"
        )
    elif name in info.cameras:
        info.left_out[key] = f"{key} and {info.cameras[name]} are the same name for the server"
    else:
        info.cameras[name] = key


def _version(raw: Mapping[str, Any]) -> str:
    version, stored = raw.get("codebase_version"), raw.get("storage_format")
    if stored not in (None, "parquet"):
        raise DatasetUnusable(f"{INFO}: storage_format is {stored!r}; only datasets in Parquet files can be read")
    if version in VERSIONS:
        return str(version)
    if isinstance(version, str) and re.match(r"v?(1\.|2\.0)", version):
        hint = "convert it with the scripts of lerobot"
    else:
        hint = "a newer teleop-client may read it, or convert it"
    raise DatasetUnusable(f"{INFO}: codebase_version is {version!r}; v3.0 or v2.1 expected; {hint}")


def _no_info(root: Path) -> DatasetUnusable:
    if (root / "meta_data").is_dir():
        return DatasetUnusable(
            f"{root} is a LeRobot dataset v1; v3.0 or v2.1 expected; convert it with lerobot's scripts"
        )
    if not root.is_dir():
        return DatasetUnusable(f"{root} is no folder")
    return DatasetUnfinished(f"{root} has no {INFO}: it is no LeRobot dataset, or it is being written")


def _fps(fps: Any) -> int:
    if isinstance(fps, float) and fps.is_integer():
        fps = int(fps)
    if type(fps) is not int or not 1 <= fps <= MAX_FPS:
        raise DatasetUnusable(f"{INFO}: fps is {fps!r}; a whole number from 1 to {MAX_FPS} expected")
    return fps


def _count(raw: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = raw.get(name, default)
    if type(value) is not int or value < 0:
        raise DatasetUnusable(f"{INFO}: {name} is {value!r}; a whole number expected")
    return value


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is not None and not isinstance(value, str):
        raise DatasetUnusable(f"{INFO}: {name} is {type(value).__name__}; a text expected")
    return value


def _shape(key: str, feature: Mapping[str, Any]) -> tuple[int, ...]:
    shape = feature.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise DatasetUnusable(f"{INFO}: shape of {key} is {shape!r}; a list of whole numbers expected")
    return tuple(shape)
