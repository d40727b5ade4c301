"""Time the first page of /review with 100,000 sessions: a list of 50 and all facets, in one process and by REST.

    python -m tests.services python -m tests.bench.review      on PostgreSQL
    DATABASE_URL=sqlite:///review.sqlite3 python -m tests.bench.review

Fills an empty database. Uses Django's test client, so no server and no browser: the median of nine, and the first.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("SECRET_KEY", "bench")
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from robots.models import Robot
from teleop.models import TeleopSession
from videos.models import VideoChunk

RUNS, BATCH, ROBOTS = 9, 2000, 100
START = datetime(2026, 1, 1, tzinfo=UTC)
SELECTIONS = [
    "",
    "task=Task+3:+put+the+cube+into+the+box",
    "task=Task+3:+put+the+cube+into+the+box&success=false",
    "unlabelled=true",
    "robot=robot_7",
    "tag=tag-9",
    "camera=wrist",
    "search=task+3",
    "search=nothing+has+this",
    "from=2026-03-10T00:00:00Z&to=2026-03-11T00:00:00Z",
]


def sessions(count: int) -> Iterator[TeleopSession]:
    """Yield sessions of 30 s, one a minute, with labels of usual lengths and a quality."""
    chance = random.Random(1)
    for number in range(count):
        task = min(int(chance.expovariate(0.3)), 19)
        meta_info = {"task": f"Task {task}: put the cube into the box", "operator": f"operator_{chance.randrange(12)}"}
        meta_info["tags"] = [f"tag-{chance.randrange(50)}" for _ in range(chance.randrange(3))]
        if chance.random() < 0.7:
            meta_info["success"] = chance.random() < 0.8
        quality = {
            "idle_share": chance.random(),
            "jerk": chance.lognormvariate(6, 0.5),
            "fps_jitter": chance.random() / 10,
            "missing_frames": int(chance.random() * 1.2),
            "duration_s": 30.0,
            "duration_ratio": 1.0,
            "clock_steps": [],
        }
        begin = START + timedelta(minutes=number)
        yield TeleopSession(
            robot_id=f"robot_{chance.randrange(ROBOTS)}",
            key=f"filled-{number}",
            start_time=begin,
            end_time=begin + timedelta(seconds=30),
            frame_count=1800,
            meta_info=meta_info,
            quality=quality,
            sparkline=chance.randbytes(64),
        )


def chunks() -> Iterator[VideoChunk]:
    for pk, robot_id, start in TeleopSession.objects.values_list("pk", "robot_id", "start_time").iterator(BATCH):
        for camera in ("front", "wrist"):
            yield VideoChunk(
                session_id=pk,
                robot_id=robot_id,
                camera_key=camera,
                file_path="videos/none.mp4",
                start_timestamp=start.timestamp(),
                end_timestamp=start.timestamp() + 30,
                size=10**6,
                poster_size=10_000,
            )


def store(model, rows: Iterator) -> None:
    while batch := list(islice(rows, BATCH)):
        model.objects.bulk_create(batch)


def fill(count: int) -> None:
    store(Robot, (Robot(pk=f"robot_{number}", name=f"Arm {number}") for number in range(ROBOTS)))
    store(TeleopSession, sessions(count))
    store(VideoChunk, chunks())
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def took_ms(request: Callable) -> str:
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        answer = request()
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.content[:500]
    return f"{statistics.median(took):6.0f} ms (first {took[0]:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    if not TeleopSession.objects.exists():
        fill(options.sessions)
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get_or_create(username="bench", is_superuser=True, is_staff=True)[0])
    print(f"{connection.vendor}, {TeleopSession.objects.count():,} sessions")
    for query in SELECTIONS:
        listed = took_ms(lambda query=query: client.get(f"/sessions/review?limit=50&{query}"))
        facets = took_ms(lambda query=query: client.get(f"/sessions/facets?{query}"))
        print(f"{query or 'all':60} list {listed}, facets {facets}")


if __name__ == "__main__":
    main()
