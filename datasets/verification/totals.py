"""Recompute what a dataset says of itself: info.json, its tasks, its files, and the columns of its episodes."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from datasets.options import Options
from datasets.types import SessionEntry
from datasets.verification.dataset import FILE, INFO, Dataset
from datasets.verification.findings import Findings
from datasets.verification.layout import INDEXES, Expected
from datasets.verification.rules import Rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHUNK = 1000  # files or episodes
QUALITY = ("idle_share", "jerk", "fps_jitter", "missing_frames")
V3_PATHS = {
    "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}
V21_PATHS = {
    "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
}
EXPORT_FILES = ("export/manifest.json", "export/report.json", "export/report.html")


class Totals:
    """What the episodes add up to. `tasks` maps each task to its index, in the order of their first episodes."""

    def __init__(self) -> None:
        self.episodes = self.training = self.rows = 0
        self.tasks: dict[str, int] = {}

    def add(self, entry: SessionEntry, rows: int) -> int:
        """Count an episode; return the index of its task."""
        self.episodes += 1
        self.training += not entry.is_validation
        self.rows += rows
        return self.tasks.setdefault(task_of(entry), len(self.tasks))


def task_of(entry: SessionEntry) -> str:
    return entry.task or "unlabelled"


def check_episode(dataset: Dataset, totals: Totals, entry: SessionEntry, rows: Rows, findings: Findings) -> None:
    """Compare the row of meta/episodes of the episode that `totals` counts next, and its labels, with the manifest."""
    number, length = totals.episodes, len(rows.times_us)
    found = dataset.episodes[number]
    expected = _labels(entry, rows) | {"episode_index": number, "tasks": [task_of(entry)], "length": length}
    if dataset.is_v3:
        expected |= {"dataset_from_index": totals.rows, "dataset_to_index": totals.rows + length}
        expected[FILE] = dataset.episodes_name(number)
    where = f"meta/episodes: episode {number} (session {entry.session_id})"
    for column, value in expected.items():
        if column not in found:
            findings.add(f"{where} has no {column}")
        else:
            findings.compare(f"{where}: {column}", found[column], value)


def _labels(entry: SessionEntry, rows: Rows) -> dict[str, Any]:
    begin = EPOCH + timedelta(microseconds=rows.begin_us)
    labels = {
        "session_id": entry.session_id,
        "session_key": entry.key,
        "robot": entry.robot,
        "task": task_of(entry),
        "success": entry.success,
        "tags": list(entry.tags),
        "operator": entry.operator,
        "start_time": begin.isoformat(timespec="microseconds"),
    }
    quality = {f"quality.{name}": entry.quality.get(name) for name in QUALITY}
    return labels | {name: None if value is None else float(value) for name, value in quality.items()}


def check_info(
    dataset: Dataset,
    totals: Totals,
    features: Sequence[Expected],
    cameras: Iterable[str],
    entry: SessionEntry,
    fps: int,
    findings: Findings,
) -> None:
    """Compare info.json; `entry` is a session, as all have the same robot_type."""
    videos = list(cameras)
    expected = {
        "codebase_version": "v3.0" if dataset.is_v3 else "v2.1",
        "robot_type": entry.robot_type,
        "fps": fps,
        "total_episodes": totals.episodes,
        "total_frames": totals.rows,
        "total_tasks": len(totals.tasks),
        "chunks_size": CHUNK,
        "splits": _splits(totals),
        **(V3_PATHS if dataset.is_v3 else V21_PATHS),
    }
    if not videos:
        expected["video_path"] = None
    if not dataset.is_v3:
        expected["total_videos"] = totals.episodes * len(videos)
        expected["total_chunks"] = -(-totals.episodes // CHUNK)
    for name, value in expected.items():
        findings.compare(f"{INFO}: {name}", dataset.info.get(name), value)
    _check_features(dataset, features, videos, fps, findings)


def _splits(totals: Totals) -> dict[str, str]:
    splits = {"train": f"0:{totals.training}"}
    if totals.training < totals.episodes:
        splits["validation"] = f"{totals.training}:{totals.episodes}"
    return splits


def _check_features(
    dataset: Dataset, features: Sequence[Expected], cameras: list[str], fps: int, findings: Findings
) -> None:
    expected = {each.key: (each.dtype, [len(each.names or "1")], each.names) for each in features}
    expected |= {key: (dtype, [1], None) for key, dtype in INDEXES.items()}
    findings.compare(f"{INFO}: the list of features", sorted(dataset.features), sorted([*expected, *cameras]))
    for key, values in expected.items():
        feature = dataset.features.get(key, {})
        for name, value in zip(("dtype", "shape", "names"), values, strict=True):
            findings.compare(f"{INFO}: feature {key}: {name}", feature.get(name), value)
    for key in cameras:
        feature = dataset.features.get(key, {})
        info, (height, width, *_) = feature.get("info") or {}, feature.get("shape") or (0, 0)
        expected = {"video.fps": fps, "video.pix_fmt": "yuv420p", "has_audio": False, "video.channels": 3}
        for name, value in (expected | {"video.height": height, "video.width": width}).items():
            findings.compare(f"{INFO}: feature {key}: {name}", info.get(name), value)


def check_tasks(dataset: Dataset, totals: Totals, findings: Findings) -> None:
    expected = {number: task for task, number in totals.tasks.items()}
    findings.compare("meta/tasks: the tasks", dataset.tasks, expected)


def check_modality(dataset: Dataset, features: Sequence[Expected], findings: Findings) -> None:
    """Check that the parts of the state and of the action in meta/modality.json are all joints, each once."""
    modality, lengths = dataset.modality, {each.key: len(each.columns) for each in features if each.names}
    for part, key in (("state", "observation.state"), ("action", "action")):
        ranges = sorted((each["start"], each["end"]) for each in modality.get(part, {}).values())
        joints = [number for start, end in ranges for number in range(start, end)]
        findings.compare(f"meta/modality.json: joints of {part}", joints, list(range(lengths.get(key, 0))))
    videos = sorted(each["original_key"] for each in modality.get("video", {}).values())
    findings.compare("meta/modality.json: video", videos, sorted(dataset.cameras))


def check_files(dataset: Dataset, films: Iterable[str], options: Options, findings: Findings) -> int:
    """Compare the names of all files of the folder with those that the dataset has; return their number."""
    numbers = range(len(dataset.episodes))
    expected = {INFO, "meta/stats.json", *EXPORT_FILES, *films, *(dataset.data_name(number) for number in numbers)}
    if dataset.is_v3:
        expected |= {"meta/tasks.parquet", *(dataset.episodes_name(number) for number in numbers)}
    else:
        expected |= {"meta/tasks.jsonl", "meta/episodes.jsonl", "meta/episodes_stats.jsonl"}
    if options.modality:
        expected.add("meta/modality.json")
    found = set(dataset.names())
    for name in sorted(expected - found - set(EXPORT_FILES)):
        findings.add(f"{name} is missing")
    for name in sorted(found - expected):
        findings.add(f"{name} is no file of this dataset")
    return len(found)
