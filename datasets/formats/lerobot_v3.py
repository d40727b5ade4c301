"""Write a LeRobotDataset v3.0: many episodes share a file, and meta/episodes says where each of them is.

The folder is a dataset once it has meta/info.json; `write_info` writes it as info.json.new, for a check beforehand.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datasets.films.span import FilmSpan
from datasets.formats.lerobot_features import INDEX_FEATURES, arrow_schema, info_features
from datasets.formats.lerobot_info import DATA_FILE_MB, FILES_PER_CHUNK, INFO_NEW, VIDEO_FILE_MB, splits, video_info
from datasets.formats.lerobot_labels import LABEL_TYPES, labels_of
from datasets.formats.lerobot_rows import (
    Rows,
    TaskIndexes,
    check_rows,
    episode_statistics,
    episode_table,
    index_columns,
    task_of,
)
from datasets.formats.lerobot_tasks import write_tasks
from datasets.formats.parquet_files import ParquetFiles
from datasets.options import Options
from datasets.statistics import KEYS, Statistics, Totals, to_lists
from datasets.types import Episode, Layout, SessionEntry

FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{FILE}.parquet"
VIDEO_PATH = "videos/{video_key}/" + FILE + ".mp4"
EPISODES_PATH = f"meta/episodes/{FILE}.parquet"
BUFFERED_EPISODES = 100


class LeRobotV3Writer:
    """Writes episode after episode. Validation sessions come last, so that a split is a range of episodes."""

    def __init__(self, folder: Path, layout: Layout, fps: int, options: Options):
        self._folder, self._layout, self._fps = folder, layout, fps
        self._schema = arrow_schema(layout, "List")
        self._data = ParquetFiles(self._path(DATA_PATH), self._schema, DATA_FILE_MB * 2**20)
        self._episodes = _EpisodesFiles(self._path(EPISODES_PATH), layout)
        self._tasks, self._totals = TaskIndexes(), Totals()
        self._rows = 0
        self._is_validation: list[bool] = []  # of each episode

    def film_path(self, camera_key: str, file_number: int) -> Path:
        """Return the path of a camera's film; its folder is there then."""
        path = self._folder / VIDEO_PATH.format(video_key=camera_key, **_place(file_number))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(
        self, entry: SessionEntry, episode: Episode, values: Mapping[str, np.ndarray], films: Mapping[str, FilmSpan]
    ) -> None:
        """Append an episode: `values` [length] or [length, n] by feature, and where the films have its pictures."""
        check_rows(self._layout, entry, episode, values)
        rows = Rows(len(self._is_validation), self._rows, episode.length, self._tasks.index_of(entry), self._fps)
        indexes = index_columns(rows)
        found = episode_statistics(self._layout, values, {key: span.stats for key, span in films.items()}, indexes)
        data_file = self._data.place(rows.length)
        self._data.write(episode_table(self._layout, self._schema, values, indexes))
        self._episodes.add(
            _places(entry, rows, data_file) | self._film_places(films) | _flat(found) | labels_of(entry, episode)
        )
        self._totals.add(found)
        self._rows += episode.length
        self._is_validation.append(entry.is_validation)

    def finish(self) -> None:
        """Close the files, and write the tasks and the statistics of the whole dataset."""
        self._data.close()
        self._episodes.close()
        write_tasks(self._folder / "meta/tasks.parquet", list(self._tasks))
        (self._folder / "meta/stats.json").write_text(json.dumps(self._totals.to_json(), indent=4))

    def write_info(self) -> None:
        """Write meta/info.json.new. The films have to be closed."""
        videos = {
            camera.key: video_info(self.film_path(camera.key, 0), self._fps, "is_depth_map")
            for camera in self._layout.cameras
        }
        info = {
            "codebase_version": "v3.0",
            "fps": self._fps,
            "features": info_features(self._layout, videos),
            "total_episodes": len(self._is_validation),
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if videos else None,
            "robot_type": self._layout.robot_type,
            "splits": splits(self._is_validation),
        }
        (self._folder / INFO_NEW).write_text(json.dumps(info, indent=4))

    def _path(self, template: str):
        return lambda number: self._folder / template.format(**_place(number))

    def _film_places(self, films: Mapping[str, FilmSpan]) -> dict[str, Any]:
        return {
            f"videos/{camera.key}/{name}": value
            for camera in self._layout.cameras
            for name, value in _film_place(films[camera.key], self._fps).items()
        }


class _EpisodesFiles:
    """meta/episodes: a row for each episode, written a hundred at a time."""

    def __init__(self, path_of, layout: Layout):
        self._schema = _episodes_schema(layout)
        self._files = ParquetFiles(path_of, self._schema, DATA_FILE_MB * 2**20)
        self._buffer: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self._buffer.append(row)
        if len(self._buffer) == BUFFERED_EPISODES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._files.close()

    def _flush(self) -> None:
        if self._buffer:
            place = _named("meta/episodes", self._files.place(len(self._buffer)))
            rows = [row | place for row in self._buffer]
            self._files.write(pa.Table.from_pylist(rows, self._schema))
            self._buffer.clear()


def _place(number: int) -> dict[str, int]:
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def _named(prefix: str, number: int) -> dict[str, int]:
    return {f"{prefix}/{name}": value for name, value in _place(number).items()}


def _places(entry: SessionEntry, rows: Rows, data_file: int) -> dict[str, Any]:
    return {
        "episode_index": rows.episode_index,
        "tasks": [task_of(entry)],
        "length": rows.length,
        **_named("data", data_file),
        "dataset_from_index": rows.first_index,
        "dataset_to_index": rows.first_index + rows.length,
    }


def _film_place(span: FilmSpan, fps: int) -> dict[str, Any]:
    """Return the file and the times, computed from integers: sums of durations would drift."""
    return _place(span.file_number) | {
        "from_timestamp": span.first_row / fps,
        "to_timestamp": (span.first_row + span.length) / fps,
    }


def _flat(found: Mapping[str, Statistics]) -> dict[str, list]:
    return {
        f"stats/{feature}/{key}": value
        for feature, numbers in found.items()
        for key, value in to_lists(numbers).items()
    }


def _episodes_schema(layout: Layout) -> pa.Schema:
    """Return the columns in LeRobot's order, and then those of our labels."""
    whole, numbers = pa.int64(), pa.list_(pa.float64())
    fields = {"episode_index": whole, "tasks": pa.list_(pa.string()), "length": whole}
    fields |= _two("data") | {"dataset_from_index": whole, "dataset_to_index": whole}
    for camera in layout.cameras:
        seconds = {f"videos/{camera.key}/{name}_timestamp": pa.float64() for name in ("from", "to")}
        fields |= _two(f"videos/{camera.key}") | seconds
    for feature in [each.key for each in layout.features if each.dtype != "string"]:
        fields |= _statistics_fields(feature, numbers)
    for camera in layout.cameras:
        fields |= _statistics_fields(camera.key, pa.list_(pa.list_(numbers)))
    for feature in INDEX_FEATURES:
        fields |= _statistics_fields(feature, numbers)
    return pa.schema(fields | _two("meta/episodes") | LABEL_TYPES)


def _two(prefix: str) -> dict[str, pa.DataType]:
    return {f"{prefix}/chunk_index": pa.int64(), f"{prefix}/file_index": pa.int64()}


def _statistics_fields(feature: str, numbers: pa.DataType) -> dict[str, pa.DataType]:
    return {f"stats/{feature}/{key}": pa.list_(pa.int64()) if key == "count" else numbers for key in KEYS}
