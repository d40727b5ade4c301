"""Round trips: a pushed export equals the sessions that it was made of, and an exported push equals the dataset."""

import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.core.management import call_command
from teleop_client import commands

from datasets.tests.verified_exports import (
    BEGIN,
    FIT,
    PICTURES,
    RATE,
    blocks,
    frame,
    store_film,
    store_session,
    write_film,
)
from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from tests.services import ROOT, Server
from videos.models import VideoChunk

V3 = Path(ROOT, "client", "tests", "data", "lerobot-v3.0-h264")
CAMERAS = ("front", "wrist")
LABELS = ("task", "success", "tags", "operator")

pytestmark = pytest.mark.once


def push(server: Server, dataset: Path, robot_id: str, monkeypatch) -> list[TeleopSession]:
    """Push a dataset as another robot; return its sessions in the order of the episodes."""
    robot = Robot.objects.create(pk=robot_id, robot_type="so_follower")
    monkeypatch.setenv("TELEOP_KEY", robot.issue_key())
    assert commands.main(["push", str(dataset), "--url", server.url, "--robot", robot_id]) == 0
    return list(TeleopSession.objects.filter(robot=robot).order_by("start_time"))


def decoded(path: Path | str) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [each.to_ndarray(format="yuv420p") for each in film.decode(video=0)]


def pictures(session: TeleopSession, camera: str) -> list[np.ndarray]:
    chunks = VideoChunk.objects.filter(session=session, camera_key=camera).order_by("start_timestamp")
    return [picture for chunk in chunks for picture in decoded(chunk.file_path.path)]


def moments(session: TeleopSession) -> list[Any]:
    return list(TeleopFrame.objects.filter(session=session).order_by("frame_index").values_list("timestamp", flat=True))


def values(session: TeleopSession) -> list[dict[str, dict[str, Any]]]:
    """Return the data of all frames, numbers as float32."""
    found = TeleopFrame.objects.filter(session=session).order_by("frame_index").values_list("data", flat=True)
    return [{part: {name: as_float32(value) for name, value in data[part].items()} for part in data} for data in found]


def as_float32(value: Any) -> Any:
    return float(np.float32(value)) if isinstance(value, float) else value


def test_a_pushed_export_equals_its_sessions(server: Server, transactional_db, tmp_path: Path, monkeypatch):
    sessions = []
    for number, task in enumerate(("Fold the towel", "Put the cube")):
        sessions.append(store_session(number, task, [frame(index) for index in range(PICTURES)]))
        for place, camera in enumerate(CAMERAS):
            film = write_film(tmp_path / f"{number}-{camera}.mp4", blocks(10 * number + place), **FIT)
            store_film(sessions[-1], film, Path(settings.MEDIA_ROOT), camera)
    call_command("export", tmp_path / "towels", "--video-codec", "h264")
    pushed = push(server, tmp_path / "towels", "copy", monkeypatch)
    for session, again in zip(sessions, pushed, strict=True):
        assert values(again) == values(session)
        assert moments(again) == moments(session)
        assert (again.fps, again.frame_count) == (session.fps, session.frame_count)
        assert [again.meta_info[name] for name in LABELS] == [session.meta_info[name] for name in LABELS]
        for camera in CAMERAS:
            assert np.array_equal(pictures(again, camera), pictures(session, camera))


def test_a_pushed_export_equals_its_report_where_a_session_has_gaps(
    server: Server, transactional_db, tmp_path: Path, monkeypatch
):
    session = store_session(0, "Fold the towel", [frame(index) for index in range(60)])
    jitter = random.Random(1)
    stored = list(TeleopFrame.objects.filter(session=session).order_by("frame_index"))
    for index, each in enumerate(stored):  # jitter of more than half a frame, and a gap of a second
        each.timestamp = BEGIN + timedelta(seconds=index / RATE + (index >= 40) + jitter.uniform(0, 0.02))
    TeleopFrame.objects.bulk_update(stored, ["timestamp"])
    call_command("export", tmp_path / "towels")
    report = json.loads((tmp_path / "towels" / "export" / "report.json").read_text())
    pushed = push(server, tmp_path / "towels", "copy", monkeypatch)
    assert len(pushed) == report["episodes"] == 2
    names = ["shoulder_pan.pos", "gripper.pos"]
    for again in pushed:
        for row, (moment, data) in enumerate(zip(moments(again), values(again), strict=True)):
            assert moment - again.start_time == timedelta(microseconds=round(row * 1e6 / RATE))
            half = timedelta(microseconds=500_000 // RATE)
            held = [each for each in stored if each.timestamp <= moment + half][-1]
            expected = [as_float32(held.data["observation"][name]) for name in names]
            assert [data["observation"][name] for name in names] == expected


class Items:
    """What a dataset v3.0 has, read without the program that pushes it: rows, tasks, and pictures by episode."""

    def __init__(self, root: Path) -> None:
        self.info = json.loads((root / "meta" / "info.json").read_text())
        self.rows = pq.read_table(root / "data").to_pydict()
        self.episodes = pq.read_table(root / "meta" / "episodes").to_pylist()
        tasks = pq.read_table(root / "meta" / "tasks.parquet").to_pylist()
        names = {each["task_index"]: each.get("task", each.get("__index_level_0__")) for each in tasks}
        self.rows["task"] = [names[index] for index in self.rows.pop("task_index")]
        self._root = root

    def features(self) -> dict[str, Any]:
        return {key: (each["dtype"], list(each["shape"]), each["names"]) for key, each in self.info["features"].items()}

    def numbers(self, camera: str) -> list[list[int]]:
        """Return the numbers that the pictures of each episode show."""
        key, found = f"observation.images.{camera}", []
        for episode in self.episodes:
            place = [episode[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")]
            path = self._root / f"videos/{key}/chunk-{place[0]:03d}/file-{place[1]:03d}.mp4"
            first = round(episode[f"videos/{key}/from_timestamp"] * self.info["fps"])
            shown = [number_of(picture) for picture in decoded(path)[first : first + episode["length"]]]
            found.append(shown)
        return found


def number_of(picture: np.ndarray) -> int:
    """Return the number that a picture shows in twelve blocks of its luma."""
    return sum(int(picture[32][13 + 12 * block] > 140) << (11 - block) for block in range(12))


def test_an_exported_push_equals_the_dataset(server: Server, transactional_db, tmp_path: Path, monkeypatch):
    pushed = push(server, V3, "arm", monkeypatch)
    call_command("export", tmp_path / "again", "--sessions", ",".join(str(each.pk) for each in pushed))
    before, after = Items(V3), Items(tmp_path / "again")
    assert after.features() == before.features()
    assert after.rows == before.rows
    names = ("fps", "robot_type", "codebase_version", "total_episodes", "total_frames", "total_tasks")
    assert [after.info[name] for name in names] == [before.info[name] for name in names]
    for name in ("episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index"):
        assert [each[name] for each in after.episodes] == [each[name] for each in before.episodes]
    for camera in CAMERAS:
        assert after.numbers(camera) == before.numbers(camera)
