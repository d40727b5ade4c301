"""The rows of an episode, with their indexes, as both versions of the format have them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from datasets.formats.lerobot_features import arrow_column
from datasets.grid.times import iso_time, row_times_us
from datasets.recording.names import name_of
from datasets.statistics import Statistics, statistics_of
from datasets.types import Episode, Feature, Layout, Refused, SessionEntry

# A trainer needs a text.
NO_TASK = "unlabelled"


class Rows(NamedTuple):
    """Where an episode is within the dataset."""

    episode_index: int
    first_index: int
    length: int
    task_index: int
    fps: int


class TaskIndexes:
    """The tasks of a dataset, in the order of their first episode."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}

    def __iter__(self):
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def index_of(self, entry: SessionEntry) -> int:
        return self._of.setdefault(task_of(entry), len(self._of))


def task_of(entry: SessionEntry) -> str:
    return entry.task or NO_TASK


def index_columns(rows: Rows) -> dict[str, np.ndarray]:
    """Return the index features [length]; timestamps are float64 here, computed from integers."""
    numbers = np.arange(rows.length, dtype=np.int64)
    return {
        "timestamp": numbers / rows.fps,
        "frame_index": numbers,
        "episode_index": np.full(rows.length, rows.episode_index, np.int64),
        "index": numbers + rows.first_index,
        "task_index": np.full(rows.length, rows.task_index, np.int64),
    }


def episode_table(
    layout: Layout, schema: pa.Schema, values: Mapping[str, np.ndarray], indexes: Mapping[str, np.ndarray]
) -> pa.Table:
    robot = [arrow_column(feature, values[feature.key]) for feature in layout.features]
    plain = [
        pa.array(column.astype(schema.field(key).type.to_pandas_dtype(), copy=False)) for key, column in indexes.items()
    ]
    return pa.table(robot + plain, schema)


def episode_statistics(
    layout: Layout,
    values: Mapping[str, np.ndarray],
    films: Mapping[str, Statistics],
    indexes: Mapping[str, np.ndarray],
) -> dict[str, Statistics]:
    """Return the statistics of all features in their order. Texts have none."""
    robot = {
        feature.key: statistics_of(values[feature.key]) for feature in layout.features if feature.dtype != "string"
    }
    cameras = {camera.key: films[camera.key] for camera in layout.cameras}
    return {**robot, **cameras, **{key: statistics_of(column) for key, column in indexes.items()}}


def check_rows(layout: Layout, entry: SessionEntry, episode: Episode, values: Mapping[str, np.ndarray]) -> None:
    """Raise Refused if a number is infinite in float32, and ValueError if a feature has other rows than the episode."""
    for feature in layout.features:
        rows = values[feature.key]
        if len(rows) != episode.length:
            raise ValueError(
                f"session {entry.session_id}: {feature.key} has {len(rows)} rows, and episode {episode.number} has "
                f"{episode.length}"
            )
        if feature.dtype == "float32" and not np.isfinite(rows).all():
            raise Refused(_not_finite(entry, episode, feature, rows))


def _not_finite(entry: SessionEntry, episode: Episode, feature: Feature, rows: np.ndarray) -> str:
    row, column = np.argwhere(~np.isfinite(rows))[0]
    time_us = row_times_us(episode.begin_us, episode.fps, episode.length)[row]
    return (
        f"{name_of(entry)}: {feature.columns[column]} is beyond the numbers of float32 at {iso_time(time_us)} "
        f"(row {row} of episode {episode.number}); at most {np.finfo(np.float32).max:.1e} expected"
    )
