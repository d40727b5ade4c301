"""Write a LeRobotDataset v2.1, which openpi and GR00T read: each episode has files of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from datasets.films.span import FilmSpan
from datasets.formats.lerobot_features import arrow_schema, info_features
from datasets.formats.lerobot_info import FILES_PER_CHUNK, INFO_NEW, splits, video_info
from datasets.formats.lerobot_labels import labels_of
from datasets.formats.lerobot_rows import (
    Rows,
    TaskIndexes,
    check_rows,
    episode_statistics,
    episode_table,
    index_columns,
    task_of,
)
from datasets.formats.modality import modality
from datasets.options import Options
from datasets.statistics import BASIC, Statistics, Totals, to_lists
from datasets.types import Episode, Layout, SessionEntry

DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


class LeRobotV21Writer:
    """Writes episode after episode. A film has the number of its episode."""

    def __init__(self, folder: Path, layout: Layout, fps: int, options: Options):
        self._folder, self._layout, self._fps, self._options = folder, layout, fps, options
        # Its readers have a version of `datasets` that does not know "List".
        self._schema = arrow_schema(layout, "Sequence")
        self._tasks, self._totals = TaskIndexes(), Totals()
        self._rows = 0
        self._is_validation: list[bool] = []  # of each episode
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        self._episodes = (folder / "meta/episodes.jsonl").open("w")
        self._statistics = (folder / "meta/episodes_stats.jsonl").open("w")

    def film_path(self, camera_key: str, file_number: int) -> Path:
        """Return the path of the film of an episode; its folder is there then."""
        return self._file(VIDEO_PATH, file_number, video_key=camera_key)

    def add(
        self, entry: SessionEntry, episode: Episode, values: Mapping[str, np.ndarray], films: Mapping[str, FilmSpan]
    ) -> None:
        """Append an episode: `values` [length] or [length, n] by feature, and where the films have its pictures."""
        check_rows(self._layout, entry, episode, values)
        number = len(self._is_validation)
        rows = Rows(number, self._rows, episode.length, self._tasks.index_of(entry), self._fps)
        indexes = index_columns(rows)
        found = episode_statistics(self._layout, values, {key: span.stats for key, span in films.items()}, indexes)
        table = episode_table(self._layout, self._schema, values, indexes)
        pq.write_table(table, self._file(DATA_PATH, number), row_group_size=rows.length, compression="snappy")
        own = {"episode_index": number, "tasks": [task_of(entry)], "length": rows.length}
        _append(self._episodes, own | labels_of(entry, episode))
        found = _without_quantiles(found)
        self._totals.add(found)
        _append(self._statistics, {"episode_index": number, "stats": {key: to_lists(found[key]) for key in found}})
        self._rows += rows.length
        self._is_validation.append(entry.is_validation)

    def finish(self) -> None:
        """Close the files, and write tasks, statistics of all rows and, on request, modality.json for GR00T."""
        self._episodes.close()
        self._statistics.close()
        with (self._folder / "meta/tasks.jsonl").open("w") as file:
            for number, task in enumerate(self._tasks):
                _append(file, {"task_index": number, "task": task})
        _write_json(self._folder / "meta/stats.json", self._totals.to_json())
        if self._options.modality:
            _write_json(self._folder / "meta/modality.json", modality(self._layout))

    def write_info(self) -> None:
        """Write meta/info.json.new. The films have to be closed."""
        episodes = len(self._is_validation)
        videos = {
            camera.key: video_info(self.film_path(camera.key, 0), self._fps, "video.is_depth_map")
            for camera in self._layout.cameras
        }
        info = {
            "codebase_version": "v2.1",
            "robot_type": self._layout.robot_type,
            "total_episodes": episodes,
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "total_videos": episodes * len(videos),
            "total_chunks": -(-episodes // FILES_PER_CHUNK),
            "chunks_size": FILES_PER_CHUNK,
            "fps": self._fps,
            "splits": splits(self._is_validation),
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if videos else None,
            "features": info_features(self._layout, videos),
        }
        _write_json(self._folder / INFO_NEW, info)

    def _file(self, template: str, episode: int, **names: str) -> Path:
        chunk = episode // FILES_PER_CHUNK
        path = self._folder / template.format(episode_chunk=chunk, episode_index=episode, **names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _without_quantiles(found: Mapping[str, Statistics]) -> dict[str, Statistics]:
    """Return the statistics as LeRobot 0.3 writes them. GR00T computes its quantiles itself, if there are none."""
    return {feature: {key: numbers[key] for key in BASIC} for feature, numbers in found.items()}


def _append(file: Any, row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=4, ensure_ascii=False))
