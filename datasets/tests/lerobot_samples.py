"""The data sets that LeRobot itself has written, and datasets of the same rows that our writers make."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from datasets.films.span import FilmSpan
from datasets.formats.lerobot_v3 import LeRobotV3Writer
from datasets.formats.lerobot_v21 import LeRobotV21Writer
from datasets.options import Options
from datasets.statistics import KEYS
from datasets.types import CameraFeature, Episode, Feature, Layout, SessionEntry

SAMPLES = Path(__file__).parents[2] / "client/tests/data"
V3, V21 = SAMPLES / "lerobot-v3.0-h264", SAMPLES / "lerobot-v2.1-av1"
FILM = V3 / "videos/observation.images.front/chunk-000/file-000.mp4"
NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = tuple(f"{name}.pos" for name in NAMES)
STATE = Feature("observation.state", "float32", JOINTS, tuple(f"observation.{joint}" for joint in JOINTS))
ACTION = Feature("action", "float32", JOINTS, tuple(f"action.{joint}" for joint in JOINTS))
CAMERAS = tuple(CameraFeature(f"observation.images.{name}", 120, 160) for name in ("front", "wrist"))
LAYOUT = Layout((STATE, ACTION), CAMERAS, "so_follower", None)
BEGIN_US = 1_767_600_000_000_000
ENTRY = SessionEntry(
    session_id=17,
    key="key-17",
    robot="arm",
    robot_type="so_follower",
    fps=30,
    frame_count=100,
    start_time="2026-01-05T08:00:00.000000+00:00",
    end_time="2026-01-05T08:01:00.000000+00:00",
    task="Fold the towel",
    success=True,
    tags=("good", "night"),
    operator="Ann",
    note=None,
    quality={"idle_share": 0.25, "jerk": 3},
    clock_steps=(),
    marks=(),
    films=(),
)


def episode_of(length: int, number: int = 0) -> Episode:
    return Episode(17, number, BEGIN_US + 10**6 * number, 30, length, {}, {})


def lerobot_episodes() -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Yield the row of meta/episodes and the values of each episode that LeRobot has written."""
    rows = pq.read_table(V3 / "data/chunk-000/file-000.parquet")
    for episode in pq.read_table(V3 / "meta/episodes/chunk-000/file-000.parquet").to_pylist():
        part = rows.slice(episode["dataset_from_index"], episode["length"])
        values = {key: np.array(part[key].to_pylist(), np.float32) for key in ("observation.state", "action")}
        yield episode, values


def spans_of(episode: dict[str, Any]) -> dict[str, FilmSpan]:
    """Return where LeRobot has put the pictures of an episode, with its statistics of them."""
    return {
        camera.key: FilmSpan(
            file_number=0,
            first_row=episode["dataset_from_index"],
            length=episode["length"],
            is_copied=True,
            copied_rows=episode["length"],
            stats={key: np.array(episode[f"stats/{camera.key}/{key}"]) for key in KEYS},
            warnings=(),
        )
        for camera in CAMERAS
    }


def write_again(folder: Path, is_v3: bool = True) -> Path:
    """Write LeRobot's episodes with our writer."""
    writer = _writer(folder, is_v3)
    for number, (episode, values) in enumerate(lerobot_episodes()):
        entry = ENTRY.__class__(**vars(ENTRY) | {"task": episode["tasks"][0]})
        writer.add(entry, episode_of(episode["length"], number), values, spans_of(episode))
        for camera in CAMERAS:
            shutil.copy(FILM, writer.film_path(camera.key, 0 if is_v3 else number))
    writer.finish()
    writer.write_info()
    return folder


def write(folder: Path, features: dict[Feature, np.ndarray], entries=(ENTRY,), is_v3=True, **options: Any) -> Path:
    """Write one episode of these values for each entry, without cameras."""
    writer = _writer(folder, is_v3, Layout(tuple(features), (), "so_follower", None), **options)
    for number, entry in enumerate(entries):
        values = {feature.key: value for feature, value in features.items()}
        writer.add(entry, episode_of(len(next(iter(values.values()))), number), values, {})
    writer.finish()
    writer.write_info()
    return folder


def _writer(folder: Path, is_v3: bool, layout: Layout = LAYOUT, **options: Any):
    given = Options(format="lerobot-v3.0" if is_v3 else "lerobot-v2.1", **options)
    return (LeRobotV3Writer if is_v3 else LeRobotV21Writer)(folder, layout, 30, given)


def info_of(folder: Path) -> dict[str, Any]:
    path = folder / "meta/info.json.new"
    return json.loads((path if path.exists() else folder / "meta/info.json").read_text())


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
