"""State a second time which features a dataset has: from the first session's frames as they are in the database."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from datasets.options import Options
from datasets.types import SessionEntry
from datasets.verification.database import leaves, name_of, sample
from teleop.servo import servo_name

SAMPLED_FRAMES = 64  # at each end of the session
VECTORS = {"observation": "observation.state", "action": "action"}
CAPTURE_TIME = "observation.capture_time"
INDEXES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


class Expected(NamedTuple):
    """A feature that comes from frames, and the columns that fill it; `names` is None if it is no vector."""

    key: str
    dtype: str
    names: list[str] | None
    columns: list[str]


def expected_features(entry: SessionEntry, cameras: Iterable[str], options: Options) -> list[Expected]:
    """Return the features of the session's frames, in no particular order; `cameras` are the keys of its cameras."""
    kinds = _kinds([data for _, _, data in sample(entry.session_id, SAMPLED_FRAMES)], entry, options)
    features = []
    for part, key in VECTORS.items():
        columns = [name for name, kind in kinds.items() if kind == "float32" and name.split(".")[0] == part]
        if columns:
            features.append(Expected(key, "float32", _names(columns, part, entry.joint_names), columns))
    taken = {*(feature.key for feature in features), *cameras, CAPTURE_TIME}
    for name, kind in kinds.items():
        if kind != "float32":
            key = name.replace("/", ".")
            while key in taken:
                key += f"_{kind}"
            taken.add(key)
            features.append(Expected(key, kind, None, [name]))
    if options.capture_times:
        features.append(Expected(CAPTURE_TIME, "float64", None, []))
    return features


def _kinds(frames: Sequence[Any], entry: SessionEntry, options: Options) -> dict[str, str]:
    """Return the type of each column that is exported: those of the first frame in its order, then others by name.

    A column with fewer values than one in max_gap is left out, as nearly all of its session would be a gap.
    """
    found: dict[str, list[type]] = {}
    first: list[str] = []
    for number, frame in enumerate(frames):
        for path, value in leaves(frame):
            types = found.setdefault(name_of(path), [])
            if value is not None:
                types.append(type(value))
        first = first if number else list(found)
    fewest = len(frames) / max(2.0, entry.fps * options.max_gap_s)
    names = [*first, *sorted(found.keys() - set(first))]
    return {
        name: _kind(set(found[name]))
        for name in names
        if _is_exported(name) and found[name] and len(found[name]) >= fewest
    }


def _kind(types: set[type]) -> str:
    return "string" if str in types else "bool" if types == {bool} else "float32"


def _is_exported(name: str) -> bool:
    """Check for a value of the observation or the action that is no temperature or the like of a motor."""
    part, _, rest = name.partition(".")
    return part in VECTORS and not (part == "observation" and servo_name(rest))


def _names(columns: list[str], part: str, joint_names: tuple[str, ...]) -> list[str]:
    """Return the columns without their part; if all are in a list, the names that the robot gave to its joints."""
    is_usable = len(joint_names) == len(columns) == len(set(joint_names))
    if is_usable and all(name.rsplit(".", 1)[-1].isdigit() for name in columns):
        return list(joint_names)
    return [name[len(part) + 1 :] for name in columns]
