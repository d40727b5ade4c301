"""Time the admin's pages on the data of tests.bench.fill; fails past 300 ms and where a page scans frames.

    python -m tests.services sh -c "python -m tests.bench.fill --frames 10000000 && python -m tests.bench.admin"

Uses Django's test client, so no server and no browser: median of five, and the first, of each page.
"""

import os
import statistics
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("SECRET_KEY", "bench")
django.setup()

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from teleop.models import TeleopFrame, TeleopSession
from videos.models import VideoChunk

RUNS, MOST_MS = 5, 300
ROBOTS, SESSIONS, FRAMES, VIDEOS = (
    f"/admin/{model}/" for model in ("robots/robot", "teleop/teleopsession", "teleop/teleopframe", "videos/videochunk")
)
FILTERS = [
    *("robot=robot_7", "live=true", "live=false", "task=Task 3", "success=true", "tag=tag-9", "camera=front"),
    *("min_duration=20", "max_duration=40", "from=2026-01-02T00:00:00Z&to=2026-01-03T00:00:00Z"),
    *("max_idle_share=0.5", "max_jerk=100", "max_fps_jitter=0.1", "max_missing_frames=3", "min_duration_ratio=1"),
    *("q=robot_7", "q=Task 3", "q=tag-9", "q=nothing has this"),
]


def pages() -> list[str]:
    long = TeleopSession.objects.order_by("-frame_count")[0]
    live = TeleopSession.objects.live()[0]
    frame, video = TeleopFrame.objects.filter(session=long).last(), VideoChunk.objects.last()
    last_page = (TeleopSession.objects.count() - 1) // 100 + 1
    return [
        *("/admin/", ROBOTS, f"{ROBOTS}?q=arm", f"{ROBOTS}?status=online", f"{ROBOTS}robot_5F7/change/"),
        *(f"{ROBOTS}robot_5F7/delete/", f"{ROBOTS}robot_5F7/key/"),
        *(SESSIONS, f"{SESSIONS}?p={last_page}", *(f"{SESSIONS}?{query}" for query in FILTERS)),
        *(f"{SESSIONS}?o={column}" for column in range(1, 13)),
        *(f"{SESSIONS}{session.pk}/{page}/" for session in (long, live) for page in ("change", "delete", "history")),
        *(FRAMES, f"{FRAMES}?max_id={frame.pk // 2}", f"{FRAMES}?max_id=50", f"{FRAMES}?session={long.pk}"),
        f"{FRAMES}?session={long.pk}&from_index={long.frame_count // 2}",
        *(f"{FRAMES}?session={long.pk}&from_index={long.frame_count - 100}", f"{FRAMES}{frame.pk}/change/"),
        *(VIDEOS, f"{VIDEOS}?p=100", f"{VIDEOS}?session={long.pk}", f"{VIDEOS}?camera_key=front"),
        *(f"{VIDEOS}?robot=robot_7", f"{VIDEOS}{video.pk}/change/", f"{VIDEOS}{video.pk}/delete/"),
    ]


def scans(queries: CaptureQueriesContext) -> list[str]:
    """Return the queries for which PostgreSQL would read all frames."""
    found = []
    for query in [query["sql"] for query in queries.captured_queries if query["sql"].startswith("SELECT")]:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN " + query.replace("%", "%%"), ())
            is_scan = any("Seq Scan on teleop_teleopframe" in line for (line,) in cursor.fetchall())
            if is_scan or ("COUNT(" in query and 'FROM "teleop_teleopframe"' in query):  # a count may scan an index
                found.append(query)
    return found


def measure(name: str, ask) -> bool:
    times_ms = []
    for _ in range(RUNS):
        with CaptureQueriesContext(connection) as queries:
            begin = time.perf_counter()
            answer = ask()
            times_ms.append((time.perf_counter() - begin) * 1000)
        assert answer.status_code == 200, (name, answer.status_code)
    median_ms, scanned = statistics.median(times_ms), scans(queries)
    is_good = median_ms <= MOST_MS and not scanned
    print(f"{median_ms:7.0f} {times_ms[0]:7.0f} {len(queries):4}  {name}", *scanned, "" if is_good else "<-- BAD")
    return is_good


def main() -> int:
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)[0])
    print(" median   first queries, page")
    good = [measure(page, lambda page=page: client.get(page)) for page in pages()]
    newest = list(TeleopSession.objects.filter(end_time__isnull=False).values_list("pk", flat=True)[:100])
    chosen = {"_selected_action": newest}
    for action in ("delete_selected", "set_task"):
        good.append(
            measure(f"{action} of 100", lambda a=action: client.post(SESSIONS, {"action": a, **chosen}, follow=True))
        )
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
