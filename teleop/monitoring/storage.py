"""Disk space of recordings: the bytes stored, their growth, and the days until a disk is full."""

import os
import shutil
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from socket import gethostname
from typing import NamedTuple

from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Min, Sum
from django.utils import timezone

from teleop.frames.data import newest_data_bytes
from teleop.models import TeleopSession
from teleop.monitoring.disk_reserve import media_folder, shortage

CACHED_S = 60
DAY, PACE_DAYS = timedelta(days=1), 7
# Bytes of a frame beside its data, keys included: 116-127 and 75-106 measured, with frames of 180 and 460 bytes.
OVERHEAD_BYTES = {"postgresql": 130, "sqlite": 105}


class Storage(NamedTuple):
    """Sizes of "database" and "media".

    `free` has only the parts with a known disk, from their folder or from DATABASE_DISK_BYTES. `days_left` is None if
    no part with a known disk grows.
    """

    database_bytes: int
    videos: int
    video_bytes: int
    exports: int
    export_bytes: int
    growth: dict[str, float]  # bytes a day
    free: dict[str, int]
    days_left: float | None

    @property
    def shortage(self) -> str | None:
        """Return why uploads, posters, proxies and exports are stopped now, or None."""
        return shortage()

    @property
    def rows(self) -> list[dict]:
        """Return one row for each part, for display to people."""
        sizes = {"database": self.database_bytes, "media": self.video_bytes}
        rows = [
            {"name": name, "stored": size, "a_day": self.growth[name], "free": self.free.get(name)}
            for name, size in sizes.items()
        ]
        # Exports are in the same folder as films. They expire, so they have no growth.
        return [*rows, {"name": "exports", "stored": self.export_bytes, "a_day": None, "free": self.free.get("media")}]


def stored() -> Storage:
    """Return the storage of this machine, at most a minute old. Machines that share Redis have disks of their own."""
    return cache.get_or_set(f"storage-of-{gethostname()}", measure, CACHED_S)


def measure() -> Storage:
    size, growth = database_bytes(), growth_a_day()
    videos, exports = _videos().totals(), apps.get_model("datasets", "Export").objects.totals()
    free = free_bytes()
    if connection.vendor == "postgresql" and settings.DATABASE_DISK_BYTES:
        free["database"] = max(0, settings.DATABASE_DISK_BYTES - size)
    counts = (videos["count"], videos["size"], exports["count"], exports["size"])
    return Storage(size, *counts, growth, free, days_left(growth, free))


def database_bytes() -> int:
    if connection.vendor != "postgresql":
        return sum(path.stat().st_size for path in _sqlite_files())
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return cursor.fetchone()[0]


def frame_bytes() -> float:
    return OVERHEAD_BYTES[connection.vendor] + newest_data_bytes()


def growth_a_day() -> dict[str, float]:
    """Return bytes a day from last week's sessions, or since the first of them. Less than a day counts as one day."""
    now = timezone.now()
    week = TeleopSession.objects.filter(start_time__range=(now - PACE_DAYS * DAY, now + DAY))
    recorded = week.aggregate(first=Min("start_time"), frames=Sum("frame_count", default=0))
    if recorded["first"] is None:
        return {"database": 0.0, "media": 0.0}
    days = max(1.0, (now - recorded["first"]) / DAY)
    videos = _videos().filter(session__in=week).totals()["size"]
    return {"database": recorded["frames"] * frame_bytes() / days, "media": videos / days}


def folders() -> dict[str, Path]:
    """Return this machine's folders of recordings, without PostgreSQL's, which may be on another machine."""
    if connection.vendor != "sqlite":
        return {"media": media_folder()}
    return {"media": media_folder(), "database": Path(connection.settings_dict["NAME"]).absolute().parent}


def free_bytes() -> dict[str, int]:
    return {name: shutil.disk_usage(folder).free for name, folder in folders().items()}


def days_left(growth: dict[str, float], free: dict[str, int]) -> float | None:
    """Return the days until the first disk is full. Parts on the same disk fill it together."""
    disks = {name: os.stat(folder).st_dev for name, folder in folders().items()}
    paces: dict[int | str, float] = defaultdict(float)
    for name in free:
        paces[disks.get(name, name)] += growth[name]
    left = [free[name] / pace for name in free if (pace := paces[disks.get(name, name)])]
    return min(left, default=None)


def _videos():
    return apps.get_model("videos", "VideoChunk").objects


def _sqlite_files() -> list[Path]:
    file = Path(connection.settings_dict["NAME"])
    return [path for path in (file, file.with_name(f"{file.name}-wal")) if path.exists()]
