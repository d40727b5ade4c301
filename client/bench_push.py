"""Measure `teleop push`: `python client/bench_push.py` makes a dataset of an hour, pushes it twice, and checks it.

It prints Markdown tables. The server is a real one on this machine; `--help` shows the options.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
FPS, WIDTH, HEIGHT = 30, 640, 480
EPISODE_ROWS = 60 * FPS  # a minute, whose film is repeated
CAMERAS = ("front", "wrist")
JOINTS = [
    f"{joint}.pos" for joint in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
]
FILM = {"preset": "ultrafast", "crf": "30", "g": "2", "bf": "0"}  # a key frame every second picture, as LeRobot has it
ROBOT_ID, BEGIN_S = "robot_A", 1779019200


def make_dataset(root: Path, episodes: int) -> list[str]:
    """Write a dataset v3.0; return the SHA-256 of the packets of a minute, for each camera."""
    for folder in ("data/chunk-000", "meta/episodes/chunk-000"):
        (root / folder).mkdir(parents=True)
    joints = {"dtype": "float32", "shape": [len(JOINTS)], "names": JOINTS}
    film = {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}
    index = {"dtype": "int64", "shape": [1], "names": None}
    features = {"observation.state": joints, "action": joints}
    features |= {f"observation.images.{camera}": film for camera in CAMERAS}
    features |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), index)
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    info = {
        "codebase_version": "v3.0",
        "robot_type": "so_follower",
        "fps": FPS,
        "features": features,
        "total_episodes": episodes,
        "total_frames": episodes * EPISODE_ROWS,
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "splits": {"train": f"0:{episodes}"},
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))
    tasks = pa.table({"task_index": [0], "task": ["Fold the towel"]})
    pq.write_table(tasks, root / "meta" / "tasks.parquet")
    write_rows(root, episodes)
    write_episodes(root, episodes)
    return [write_film(root, camera, place, episodes) for place, camera in enumerate(CAMERAS)]


def write_rows(root: Path, episodes: int) -> None:
    writer, random = None, np.random.default_rng(1)
    for episode in range(episodes):
        rows = np.arange(EPISODE_ROWS)
        angles = rows[:, None] / FPS * np.linspace(0.5, 2, len(JOINTS)) + episode
        state = (90 * np.sin(angles) + random.normal(0, 0.05, angles.shape)).astype(np.float32)
        columns = {
            "observation.state": pa.FixedSizeListArray.from_arrays(state.ravel(), len(JOINTS)),
            "action": pa.FixedSizeListArray.from_arrays((state + np.float32(0.5)).ravel(), len(JOINTS)),
            "timestamp": (rows / FPS).astype(np.float32),
            "frame_index": rows,
            "episode_index": np.full(EPISODE_ROWS, episode),
            "index": rows + episode * EPISODE_ROWS,
            "task_index": np.zeros(EPISODE_ROWS, np.int64),
        }
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(root / "data/chunk-000/file-000.parquet", table.schema)
        writer.write_table(table)
    writer.close()


def write_episodes(root: Path, episodes: int) -> None:
    numbers = np.arange(episodes)
    zeros = np.zeros(episodes, np.int64)
    columns: dict[str, Any] = {
        "episode_index": numbers,
        "tasks": [["Fold the towel"]] * episodes,
        "length": zeros + EPISODE_ROWS,
        "data/chunk_index": zeros,
        "data/file_index": zeros,
        "dataset_from_index": numbers * EPISODE_ROWS,
        "dataset_to_index": (numbers + 1) * EPISODE_ROWS,
    }
    for camera in CAMERAS:
        prefix = f"videos/observation.images.{camera}"
        columns |= {f"{prefix}/chunk_index": zeros, f"{prefix}/file_index": zeros}
        columns[f"{prefix}/from_timestamp"] = numbers * EPISODE_ROWS / FPS
        columns[f"{prefix}/to_timestamp"] = (numbers + 1) * EPISODE_ROWS / FPS
    pq.write_table(pa.table(columns), root / "meta/episodes/chunk-000/file-000.parquet")


def write_film(root: Path, camera: str, seed: int, episodes: int) -> str:
    """Encode a minute, and write its packets again and again; return their SHA-256."""
    path = root / f"videos/observation.images.{camera}/chunk-000/file-000.mp4"
    path.parent.mkdir(parents=True)
    minute = path.with_suffix(".minute.mp4")
    picture = textured_pictures(seed)
    with av.open(str(minute), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options=FILM)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(EPISODE_ROWS):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="gray8")))
        output.mux(stream.encode())
    with av.open(str(minute)) as source, av.open(str(path), "w") as output:
        copy = output.add_stream_from_template(source.streams.video[0])
        packets = [(bytes(packet), packet.is_keyframe) for packet in source.demux(video=0) if packet.size]
        for number in range(episodes * EPISODE_ROWS):
            data, is_key = packets[number % EPISODE_ROWS]
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = copy, Fraction(1, FPS), is_key
            packet.pts = packet.dts = number
            packet.duration = 1
            output.mux(packet)
    minute.unlink()
    return hashlib.sha256(b"".join(data for data, _ in packets)).hexdigest()


def textured_pictures(seed: int) -> Callable[[int], Any]:
    """Return pictures of a scene that moves, with a camera's noise."""
    random = np.random.default_rng(seed)
    coarse = random.normal(128, 40, (HEIGHT // 16, WIDTH // 16 + EPISODE_ROWS // 8))
    scene = np.kron(coarse, np.ones((16, 16)))
    noise = random.normal(0, 3, (8, HEIGHT, WIDTH))

    def picture(number: int) -> Any:
        part = scene[:, number : number + WIDTH] + noise[number % 8]
        return np.clip(part, 0, 255).astype(np.uint8)

    return picture


@contextmanager
def real_server(kind: str, folder: str) -> Iterator[str]:
    sys.path.insert(0, str(HERE.parent))
    os.environ |= {"SECRET_KEY": "bench", "TESTS_FOLDER": folder}
    from tests.chaos.environment import postgres_database, sqlite_file
    from tests.services import Server

    with sqlite_file() if kind == "sqlite" else postgres_database() as found:
        url = found if kind == "sqlite" else found[1]
        with Server(Path(folder), DATABASE_URL=url, ROBOT_AUTH="open", MEDIA_ROOT=f"{folder}/media") as server:
            yield server.url


def push(root: Path, url: str) -> dict[str, float]:
    """Push the dataset in a process of its own; return seconds, CPU seconds and MB of memory at most."""
    command = [sys.executable, "-m", "teleop_client.commands", "push", str(root), "--url", url, "--robot", ROBOT_ID]
    before, begin_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    subprocess.run(
        [*command, "--recorded-at", f"{time.strftime('%FT%TZ', time.gmtime(BEGIN_S))}"], env=environment, check=True
    )
    seconds, after = time.monotonic() - begin_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_s": cpu_s, "mb": after.ru_maxrss / 1024}


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def pages(url: str) -> Iterator[dict[str, Any]]:
    """Yield the results of all pages of a list."""
    next_url: str | None = url
    while next_url:
        page = json.loads(fetch(next_url))
        yield from page["results"]
        next_url = page["next"]


def check(url: str, episodes: int, minutes: list[str]) -> None:
    """Compare counts, all times, and the bytes of all packets with the dataset. Raise AssertionError."""
    sessions = sorted(pages(f"{url}/sessions?after_id=0"), key=lambda session: session["start_time"])
    assert [session["frame_count"] for session in sessions] == [EPISODE_ROWS] * episodes
    for episode, session in enumerate(sessions):
        table = pq.read_table(io.BytesIO(fetch(f"{url}/sessions/{session['id']}/frames?format=parquet")))
        times_s = BEGIN_S + (np.arange(EPISODE_ROWS) + episode * EPISODE_ROWS) / FPS
        assert np.abs(table["timestamp"].to_numpy() - times_s).max() < 2e-6
        videos = list(pages(f"{url}/videos?after_id=0&session={session['id']}"))
        assert [video["camera_key"] for video in videos] == list(CAMERAS)
        for video, minute in zip(videos, minutes, strict=True):
            assert abs(video["start_timestamp"] - times_s[0]) < 2e-6
            with av.open(io.BytesIO(fetch(video["content"]))) as film:
                packets = [packet for packet in film.demux(video=0) if packet.size]
                data = b"".join(map(bytes, packets))
                assert [packet.pts * packet.time_base * FPS for packet in packets] == list(range(EPISODE_ROWS))
            assert hashlib.sha256(data).hexdigest() == minute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="length of the dataset; default: %(default)s")
    parser.add_argument("--server", choices=["sqlite", "postgres"], default="sqlite", help="default: %(default)s")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="teleop-bench-") as folder, real_server(options.server, folder) as url:
        minutes = make_dataset(root := Path(folder, "towels"), options.minutes)
        for name in ("first push", "second push"):
            found = push(root, url)
            times = options.minutes * 60 / found["seconds"]
            rows.append(
                [name, f"{found['seconds']:.0f} s", f"{times:.0f}", f"{found['cpu_s']:.0f} s", f"{found['mb']:.0f}"]
            )
            check(url, options.minutes, minutes)
    columns = ["", "time", "x real time", "CPU of the push", "MB at most"]
    title = f"{options.minutes} min of two cameras {WIDTH}x{HEIGHT} at {FPS} pictures a second, on {options.server}:"
    lines = [columns, ["---"] * len(columns), *rows]
    sys.stdout.write(f"{title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")


if __name__ == "__main__":
    main()
