"""Small datasets that are right, made once, and copies of them in which a test plants a fault."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets.manifest import Manifest, freeze
from datasets.options import Options
from datasets.verification import VerificationFailed, Verified, verify
from datasets.writing import write_lerobot
from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from videos.film.examine import examine
from videos.models import VideoChunk

BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
RATE, PICTURES, WIDTH, HEIGHT = 30, 24, 64, 48
FIRST_PK = 700_000  # of sessions and videos: the rows are made again for each test, and the files only once
FIT = {"codec": "libx264", "bf": "0", "g": "6", "preset": "veryfast"}  # copied without encoding


class Export(NamedTuple):
    folder: Path
    manifest: Manifest

    def verify(self) -> Verified:
        return verify(self.folder, self.manifest)

    def findings(self) -> list[str]:
        """Return what a verification finds."""
        with pytest.raises(VerificationFailed) as caught:
            self.verify()
        return caught.value.findings

    @contextmanager
    def table(self, name: str) -> Iterator[dict[str, list]]:
        """Yield the columns of a Parquet file as lists, and write what the block leaves in them."""
        path = self.folder / name
        schema, columns = pq.read_schema(path), pq.read_table(path).to_pydict()
        yield columns
        pq.write_table(pa.table(columns, schema), path)

    @contextmanager
    def json(self, name: str) -> Iterator[Any]:
        path = self.folder / name
        value = json.loads(path.read_text())
        yield value
        path.write_text(json.dumps(value))

    @contextmanager
    def lines(self, name: str) -> Iterator[list[Any]]:
        path = self.folder / name
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        yield rows
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def frame(number: int) -> dict[str, Any]:
    state = {
        "shoulder_pan.pos": 30 * float(np.sin(number / 7)),
        "gripper.pos": number / 3,
        "is_closed": number % 5 == 0,
    }
    action = {name: value + 0.1 for name, value in state.items() if name.endswith(".pos")}
    return {"observation": state, "action": action | {"mode": "fast" if number > 9 else "slow"}}


def store_session(number: int, task: str, frames: Sequence[Any], **meta_info: Any) -> TeleopSession:
    robot, _ = Robot.objects.get_or_create(pk="arm", defaults={"robot_type": "so_follower"})
    begin = BEGIN + timedelta(minutes=number)
    at = [begin + timedelta(microseconds=round(index * 1e6 / RATE)) for index in range(len(frames))]
    session = TeleopSession.objects.create(
        pk=FIRST_PK + number,
        robot=robot,
        key=f"session-{number}",
        fps=RATE,
        start_time=at[0],
        end_time=at[-1],
        frame_count=len(frames),
        meta_info={"task": task, "success": True, "tags": ["night"], "operator": "ada"} | meta_info,
        quality={"idle_share": 0.25, "jerk": 1.5},
    )
    TeleopFrame.objects.bulk_create(
        TeleopFrame(session=session, robot=robot, frame_index=index, timestamp=moment, data=data)
        for index, (moment, data) in enumerate(zip(at, frames, strict=True))
    )
    return session


def store_film(session: TeleopSession, film: Path, media: Path, camera="front") -> VideoChunk:
    number = VideoChunk.objects.count()
    begin = session.start_time.timestamp()
    chunk = VideoChunk(
        pk=FIRST_PK + number,
        session=session,
        robot=session.robot,
        camera_key=camera,
        timing="exact",
        start_timestamp=begin,
        end_timestamp=begin + PICTURES / RATE,
        size=film.stat().st_size,
        sha256=sha256(film.read_bytes()).hexdigest(),
    )
    chunk.file_path = f"{number}{film.suffix}"
    media.mkdir(parents=True, exist_ok=True)
    shutil.copy(film, media / chunk.file_path.name)
    chunk.describe(_examined(film))
    chunk.save(force_insert=True)
    return chunk


_examined = cache(examine)


def blocks(seed: int) -> Callable[[int], np.ndarray]:
    """Return pictures of random blocks: each differs from all others."""
    levels = np.random.default_rng(seed).integers(0, 255, (PICTURES, HEIGHT // 8, WIDTH // 8, 3))
    return lambda number: np.kron(levels[number], np.ones((8, 8, 1)))


def still(seed: int) -> Callable[[int], np.ndarray]:
    return lambda number: blocks(seed)(0)


def noise(seed: int, size=8) -> Callable[[int], np.ndarray]:
    """Return one picture with the noise of a camera in the dark."""
    random, picture = np.random.default_rng(seed), blocks(seed)(0) * 0.6 + 40
    return lambda number: picture + random.normal(0, size, picture.shape)


def repeats(seed: int) -> Callable[[int], np.ndarray]:
    """Return pictures of which two follow each other that are the same: a camera of half the rate."""
    return lambda number: blocks(seed)(number // 2)


def fade(seed: int) -> Callable[[int], np.ndarray]:
    """Return one picture that becomes brighter by 5 of 255 levels each time."""
    return lambda number: blocks(seed)(0) * 0.2 + 5 * number


def write_film(
    path: Path, picture: Callable[[int], np.ndarray], codec="libx264", count=PICTURES, rate=RATE, **options: str
) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(count):
            image = av.VideoFrame.from_ndarray(np.clip(picture(number), 0, 255).astype(np.uint8), format="rgb24")
            image.pts, image.time_base = number, Fraction(1, rate)
            output.mux(stream.encode(image))
        output.mux(stream.encode())
    return path


def change_packets(path: Path, change: Callable[[list[Any]], list[Any]], late_from: int = 10**9) -> None:
    """Write a film again with other packets. The times are n / RATE, but later by one from `late_from` on."""
    target = path.with_suffix(".new.mp4")
    options = {"use_editlist": "0"}
    with av.open(str(path)) as source, av.open(str(target), "w", container_options=options) as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        packets = [(bytes(each), each.is_keyframe) for each in source.demux(stream) if each.size]
        for number, (data, is_key) in enumerate(change(packets)):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = copy, Fraction(1, RATE), is_key
            packet.pts = packet.dts = number + (number >= late_from)
            packet.duration = 1
            output.mux(packet)
    target.replace(path)


def change_pictures(path: Path, change: Callable[[list[Any]], list[Any]], rate=RATE) -> None:
    """Write a film with other pictures, encoded as those of an export."""
    with av.open(str(path)) as film:
        images = [each.to_ndarray(format="rgb24") for each in film.decode(video=0)]
    images = change(images)
    write_film(path, lambda number: images[number], count=len(images), rate=rate, bf="0", g="2", preset="veryfast")


# The films of each session of an export, by camera: how they are made, and how they are encoded.
SESSIONS: dict[str, list[dict[str, tuple[Callable[[int], np.ndarray], dict[str, str]]]]] = {
    "values": [{}, {}],
    "copied": [{"front": (blocks(1), FIT)}, {"front": (blocks(2), FIT)}],
    "encoded": [{"front": (blocks(3), {"codec": "mpeg4", "b": "2000000"})}],
    "still": [{"front": (still(4), {"codec": "mpeg4"})}],
    "noise": [{"front": (noise(5), {"codec": "libx264", "crf": "18"})}],
    "repeats": [{"front": (repeats(6), {"codec": "mpeg4", "b": "2000000"})}],
    "fade": [{"front": (fade(10), {"codec": "mpeg4", "b": "2000000"})}],
    "B-pictures": [{"front": (blocks(7), {"codec": "libx264", "bf": "3"})}],
    "two cameras": [{"front": (blocks(8), FIT), "wrist": (noise(9), {"codec": "mpeg4"})}],
}


class Exports:
    """Makes each kind of export once, as files; the rows of its sessions belong to one test."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.media = folder / "media"

    def make(self, kind: str, target: Path, **options: Any) -> Export:
        """Return a copy of an export in `target`, with its sessions in the database."""
        sessions = []
        for number, films in enumerate(SESSIONS[kind]):
            frames = [frame(index) for index in range(PICTURES + 16 * (not films))]
            sessions.append(store_session(number, ("Fold the towel", "Put the cube")[number % 2], frames))
            for camera, (picture, encoding) in films.items():
                store_film(sessions[-1], self._film(f"{kind}-{number}-{camera}", picture, encoding), self.media, camera)
        manifest = freeze("test", sessions, Options(**options))
        made = self.folder / "-".join([kind, *map(str, options.values())])
        if not made.exists():
            made.mkdir()
            write_lerobot(manifest, made, lambda progress: None)
        return Export(Path(shutil.copytree(made, target)), manifest)

    def _film(self, name: str, picture: Callable[[int], np.ndarray], encoding: dict[str, str]) -> Path:
        path = self.folder / f"{name}.mp4"
        return path if path.exists() else write_film(path, picture, **encoding)
