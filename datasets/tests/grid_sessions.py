"""Recordings, cameras and layouts made by hand, for the tests of the grid."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.grid.plan import plan
from datasets.options import Options
from datasets.types import Camera, CameraFeature, Feature, Layout, Plan, Recording, SessionEntry

T0_US = 1_767_600_000_123_457  # the number of microseconds is odd and no multiple of a row


def times(count: int, fps: float, begin_s: float = 0.0) -> np.ndarray:
    """Return times k / fps after T0, rounded to microseconds."""
    return T0_US + np.round(begin_s * 1e6 + np.arange(count) * 1e6 / fps).astype(np.int64)


def recording(times_us: Any, indexes: Any = None, **columns: Any) -> Recording:
    """Return frames sorted by time; `indexes` count from 0, and `column` becomes the column "observation.column"."""
    times_us = np.asarray(times_us, np.int64)
    indexes = np.arange(len(times_us)) if indexes is None else np.asarray(indexes, np.int64)
    order = np.lexsort((indexes, times_us))
    columns = columns or {"elbow": np.arange(len(times_us), dtype=float)}
    sorted_columns = {f"observation.{name}": np.asarray(column)[order] for name, column in columns.items()}
    return Recording(17, indexes[order], times_us[order], sorted_columns)


def camera(name: str, times_us: Any) -> Camera:
    times_us = np.asarray(times_us, np.int64)
    numbers = np.arange(len(times_us))
    return Camera(f"observation.images.{name}", (), times_us, np.zeros_like(numbers), numbers)


def layout_of(frames: Recording, cameras: Sequence[Camera] = ()) -> Layout:
    numbers = tuple(name for name, column in frames.columns.items() if column.dtype != object)
    features = [Feature("observation.state", "float32", tuple(name[12:] for name in numbers), numbers)]
    for name, column in frames.columns.items():
        if column.dtype == object:
            is_bool = all(isinstance(value, bool | None) for value in column)
            features.append(Feature(name, "bool" if is_bool else "string", None, (name,)))
    return Layout(tuple(features), tuple(CameraFeature(each.key, 480, 640) for each in cameras), None, None)


def session(fps: int = 30, **changes: Any) -> SessionEntry:
    values = {"session_id": 17, "key": "k", "robot": "arm", "robot_type": None, "fps": fps, "frame_count": 0}
    values |= {
        "start_time": "2026-01-05T08:00:00.123457Z",
        "end_time": "",
        "task": "t",
        "success": None,
        "tags": (),
        "operator": None,
    }
    values |= {"note": None, "quality": {}, "clock_steps": (), "marks": (), "films": ()}
    return SessionEntry(**values | changes)


def mark(kind: str, seconds: float) -> dict[str, Any]:
    """Return a mark so many seconds after T0."""
    return {"timestamp": (T0_US + round(seconds * 1e6)) / 1e6, "kind": kind}


def planned(
    frames: Recording,
    cameras: Sequence[Camera] = (),
    fps: int = 30,
    rows_fps: int | None = None,
    marks=(),
    **options: Any,
) -> Plan:
    """Plan a session of `fps`; the dataset has `rows_fps`, or the same."""
    entry = session(fps, marks=tuple(marks))
    return plan(frames, cameras, layout_of(frames, cameras), entry, Options(**options), rows_fps or fps)


def spans_s(plan: Plan) -> list[tuple[float, float]]:
    """Return the first and last row of each episode, in seconds after T0."""
    begins = [(each.begin_us - T0_US) / 1e6 for each in plan.episodes]
    return [
        (round(begin, 3), round(begin + (each.length - 1) / each.fps, 3))
        for begin, each in zip(begins, plan.episodes, strict=True)
    ]


def trims_s(plan: Plan) -> list[tuple[float, float, str]]:
    return [
        (round((each.begin_us - T0_US) / 1e6, 3), round((each.end_us - T0_US) / 1e6, 3), each.reason)
        for each in plan.trims
    ]
