"""Measure acks while films are uploaded beside 100 robots, and posters: `python -m tests.bench.film_uploads`.

Each upload is 10 s of 640x480 H.264 at 30 pictures a second, made beforehand. The server has core 0; the load,
PostgreSQL and `manage.py background` have core 1. `--rate` is the number of uploads a second, open loop.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import av
import numpy
import psycopg
import requests

from tests.bench.serving import shell
from tests.bench.side_load import LoadedServer, arguments, compare
from tests.services import ROOT, postgres, wait_until

SECONDS, FPS = 10, 30
START = 1_700_000_000
SESSION = """
from robots.models import Robot
from teleop.models import TeleopSession
robot = Robot.objects.create(pk="camera")
print(TeleopSession.objects.create(robot=robot, key="films").pk)
"""
COUNTS = "SELECT count(*), count(*) FILTER (WHERE poster_size IS NULL) FROM videos_videochunk"


def make_film(path: Path) -> None:
    """Write a film of moving noise, about as large as a camera's."""
    noise = numpy.random.default_rng(0).integers(0, 256, (480, 640 + SECONDS * FPS, 3), "uint8")
    noise[::2], noise[1::2] = noise[::2] // 8 + 60, noise[::2] // 8 + 60
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "30", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for number in range(SECONDS * FPS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise[:, number : number + 640].copy())))
        container.mux(stream.encode())


@contextmanager
def uploads(site: LoadedServer, film: bytes, rate: int, lag_s: int):
    session = shell(SESSION, site.env).strip()
    url, results, lock = f"http://127.0.0.1:{site.port}/videos", [], threading.Lock()
    client = requests.Session()
    client.headers["Authorization"] = f"Token {site.token}"
    client.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=64))

    def upload(number: int) -> None:
        start, begin = START + number * SECONDS, time.monotonic()
        fields = {"session": session, "camera_key": "front", "start_timestamp": start, "end_timestamp": start + SECONDS}
        status = client.post(url, fields, files={"file": ("chunk.mp4", film, "video/mp4")}, timeout=60).status_code
        with lock:
            results.append((status, time.monotonic() - begin))

    found: dict = {}
    stopping = threading.Event()

    def send(pool: ThreadPoolExecutor) -> None:
        begin = time.monotonic()
        number = 0
        while not stopping.wait(max(0.0, begin + number / rate - time.monotonic())):
            pool.submit(upload, number)
            number += 1

    command = ["nice", "-n", "19", sys.executable, "manage.py", "background"]
    with subprocess.Popen(command, env=site.env, cwd=ROOT) as background, ThreadPoolExecutor(64) as pool:
        sender = threading.Thread(target=send, args=[pool])
        sender.start()
        try:
            yield found
        finally:
            stopping.set()
            sender.join()
            pool.shutdown()
            took = sorted(seconds for _, seconds in results)
            found["uploads"] = len(results)
            found["stored"] = sum(status == 201 for status, _ in results)
            found["upload_p50_ms"], found["upload_p95_ms"] = (
                round(took[int(len(took) * share)] * 1000) for share in (0.5, 0.95)
            )
            found["no_poster"] = left(site)
            begin = time.monotonic()
            wait_until(lambda: not left(site) or time.monotonic() - begin > lag_s, lag_s + 10)
            found["posters_after_s"] = round(time.monotonic() - begin, 1) if not left(site) else None
            background.terminate()


def left(site: LoadedServer) -> int:
    with psycopg.connect(site.env["DATABASE_URL"]) as connection:
        return connection.execute(COUNTS).fetchone()[1]


if __name__ == "__main__":
    options = arguments(__doc__, rate=20, lag_s=120)
    with tempfile.TemporaryDirectory() as folder, postgres() as service:
        film = Path(folder, "film.mp4")
        make_film(film)
        print(json.dumps({"film_kB": film.stat().st_size // 1000}), flush=True)
        os.environ |= {"MEDIA_ROOT": folder, "BACKGROUND_WORK": "separate", "HTTP_REQUESTS_PER_ADDRESS": "0"}
        side = partial(uploads, film=film.read_bytes(), rate=options.rate, lag_s=options.lag_s)
        compare(f"{options.rate} uploads a second", side, options, service)
