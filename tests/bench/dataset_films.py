"""Measure an export with two cameras, and films for training: `python -m tests.bench.dataset_films --minutes 60`.

The export has two cores; the sessions of 60 s have 60 frames a second and films of 640x480 at 30, as the robots' client
encodes them. It is verified. `copied`: 30 rows a second, so that all packets are copied. `encoded`: the same from films
with B-pictures. `drifting`: the cameras are faster than the rows by 0.1 %, so that a picture is left out now and then.
`--settings` compares settings of H.264 by speed, size and the time to decode a random picture.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import av
import numpy

from tests.bench.exports import filled

LEAST = {"copied": 15, "encoded": 3, "drifting": 3}  # times as fast as real time
SESSION_S, LOOP_S, FPS, FRAMES_A_S = 60, 10, 30, 60
WIDTH, HEIGHT, TICKS = 640, 480, 90_000
CLIENT = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23", "g": str(FPS)}
WITH_B_PICTURES = {"preset": "veryfast", "crf": "23", "bf": "2"}
DRIFT = 1.001
SETTINGS = (
    {"g": "2"},
    {"g": "10"},
    {"g": "30"},
    {"g": "2", "tune": "fastdecode,zerolatency"},
    {"g": "10", "tune": "fastdecode"},
    {"g": "10", "tune": "fastdecode,zerolatency"},
    {"g": "30", "tune": "fastdecode,zerolatency"},
)


def scene(generator: numpy.random.Generator) -> numpy.ndarray:
    """Return a wall with some texture."""
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    wall = numpy.stack([90 + 40 * numpy.sin(x / 90), 100 + 30 * numpy.sin(y / 60), 110 + 30 * numpy.cos(x / 70)], 2)
    coarse = generator.normal(0, 8, (HEIGHT // 4, WIDTH // 4)).repeat(4, 0).repeat(4, 1)
    return (wall + (coarse + generator.normal(0, 6, (HEIGHT, WIDTH)))[..., None]).astype("float32")


def pictures(seconds: float, seed: int) -> Iterator[av.VideoFrame]:
    """Yield pictures of three moving boxes, with the noise of a camera (2 levels)."""
    generator = numpy.random.default_rng(seed)
    wall, box = scene(generator), scene(generator)[:160, :60] * 0.6 + 80
    noise = generator.normal(0, 2, (4, HEIGHT + 64, WIDTH + 64)).astype("float32")
    for number in range(round(seconds * FPS)):
        picture, at = wall.copy(), number / FPS
        for each in range(3):
            x = int((WIDTH - 80) * (0.5 + 0.45 * numpy.sin(at * (0.4 + 0.2 * each) + each)))
            y = int((HEIGHT - 180) * (0.5 + 0.45 * numpy.cos(at * (0.5 + 0.13 * each) + 2 * each)))
            picture[y : y + 160, x : x + 60] = box
        dy, dx = generator.integers(0, 64, 2)
        picture += noise[number % 4, dy : dy + HEIGHT, dx : dx + WIDTH, None]
        yield av.VideoFrame.from_ndarray(picture.clip(0, 255).astype("uint8"), format="rgb24").reformat(
            format="yuv420p"
        )


def make_film(target: Path, seed: int, drift: float, **options: str) -> Path:
    with av.open(target, "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        loop = list(pictures(LOOP_S, seed))
        for number in range(SESSION_S * FPS):
            picture = loop[number % len(loop)]
            picture.pts, picture.time_base = round(number * TICKS / FPS / drift), Fraction(1, TICKS)
            output.mux(stream.encode(picture))
        output.mux(stream.encode())
    return target


def store(films: list[Path]) -> None:
    """Give each session of the database a film of each camera, which begins with the session."""
    from teleop.models import TeleopSession
    from videos.film.examine import examine
    from videos.models import VideoChunk

    facts = [(film, film.read_bytes(), examine(film)) for film in films]
    for session in TeleopSession.objects.all():
        start = session.start_time.timestamp()
        for camera, (film, content, found) in zip(("front", "wrist"), facts, strict=True):
            chunk = VideoChunk(session=session, robot_id=session.robot_id, camera_key=camera, timing="exact")
            chunk.start_timestamp, chunk.end_timestamp = start, start + SESSION_S
            chunk.file_path = f"videos/{session.pk}-{camera}.mp4"
            chunk.size, chunk.sha256 = len(content), sha256(content).hexdigest()
            path = Path(chunk.storage.location, f"videos/{session.pk}-{camera}.mp4")
            path.parent.mkdir(exist_ok=True)
            path.hardlink_to(film)
            chunk.describe(found)
            chunk.save(force_insert=True)


def export(folder: Path) -> tuple[float, float, float]:
    """Return seconds, seconds of CPU and the most MB of memory."""
    command = [sys.executable, "manage.py", "export", str(folder / "out"), "--fps", str(FPS)]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("the export has failed")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def measure(kind: str, minutes: int) -> bool:
    """Export so many minutes; return whether it is as fast as it has to be."""
    with tempfile.TemporaryDirectory() as name, filled(minutes * 60 * FRAMES_A_S, SESSION_S * FRAMES_A_S) as url:
        folder = Path(name)
        os.environ |= {"DATABASE_URL": url, "MEDIA_ROOT": name}
        options = WITH_B_PICTURES if kind == "encoded" else CLIENT
        films = [make_film(folder / f"{n}.mp4", n, DRIFT if kind == "drifting" else 1, **options) for n in range(2)]
        fill = "from tests.bench.dataset_films import store; from pathlib import Path; store([Path(p) for p in %r])"
        subprocess.run([sys.executable, "manage.py", "shell", "-c", fill % [str(film) for film in films]], check=True)
        seconds, cpu_s, peak_mb = export(folder)
        speed = minutes * 60 / seconds
        size = sum(path.stat().st_size for path in folder.glob("out/videos/**/*.mp4"))
        print(
            f"{kind}, {minutes} min of 2 cameras: {seconds:.1f} s, {speed:.1f} x real time ({LEAST[kind]} expected), "
            f"{cpu_s:.1f} s of CPU, at most {peak_mb:.0f} MB; films {size / 1e6:.0f} MB",
            flush=True,
        )
        return speed >= LEAST[kind]


def compare_settings() -> None:
    """Print what the settings of H.264 cost, in CPU time of one thread."""
    source = list(pictures(10, 0))
    for setting in SETTINGS:
        options = {"preset": "veryfast", "crf": "23", "bf": "0"} | setting
        file, began = BytesIO(), time.thread_time()
        with av.open(file, "w", format="mp4") as output:
            stream = output.add_stream("libx264", rate=FPS, options=options)
            stream.width, stream.height, stream.codec_context.thread_count = WIDTH, HEIGHT, 1
            for picture in source:
                picture.pts = None
                output.mux(stream.encode(picture))
            output.mux(stream.encode())
        encoding_ms = (time.thread_time() - began) / len(source) * 1000
        size_kb = file.tell() / 1000 / (len(source) / FPS)
        random_picture_ms = random_ms(file)
        print(
            f"{setting}: encoding {encoding_ms:.1f} ms, random picture {random_picture_ms:.1f} ms, {size_kb:.0f} kB/s"
        )


def random_ms(file: BytesIO, samples: int = 100) -> float:
    file.seek(0)
    with av.open(file) as film:
        stream = film.streams.video[0]
        stream.codec_context.thread_count = 1
        step, chosen, began = stream.duration // stream.frames, random.Random(0), time.thread_time()
        for _ in range(samples):
            time_ = chosen.randrange(stream.frames) * step
            film.seek(time_, stream=stream)
            next(picture for picture in film.decode(stream) if picture.pts >= time_)
        return (time.thread_time() - began) / samples * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*LEAST, []], help="default: copied encoded")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--settings", action="store_true")
    options = parser.parse_args()
    if options.settings:
        compare_settings()
        return 0
    os.environ["SECRET_KEY"] = "bench"
    are_fast = [measure(kind, options.minutes) for kind in options.kinds or ["copied", "encoded"]]
    return 0 if all(are_fast) else 1


if __name__ == "__main__":
    sys.exit(main())
