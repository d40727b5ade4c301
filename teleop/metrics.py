"""What /metrics says: the counters of all workers of this `serve`, and what the tables and disks say now."""

import logging
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection
from django.db.models import Count, Sum
from django.utils import timezone
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from robots.models import Robot
from teleop import counters  # noqa: F401 - its import puts them into REGISTRY: a process without robots shows zeros
from teleop.models import TeleopSession

logger = logging.getLogger(__name__)

FRAME_BYTES = 650  # of an SO-101 leader and follower, keys included (docs/performance.md)
DAY = timedelta(days=1)


class FromDatabase:
    """What the tables say, asked at each scrape; nothing while the database is away."""

    def collect(self) -> Iterator[Metric]:
        try:
            yield from self._tables()
        except DatabaseFailure as error:
            logger.warning("/metrics without the database: %s", error)
        yield from self._disk()

    def _tables(self) -> Iterator[Metric]:
        robots = GaugeMetricFamily("teleop_robots", "Robots by status", labels=["status"])
        counts = dict(Robot.objects.values_list("status").annotate(Count("pk")).order_by())
        for status in Robot.Status.values:
            robots.add_metric([status], counts.get(status, 0))
        yield robots
        heard = GaugeMetricFamily("teleop_robot_silent_seconds", "Since a robot was last heard of", labels=["robot"])
        for robot_id, last in Robot.objects.exclude(last_heartbeat=None).values_list("pk", "last_heartbeat"):
            heard.add_metric([robot_id], max(0.0, (timezone.now() - last).total_seconds()))
        yield heard
        yield GaugeMetricFamily("teleop_sessions_live", "Live sessions", TeleopSession.objects.live().count())
        videos = TeleopSession.objects.aggregate(count=Count("videos"), size=Sum("videos__size", default=0))
        yield GaugeMetricFamily("teleop_videos", "Video chunks kept", videos["count"])
        yield GaugeMetricFamily("teleop_video_bytes", "Their size", videos["size"])
        yield GaugeMetricFamily("teleop_database_bytes", "The database on its disk", database_bytes())
        if (days := days_left()) is not None:
            yield GaugeMetricFamily(
                "teleop_days_left", "Until a disk of this machine is full, at this day's pace", days
            )

    def _disk(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("teleop_disk_free_bytes", "Room on the disks of this machine", labels=["of"])
        for name, folder in disks().items():
            free.add_metric([name], shutil.disk_usage(folder).free)
        yield free


def disks() -> dict[str, Path]:
    """The folders of this machine in which what is recorded is kept; PostgreSQL's is its own affair."""
    root = Path(settings.MEDIA_ROOT).absolute()
    media = next(folder for folder in (root, *root.parents) if folder.exists())  # the first upload makes it
    if connection.vendor != "sqlite":
        return {"media": media}
    return {"media": media, "database": Path(connection.settings_dict["NAME"]).absolute().parent}


def database_bytes() -> int:
    if connection.vendor != "postgresql":
        return sum(path.stat().st_size for path in _sqlite_files())
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return cursor.fetchone()[0]


def _sqlite_files() -> list[Path]:
    file = Path(connection.settings_dict["NAME"])
    return [path for path in (file, file.with_name(f"{file.name}-wal")) if path.exists()]


def days_left() -> float | None:
    """At the pace of the last day, until the fullest of these disks is full; None where nothing was recorded."""
    yesterday = TeleopSession.objects.filter(updated_at__gte=timezone.now() - DAY)
    frames = yesterday.aggregate(frames=Sum("frame_count", default=0))["frames"]
    videos = yesterday.aggregate(size=Sum("videos__size", default=0))["size"]
    a_day = {"media": videos, "database": frames * FRAME_BYTES}
    left = [shutil.disk_usage(folder).free / a_day[name] for name, folder in disks().items() if a_day[name]]
    return min(left, default=None)


def page() -> bytes:
    """In Prometheus' text format."""
    counted = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        MultiProcessCollector(counted)
    asked = CollectorRegistry()
    asked.register(FromDatabase())
    return generate_latest(counted) + generate_latest(asked)
