"""Find the episodes of a LeRobotDataset v2.1: each has a data file and films of its own."""

from collections.abc import Iterator
from pathlib import Path

from .dataset_files import fill, read_json_lines, safe_path
from .dataset_info import Info
from .dataset_types import DatasetUnusable, Episode, FilmSpan
from .labels import labels_of, task_of, tasks_of

EPISODES, TASKS = "meta/episodes.jsonl", "meta/tasks.jsonl"


def episodes(root: Path, info: Info) -> Iterator[Episode]:
    """Yield the episodes in the order of the file."""
    first_row = 0
    for number, row in enumerate(read_json_lines(root, EPISODES)):
        try:
            index, length, tasks = row["episode_index"], row["length"], tasks_of(row)
        except (KeyError, TypeError) as error:
            raise DatasetUnusable(f"{EPISODES}: the episode in line {number + 1} is incomplete: {error}") from None
        if type(index) is not int or type(length) is not int or index < 0 or length < 0:
            raise DatasetUnusable(
                f"{EPISODES}: line {number + 1} has the episode_index {index!r} and the length {length!r}"
            )
        places: dict[str, str | int] = {"episode_chunk": index // info.chunks_size, "episode_index": index}
        films = {
            camera: FilmSpan(
                safe_path(root, fill("video_path", info.video_path, **places, video_key=key)), 0.0, length / info.fps
            )
            for camera, key in info.cameras.items()
        }
        data_path = safe_path(root, fill("data_path", info.data_path, **places))
        yield Episode(index, length, first_row, tasks, films, labels_of(row), data_path)
        first_row += length


def tasks(root: Path) -> Iterator[tuple[int, str]]:
    """Yield each task_index with its text."""
    for row in read_json_lines(root, TASKS):
        yield task_of(row, row.get("task"), TASKS)
