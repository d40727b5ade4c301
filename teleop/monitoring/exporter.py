"""Content of /metrics: the counters of all workers of this `serve`, and the current state of tables and disks."""

import logging
import os
from collections.abc import Iterator

from django.db import Error as DatabaseFailure
from django.db.models import Count
from django.utils import timezone
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from robots.models import Robot
from teleop.background.kinds import KINDS
from teleop.background.models import STATES, Job
from teleop.models import TeleopSession
from teleop.monitoring import (
    counters,  # noqa: F401 - its import puts them into REGISTRY: a process without robots shows zeros
    health,
)
from teleop.monitoring.storage import Storage, free_bytes, stored

logger = logging.getLogger(__name__)


class FromDatabase:
    """Metrics from the tables, queried at each scrape; none of these while the database is unreachable."""

    def collect(self) -> Iterator[Metric]:
        yield self._parts()
        free = free_bytes()
        try:
            yield from self._tables()
            yield from self._jobs()
            now = stored()
            yield from self._storage(now)
            free = now.free
        except DatabaseFailure as error:
            logger.warning("/metrics has no values from the database: %s", error)
        yield from self._free(free)

    def _parts(self) -> Metric:
        parts = GaugeMetricFamily("teleop_part_up", "1 if the part works, as in /health", labels=["part"])
        for part, problem in health.problems().items():
            parts.add_metric([part], int(problem is None))
        return parts

    def _tables(self) -> Iterator[Metric]:
        robots = GaugeMetricFamily("teleop_robots", "Robots by status", labels=["status"])
        counts = dict(Robot.objects.values_list("status").annotate(Count("pk")).order_by())
        for status in Robot.Status.values:
            robots.add_metric([status], counts.get(status, 0))
        yield robots
        heard = GaugeMetricFamily("teleop_robot_silent_seconds", "Since a robot's last heartbeat", labels=["robot"])
        for robot_id, last in Robot.objects.exclude(last_heartbeat=None).values_list("pk", "last_heartbeat"):
            heard.add_metric([robot_id], max(0.0, (timezone.now() - last).total_seconds()))
        yield heard
        yield GaugeMetricFamily("teleop_sessions_live", "Live sessions", TeleopSession.objects.live().count())

    def _jobs(self) -> Iterator[Metric]:
        """Count background work. Work that was not begun has no job; its objects are counted."""
        jobs = GaugeMetricFamily("teleop_jobs", "Background work by kind and state", labels=["kind", "state"])
        counts = Job.objects.counts()
        for kind in KINDS.values():
            begun = Job.objects.filter(kind=kind.name).values("object_id")
            jobs.add_metric([kind.name, "due"], kind.due().exclude(pk__in=begun).order_by().count())
            for state in STATES:
                jobs.add_metric([kind.name, state], counts.get((kind.name, state), 0))
        yield jobs

    def _storage(self, now: Storage) -> Iterator[Metric]:
        yield GaugeMetricFamily("teleop_videos", "Stored video chunks", now.videos)
        yield GaugeMetricFamily("teleop_video_bytes", "Size of the stored video chunks", now.video_bytes)
        yield GaugeMetricFamily("teleop_exports", "Stored datasets", now.exports)
        yield GaugeMetricFamily("teleop_export_bytes", "Size of the stored datasets", now.export_bytes)
        yield GaugeMetricFamily("teleop_database_bytes", "Size of the database on its disk", now.database_bytes)
        growth = GaugeMetricFamily("teleop_growth_bytes_a_day", "Growth per day, by the last week", labels=["of"])
        for name, a_day in now.growth.items():
            growth.add_metric([name], a_day)
        yield growth
        if now.days_left is not None:
            yield GaugeMetricFamily("teleop_days_left", "Days until a disk is full, by this growth", now.days_left)

    def _free(self, free: dict[str, int]) -> Iterator[Metric]:
        family = GaugeMetricFamily("teleop_disk_free_bytes", "Free bytes on disks of known size", labels=["of"])
        for name, room in free.items():
            family.add_metric([name], room)
        yield family


def page() -> bytes:
    """Return all metrics in Prometheus' text format."""
    counted = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        MultiProcessCollector(counted)
    asked = CollectorRegistry()
    asked.register(FromDatabase())
    return generate_latest(counted) + generate_latest(asked)
