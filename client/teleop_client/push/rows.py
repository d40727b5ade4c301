"""Read the rows of an episode, and make frames of them as RobotClient.send takes them."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .dataset import Dataset
from .dataset_files import batches, check_regular, open_parquet
from .dataset_types import DatasetUnusable, Episode

Column = npt.NDArray[Any]
Stamp = tuple[int, int]  # the time and the size of a file

BATCH_ROWS = 4096
EPISODE, TASK = "episode_index", "task_index"
INDEXES = {"frame_index": "int64", "index": "int64", "timestamp": "float32", TASK: "int64"}
# Numbers of these types are sent as numpy has them: the client writes them with their shortest digits.
SHORT = {"float16", "float32"}
ARROW_TYPES = {"float16": "halffloat", "float32": "float", "float64": "double"}  # Arrow's names, where they differ
SHARED = 2  # a row group with more rows than this many times an episode has several episodes
MAX_KEPT_BYTES = 256 << 20
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def frames(dataset: Dataset, episode: Episode) -> Iterator[dict[str, Any]]:
    """Yield the frame of each row: observation, action and other values, without an index and a time.

    An episode with several tasks has the `task` of each row. Raise DatasetUnusable if the rows cannot be read, or are
    not as many as the episode's length.
    """
    for columns in columns_of(dataset, episode):
        tasks = columns[TASK].tolist() if len(episode.tasks) > 1 else []
        for row, frame in enumerate(_frames(dataset, columns)):
            yield {"task": dataset.tasks.get(tasks[row])} | frame if tasks else frame


def columns_of(dataset: Dataset, episode: Episode) -> Iterator[dict[str, Column]]:
    """Yield the values of at most 4096 rows at a time: of joints [rows, joints], of other features [rows]."""
    count = 0
    for batch in _episode_batches(dataset, episode):
        count += batch.num_rows
        if count <= episode.length:
            yield _columns(dataset, episode, batch)
    if count != episode.length:
        raise DatasetUnusable(
            f"{_name(dataset, episode)} has {count} rows of episode {episode.index}; {episode.length} expected, "
            "which is its length in the metadata"
        )


def _frames(dataset: Dataset, columns: dict[str, Column]) -> Iterator[dict[str, Any]]:
    joints = [(joints.part, joints.names, _as_sent(columns[joints.key])) for joints in dataset.info.joints]
    scalars = [(scalar.part, scalar.name, _as_sent(columns[scalar.key])) for scalar in dataset.info.scalars]
    for row in range(len(columns[TASK])):
        frame: dict[str, Any] = {part: dict(zip(names, values[row], strict=True)) for part, names, values in joints}
        for part, name, values in scalars:
            (frame.setdefault(part, {}) if part else frame)[name] = values[row]
        yield frame


def _as_sent(values: Column) -> Any:
    return values if values.dtype.name in SHORT else values.tolist()


def _columns(dataset: Dataset, episode: Episode, batch: pa.RecordBatch) -> dict[str, Column]:
    name = _name(dataset, episode)
    columns = {key: _flat(batch, key, 1, dtype, name) for key, dtype in INDEXES.items()}
    for joints in dataset.info.joints:
        flat = _flat(batch, joints.key, len(joints.names), joints.dtype, name)
        columns[joints.key] = flat.reshape(-1, len(joints.names))
    return columns | {scalar.key: _flat(batch, scalar.key, 1, scalar.dtype, name) for scalar in dataset.info.scalars}


def _flat(batch: pa.RecordBatch, key: str, count: int, dtype: str, name: str) -> Column:
    """Return `count` values a row as one array; a missing number is NaN."""
    column = batch[key]
    if any(is_kind(column.type) for is_kind in LISTS):
        # Not pc.equal: for the scalar it tries to import pandas, which takes 1 ms each time.
        if column.null_count or (pc.list_value_length(column).to_numpy(zero_copy_only=False) != count).any():
            raise DatasetUnusable(f"{name}: {key} has rows without {count} values")
        column = column.flatten()
    elif count != 1:
        raise DatasetUnusable(f"{name}: {key} is {column.type}; lists of {count} values expected")
    try:
        values: Column = column.cast(ARROW_TYPES.get(dtype, dtype)).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise DatasetUnusable(f"{name}: {key} is {column.type}; {dtype} expected ({error})") from None
    return values


def _episode_batches(dataset: Dataset, episode: Episode) -> Iterator[pa.RecordBatch]:
    name = _name(dataset, episode)
    joints, scalars = dataset.info.joints, dataset.info.scalars
    keys = (EPISODE, *INDEXES, *(feature.key for feature in joints), *(scalar.key for scalar in scalars))
    stamp = _stamp(episode.data_path, name)
    groups = _row_groups(dataset.root, episode.data_path, stamp)
    with open_parquet(dataset.root, episode.data_path, groups.metadata) as file:
        if missing := {*keys} - {*file.schema_arrow.names}:
            raise DatasetUnusable(f"{name} has no column {', '.join(sorted(missing))}")
        for group in groups.of(episode.index):
            rows = file.metadata.row_group(group).num_rows
            if rows > SHARED * episode.length and rows * _row_bytes(dataset) <= MAX_KEPT_BYTES:
                found: Iterable[pa.RecordBatch] = _kept_group(dataset.root, episode.data_path, stamp, group, keys)
            else:
                found = batches(file, name, BATCH_ROWS, [group], list(keys))
            for batch in found:
                own = _own_rows(batch, episode.index)
                yield from (own.slice(begin, BATCH_ROWS) for begin in range(0, own.num_rows, BATCH_ROWS))


def _own_rows(batch: pa.RecordBatch, episode_index: int) -> pa.RecordBatch:
    """Return the rows of an episode; rows that follow each other are not copied."""
    places = np.flatnonzero(batch[EPISODE].to_numpy(zero_copy_only=False) == episode_index)
    if len(places) and places[-1] - places[0] == len(places) - 1:
        return batch.slice(int(places[0]), len(places))
    return batch.take(pa.array(places))


@lru_cache(maxsize=1)
def _kept_group(root: Path, path: Path, stamp: Stamp, group: int, keys: tuple[str, ...]) -> list[pa.RecordBatch]:
    """Return all rows of a row group of many episodes, which are asked for one by one.

    Merged datasets have such groups. Read again for each of 360 episodes, an hour took 20 s in place of 1 s.
    """
    with open_parquet(root, path) as file:
        rows = file.metadata.row_group(group).num_rows
        return list(batches(file, path.relative_to(root).as_posix(), rows, [group], list(keys)))


def _row_bytes(dataset: Dataset) -> float:
    """Return the size of a row in memory; that of texts is unknown."""
    info = dataset.info
    if any(scalar.dtype == "string" for scalar in info.scalars):
        return math.inf
    joints = sum(np.dtype(joints.dtype).itemsize * len(joints.names) for joints in info.joints)
    return joints + 8 * (1 + len(INDEXES) + len(info.scalars))


class _RowGroups(NamedTuple):
    """The row groups of a data file, with the least and the highest episode of each. LeRobot writes one an episode."""

    metadata: pq.FileMetaData
    least: npt.NDArray[np.float64]
    most: npt.NDArray[np.float64]

    def of(self, episode_index: int) -> list[int]:
        """Return the groups that may have rows of the episode."""
        return [int(group) for group in np.flatnonzero((self.least <= episode_index) & (episode_index <= self.most))]


@lru_cache(maxsize=1)
def _row_groups(root: Path, path: Path, stamp: Stamp) -> _RowGroups:
    """Read the footer of a data file. For each of 2,000 episodes of a file again, it took a minute in place of 2 s."""
    with open_parquet(root, path) as file:
        leaves = [file.schema.column(place).path for place in range(len(file.schema))]
        if EPISODE not in leaves or not pa.types.is_integer(file.schema_arrow.field(EPISODE).type):
            raise DatasetUnusable(f"{path.relative_to(root).as_posix()} has no column {EPISODE} of integers")
        place = leaves.index(EPISODE)
        columns = (file.metadata.row_group(group).column(place) for group in range(file.num_row_groups))
        bounds = [_bounds(column.statistics) for column in columns]
        least, most = np.array(bounds, np.float64).reshape(-1, 2).T
        return _RowGroups(file.metadata, least, most)


def _bounds(statistics: Any) -> tuple[float, float]:
    if statistics is None or not statistics.has_min_max:
        return -math.inf, math.inf
    return statistics.min, statistics.max


def _stamp(path: Path, name: str) -> Stamp:
    size = check_regular(path, name)
    return path.stat().st_mtime_ns, size


def _name(dataset: Dataset, episode: Episode) -> str:
    return episode.data_path.relative_to(dataset.root).as_posix()
