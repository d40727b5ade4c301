"""Find the episodes of a LeRobotDataset v3.0: they share data files and films."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .dataset_files import batches, fill, open_parquet, safe_path
from .dataset_info import Info
from .dataset_types import DatasetUnfinished, DatasetUnusable, Episode, FilmSpan
from .labels import EXPORTED, LABELS, labels_of, task_of, tasks_of

EPISODES, TASKS = "meta/episodes", "meta/tasks.parquet"
BATCH_EPISODES = 1000
TASK_COLUMNS = ("task", "__index_level_0__")
NUMBERS = ("episode_index", "length", "data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index")
FILM_NUMBERS = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")


def episodes(root: Path, info: Info) -> Iterator[Episode]:
    """Yield the episodes in the order of the files."""
    films = [f"videos/{key}/{name}" for key in info.cameras.values() for name in FILM_NUMBERS]
    for path in _episodes_files(root):
        name = path.relative_to(root).as_posix()
        for row in _rows(root, path, {*NUMBERS, "tasks", *films}, {*LABELS, EXPORTED}):
            yield _episode(root, info, row, name)


def tasks(root: Path) -> Iterator[tuple[int, str]]:
    """Yield each task_index with its text. The texts are pandas' index, whose column has one of two names."""
    for row in _rows(root, safe_path(root, TASKS), {"task_index"}, {*TASK_COLUMNS}):
        yield task_of(row, next((row[name] for name in TASK_COLUMNS if name in row), None), TASKS)


def _episodes_files(root: Path) -> list[Path]:
    files = sorted((root / EPISODES).glob("chunk-*/file-*.parquet"))
    if not files:
        raise DatasetUnfinished(f"{EPISODES} has no files")
    return [safe_path(root, path.relative_to(root).as_posix()) for path in files]


def _rows(root: Path, path: Path, needed: set[str], wanted: set[str]) -> Iterator[dict[str, Any]]:
    name = path.relative_to(root).as_posix()
    with open_parquet(root, path) as file:
        known = {*file.schema_arrow.names}
        if missing := needed - known:
            raise DatasetUnusable(f"{name} has no column {', '.join(sorted(missing))}")
        columns = sorted(needed | (wanted & known))
        for batch in batches(file, name, BATCH_EPISODES, [*range(file.num_row_groups)], columns):
            yield from batch.select(columns).to_pylist()


def _episode(root: Path, info: Info, row: Mapping[str, Any], name: str) -> Episode:
    index, length, _, _, first, end = (row[key] for key in NUMBERS)
    where = f"{name}: episode {index}"
    if not all(type(row[key]) is int and row[key] >= 0 for key in NUMBERS) or end - first != length:
        raise DatasetUnusable(f"{where} has the rows {first!r} to {end!r} and the length {length!r}")
    try:
        tasks = tasks_of(row)
    except TypeError as error:
        raise DatasetUnusable(f"{where}: {error}") from None
    films = {camera: _span(root, info, row, key, where) for camera, key in info.cameras.items()}
    data_path = safe_path(root, fill("data_path", info.data_path, **_place(row, "data")))
    return Episode(index, length, first, tasks, films, labels_of(row), data_path)


def _span(root: Path, info: Info, row: Mapping[str, Any], key: str, where: str) -> FilmSpan:
    chunk, file, start_s, end_s = (row[f"videos/{key}/{name}"] for name in FILM_NUMBERS)
    if not all(type(number) is int and number >= 0 for number in (chunk, file)):
        raise DatasetUnusable(f"{where}: the film of {key} is in chunk {chunk!r}, file {file!r}")
    if (
        not all(isinstance(time, float) and math.isfinite(time) for time in (start_s, end_s))
        or not 0 <= start_s <= end_s
    ):
        raise DatasetUnusable(f"{where}: the film of {key} is from {start_s!r} to {end_s!r} s")
    path = fill("video_path", info.video_path, **_place(row, f"videos/{key}"), video_key=key)
    return FilmSpan(safe_path(root, path), start_s, end_s)


def _place(row: Mapping[str, Any], prefix: str) -> dict[str, str | int]:
    return {name: row[f"{prefix}/{name}"] for name in ("chunk_index", "file_index")}
