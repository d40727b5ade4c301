"""Find the features in the columns of a session.

All numbers of `observation` are the state and all numbers of `action` the action, in the order of the first frame. What
motors report beside their positions (teleop/servo.py) is no state. A bool or a text is a feature of its own.
"""

from collections.abc import Iterable

import numpy as np

from datasets.options import Options
from datasets.recording.names import list_of, name_of
from datasets.types import DType, Feature, Layout, Recording, SessionEntry
from teleop.servo import servo_name

PARTS = {"observation": "observation.state", "action": "action"}
CAPTURE_TIME = "observation.capture_time"  # filled by the grid, from no column
OWN_KEYS = (CAPTURE_TIME,)  # other keys of a dataset that begin with a part


def features_of(
    recording: Recording, entry: SessionEntry, options: Options, taken: Iterable[str] = ()
) -> tuple[Feature, ...]:
    """Return the features of a session's frames, or of a sample of them; `taken` are the keys of its cameras."""
    columns = [name for name in recording.columns if not _left_out_because(name, recording, entry, options)]
    features = [_vector(key, part, columns, recording, entry) for part, key in PARTS.items()]
    found = {feature.key: feature for feature in features if feature.columns}
    for name in columns:
        values = recording.columns[name]
        if values.dtype == object:
            kind = kind_of(values)
            key = name.replace("/", ".")  # LeRobot takes no slash in a key
            while key in found or key in OWN_KEYS or key in taken:
                key = f"{key}_{kind}"
            found[key] = Feature(key, kind, None, (name,))
    return tuple(found.values())


def left_out(recording: Recording, entry: SessionEntry, options: Options, layout: Layout | None = None) -> list[str]:
    """Return sentences for the report about the columns that are in no feature, or not in the given layout."""
    known = None if layout is None else {name for feature in layout.features for name in feature.columns}
    reasons: dict[str, list[str]] = {}
    for name in recording.columns:
        if known is not None and name in known:
            continue
        reason = _left_out_because(name, recording, entry, options)
        if not reason and known is not None:
            reason = "neither at the beginning nor at the end of the session"
        if reason:
            reasons.setdefault(reason, []).append(name)
    return [f"{name_of(entry)}: {list_of(names)} left out: {reason}" for reason, names in reasons.items()]


def kind_of(values: np.ndarray) -> DType:
    """Return the type of a column, which has at least one value."""
    if values.dtype == float:
        return "float32"
    first = next(value for value in values if value is not None)
    return "bool" if isinstance(first, bool) else "string"


def _left_out_because(name: str, recording: Recording, entry: SessionEntry, options: Options) -> str:
    part, _, path = name.partition(".")
    if part not in PARTS:
        return "not in observation or action"
    if part == "observation" and servo_name(path):
        return "reported by motors beside their positions, no state"
    values = recording.columns[name]
    there = np.count_nonzero(~np.isnan(values) if values.dtype == float else values != np.array(None))
    # With fewer values than one in max_gap nearly all of the session would be a gap.
    if there * max(2.0, entry.fps * options.max_gap_s) < len(values):
        return f"too few values for max_gap ({options.max_gap_s:g} s)"
    return ""


def _vector(key: str, part: str, columns: list[str], recording: Recording, entry: SessionEntry) -> Feature:
    joints = [name for name in columns if name.partition(".")[0] == part and recording.columns[name].dtype == float]
    return Feature(key, "float32", _names(joints, part, entry), tuple(joints))


def _names(joints: list[str], part: str, entry: SessionEntry) -> tuple[str, ...]:
    """Return the names of the joints: paths without the part; if all are in lists, the names that the robot gave."""
    are_listed = all(name.rpartition(".")[2].isdigit() for name in joints)
    if are_listed and len({*entry.joint_names}) == len(entry.joint_names) == len(joints):
        return entry.joint_names
    return tuple(joint.removeprefix(f"{part}.") for joint in joints)
