"""Datasets that real lerobot has written, pushed to a real server: every value, time and picture, also after faults."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from teleop_client import commands

from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from tests.services import ROOT, Server, wait_until
from videos.models import VideoChunk

DATA = Path(ROOT, "client", "tests", "data")
V3, V21 = DATA / "lerobot-v3.0-h264", DATA / "lerobot-v2.1-av1"
LENGTHS, TASKS = (90, 60, 75), ("Fold the towel", "Put the cube into the box", "Fold the towel")
CAMERAS, FPS = ("front", "wrist"), 30
RECORDED_AT = "2026-05-17T12:00:00+00:00"
SLOW_KBIT_S = 300  # an episode takes a second
JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]

pytestmark = pytest.mark.once  # the client is the same on every database


@pytest.fixture
def key(transactional_db, monkeypatch) -> str:
    key = Robot.objects.create(pk="arm").issue_key()
    monkeypatch.setenv("TELEOP_KEY", key)
    return key


def arguments(server: Server, dataset: Path, *options: object) -> list[str]:
    return ["push", str(dataset), "--url", server.url, "--robot", "arm", *map(str, options)]


def push(server: Server, dataset: Path, *options: object) -> int:
    return commands.main(arguments(server, dataset, *options))


def rows(dataset: Path) -> dict[str, list]:
    """Return the columns of all episodes."""
    found: dict[str, list] = {}
    for path in sorted(dataset.glob("data/*/*.parquet")):
        for name, values in pq.read_table(path).to_pydict().items():
            found.setdefault(name, []).extend(values)
    return found


def state(episode: int, row: int) -> list[float]:
    """Return the formula of the datasets' README."""
    t = row / FPS
    return [30 * np.sin(t), -20 * np.cos(t), 10 * t, 5 * episode, -t, 50 + 40 * np.sin(2 * t)]


def number_of(picture: av.VideoFrame) -> int:
    """Return the number that a picture shows in twelve blocks."""
    row = picture.to_ndarray(format="gray8")[32]
    return sum(int(row[13 + 12 * block] > 140) << (11 - block) for block in range(12))


def pictures(session: TeleopSession, camera: str) -> tuple[list[int], list[float]]:
    """Return the number of each picture, and its unix time."""
    numbers, times_s = [], []
    for chunk in VideoChunk.objects.filter(session=session, camera_key=camera).order_by("start_timestamp"):
        with av.open(chunk.file_path.path) as film:
            for frame in film.decode(video=0):
                numbers.append(number_of(frame))
                media_s = float(frame.pts * frame.time_base) - chunk.first_picture_s
                times_s.append(chunk.start_timestamp + chunk.stretch * media_s)
    return numbers, times_s


def check(dataset: Path, begin_s: float) -> None:
    """Check every value, time, label and picture of all three episodes; row 0 was recorded at `begin_s`."""
    columns, sessions = rows(dataset), list(TeleopSession.objects.order_by("start_time"))
    assert len(sessions) == len(LENGTHS)
    for episode, (session, length) in enumerate(zip(sessions, LENGTHS, strict=True)):
        first = sum(LENGTHS[:episode])
        frames = list(TeleopFrame.objects.filter(session=session).order_by("frame_index"))
        assert [frame.frame_index for frame in frames] == list(range(length))
        times_s = [begin_s + (first + row) / FPS for row in range(length)]
        assert [frame.timestamp.timestamp() for frame in frames] == pytest.approx(times_s, abs=2e-6, rel=0)
        for row, frame in enumerate(frames):
            assert list(frame.data) == ["observation", "action"]
            for part, name, offset in (("observation", "observation.state", 0), ("action", "action", 0.5)):
                assert list(frame.data[part]) == [f"{joint}.pos" for joint in JOINTS]
                values = np.float32(list(frame.data[part].values()))
                assert np.array_equal(values, np.float32(columns[name][first + row]))
                assert np.allclose(values, np.array(state(episode, row)) + offset, atol=1e-4)
        assert (session.frame_count, session.meta_info["task"]) == (length, TASKS[episode])
        assert session.end_time
        for camera in CAMERAS:
            numbers, shown_s = pictures(session, camera)
            assert numbers == list(range(first, first + length))
            assert shown_s == pytest.approx(times_s, abs=3e-6, rel=0)


def stored() -> list:
    """Return what a second push must not change."""
    return [
        *TeleopSession.objects.order_by("pk").values_list("pk", "key", "frame_count", "start_time"),
        *TeleopFrame.objects.order_by("session", "frame_index").values_list("session", "frame_index", "timestamp"),
        *VideoChunk.objects.order_by("pk").values_list("pk", "sha256", "start_timestamp", "end_timestamp"),
    ]


@pytest.mark.parametrize("dataset", [V3, pytest.param(V21, marks=pytest.mark.long)])
def test_it_pushes_every_value_and_picture_once(server: Server, key: str, dataset: Path, capsys):
    assert push(server, dataset, "--recorded-at", RECORDED_AT) == 0
    check(dataset, datetime.fromisoformat(RECORDED_AT).timestamp())
    assert "Frames: 225 sent, 0 known, 0 refused. Films: 6 sent, 0 known" in capsys.readouterr().err
    session = TeleopSession.objects.earliest("start_time")
    assert session.meta_info["robot_type"] == "so_follower"
    assert session.meta_info["source"] == {"dataset": dataset.name, "episode": 0, "version": dataset.name[8:12]}
    assert session.meta_info["joint_names"]["action"] == [f"{joint}.pos" for joint in JOINTS]
    assert "time_is_guessed" not in session.meta_info
    before = stored()
    assert push(server, dataset) == 0  # without the time: the server knows it
    assert stored() == before
    assert not any("time_is_guessed" in session.meta_info for session in TeleopSession.objects.all())
    assert "Frames: 0 sent, 225 known, 0 refused. Films: 0 sent, 6 known" in capsys.readouterr().err


@pytest.mark.long
def test_it_pushes_films_with_few_key_frames(server: Server, key: str, tmp_path: Path):
    dataset = shutil.copytree(V3, tmp_path / "towels")
    film = dataset / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    with av.open(str(V3 / film.relative_to(dataset))) as source, av.open(str(film), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"g": "91", "bf": "2", "sc_threshold": "0"})
        stream.width, stream.height = 160, 120
        for picture in source.decode(video=0):
            picture.pict_type = av.video.frame.PictureType.NONE
            output.mux(stream.encode(picture))
        output.mux(stream.encode())
    assert push(server, dataset, "--recorded-at", RECORDED_AT) == 0
    check(dataset, datetime.fromisoformat(RECORDED_AT).timestamp())
    chunks = VideoChunk.objects.filter(camera_key="wrist").order_by("start_timestamp")
    # Key frames are at 0, 91 and 182; the episodes begin at 0, 90 and 150.
    lengths = [round(FPS * (chunk.end_timestamp - chunk.start_timestamp)) for chunk in chunks]
    assert lengths == [90, 1, 59, 32, 43]


def test_a_killed_push_continues_in_its_own_time(server: Server, key: str, tmp_path: Path):
    dataset = shutil.copytree(V3, tmp_path / "towels")
    info = dataset / "meta" / "info.json"
    os.utime(info, (1779019200, 1779019200))
    program = [sys.executable, "-m", "teleop_client.commands"]
    with subprocess.Popen([*program, *arguments(server, dataset, "--upload-kbit-s", SLOW_KBIT_S)]) as process:
        wait_until(lambda: TeleopFrame.objects.count() > LENGTHS[0])
        process.send_signal(signal.SIGKILL)
    assert LENGTHS[0] < TeleopFrame.objects.count() < sum(LENGTHS)
    os.utime(info, (1779019200, 1779019200 + 3600))  # a copy has other times; the first session keeps its own
    assert push(server, dataset, "--episodes", "0:2") == 0
    os.utime(info, (1779019200, 1779019200))
    assert push(server, dataset) == 0
    check(dataset, 1779019200 - sum(LENGTHS) / FPS)
    assert all(session.meta_info["time_is_guessed"] for session in TeleopSession.objects.all())


@pytest.mark.long
def test_a_push_survives_a_restart_of_the_server(server: Server, key: str):
    codes: list[int] = []
    options = ("--recorded-at", RECORDED_AT, "--upload-kbit-s", 2 * SLOW_KBIT_S)
    thread = threading.Thread(target=lambda: codes.append(push(server, V3, *options)))
    thread.start()
    try:
        wait_until(VideoChunk.objects.count)
        server.restart()
    finally:
        thread.join(60)
    assert codes == [0]
    check(V3, datetime.fromisoformat(RECORDED_AT).timestamp())


@pytest.mark.long
def test_it_leaves_out_a_deleted_session(server: Server, key: str, capsys):
    assert push(server, V3, "--recorded-at", RECORDED_AT) == 0
    TeleopSession.objects.latest("start_time").delete()
    assert push(server, V3, "--recorded-at", RECORDED_AT) == 0
    assert TeleopSession.objects.count() == 2
    assert "left out: episode 2: session lerobot-" in capsys.readouterr().err
    assert push(server, V3, "--recorded-at", RECORDED_AT, "--deleted") == 0
    check(V3, datetime.fromisoformat(RECORDED_AT).timestamp())


def test_it_leaves_out_a_broken_episode_by_option(server: Server, key: str, tmp_path: Path):
    dataset = shutil.copytree(V21, tmp_path / "towels")
    os.truncate(dataset / "videos/chunk-000/observation.images.wrist/episode_000001.mp4", 1000)
    assert push(server, dataset) == 1
    assert not TeleopSession.objects.exists()
    assert push(server, dataset, "--skip-broken") == 0
    sources = [session.meta_info["source"]["episode"] for session in TeleopSession.objects.all()]
    assert sorted(sources) == [0, 2]


def test_it_says_that_the_key_is_wrong(server: Server, key: str, monkeypatch, capsys):
    monkeypatch.setenv("TELEOP_KEY", "wrong")
    assert push(server, V3) == 1
    assert "HTTP 403 at the handshake: check the key" in capsys.readouterr().err
    assert not TeleopSession.objects.exists()
