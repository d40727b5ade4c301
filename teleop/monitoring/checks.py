"""Checks of this installation. Each check is a function that returns a verdict and advice."""

import asyncio
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.core.checks import Tags, run_checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from robots.models import Robot
from teleop.ingest.transactions import use_dedicated_connection
from teleop.monitoring.storage import folders, measure

MIN_FILES = 4096  # one socket for each robot, watcher and request
MIN_FREE_BYTES = 5 * 10**9
MIN_DAYS = 7
MAX_CLOCK_S = 1.0
OLDEST_POSTGRESQL = 150000


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(NamedTuple):
    verdict: Verdict
    what: str
    advice: str = ""


def ok(what: str) -> Finding:
    return Finding(Verdict.OK, what)


def warning(what: str, advice: str) -> Finding:
    return Finding(Verdict.WARNING, what, advice)


def failed(what: str, advice: str) -> Finding:
    return Finding(Verdict.FAILED, what, advice)


def database() -> Finding:
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        return ok(f"SQLite {sqlite3.sqlite_version} at {connection.settings_dict['NAME']}")
    version = connection.pg_version
    if version < OLDEST_POSTGRESQL:
        return failed(f"PostgreSQL {version // 10000}", "15 or later is expected")
    return ok(f"PostgreSQL {version // 10000}")


def commits() -> Finding:
    """Check that commits are durable: an ack says that the frame survives a power cut."""
    if connection.vendor == "sqlite":
        return ok("a commit is on the disk: WAL, synchronous=FULL")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off'")
        off = [name for (name,) in cursor.fetchall()]
    if off:
        return failed(f"{' and '.join(off)} off: a power cut loses acknowledged frames", "turn it on")
    return ok("a commit is on the disk: fsync and synchronous_commit are on")


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return failed(f"{len(missing)} are not applied, the first is {missing[0][0]}", "python manage.py migrate")
    return ok("all are applied")


def channel_layer() -> Finding:
    if not settings.REDIS_URL:
        return warning("REDIS_URL is empty: one worker only", "set it, to run serve --workers")
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
        client.ping()
    return ok(f"Redis at {urlsplit(settings.REDIS_URL).hostname}")


def event_loop() -> Finding:
    import uvloop

    asyncio.Runner(loop_factory=uvloop.new_event_loop).close()
    return ok(f"uvloop {uvloop.__version__}")


def websockets() -> Finding:
    from autobahn.websocket import utf8validator

    if utf8validator.Utf8Validator.__module__.startswith("autobahn.nvx"):
        return ok("autobahn's C code (NVX) is active")
    return warning("autobahn runs without its C code (NVX): large messages cost more", "unset AUTOBAHN_USE_NVX")


def ffmpeg() -> Finding:
    """Report the FFmpeg version that probes uploads. It is inside the wheel of av, which pip-audit does not scan."""
    import av

    return ok(f"FFmpeg {av.ffmpeg_version_info} in av {av.__version__}")


def limits() -> Finding:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < MIN_FILES:
        return warning(f"{files} open files a process", f"LimitNOFILE=, or ulimit -n, of {MIN_FILES} or more")
    return ok(f"{files} open files a process")


def clocks() -> Finding:
    with connection.cursor() as cursor:
        began = time.time()
        if connection.vendor == "sqlite":
            return ok("the database's clock is this machine's")
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        apart = float(cursor.fetchone()[0]) - (began + time.time()) / 2
    if abs(apart) > MAX_CLOCK_S:
        return warning(f"the database's clock is {apart:+.1f} s from this machine's", "run NTP on both")
    return ok(f"the database's clock is {apart * 1000:+.0f} ms from this machine's")


def disk() -> Finding:
    closed = [str(folder) for folder in folders().values() if not os.access(folder, os.W_OK)]
    if closed:
        return failed(f"{closed[0]} cannot be written to", "give it to the user that runs this")
    stored = measure()
    least, days = min(stored.free.values()), stored.days_left
    room = f"{least / 1e9:.0f} GB free" + ("" if days is None else f", {days:.0f} days at this week's pace")
    if least < MIN_FREE_BYTES or (days is not None and days < MIN_DAYS):
        return warning(room, "python manage.py prune, or a larger disk")
    return ok(room)


def security() -> Finding:
    if settings.DEBUG:
        return warning("DEBUG is on: anybody may read and stream", "for your own machine only")
    if "*" in settings.ALLOWED_HOSTS:
        return warning("ALLOWED_HOSTS is *: a page of any site may act as one of this server", "list its names")
    problems = [each for each in run_checks(tags=[Tags.security], include_deployment_checks=True) if each.level >= 30]
    if problems:
        return warning(", ".join(each.id for each in problems), "HTTPS=1; python manage.py check --deploy says more")
    return ok("DEBUG is off, check --deploy finds nothing")


def keys() -> Finding:
    if settings.ROBOT_AUTH == "open":
        where = ", on any network (ROBOT_AUTH_OPEN_ANYWHERE)" if settings.ROBOT_AUTH_OPEN_ANYWHERE else ""
        return warning(f"ROBOT_AUTH is open: anybody may read, and any robot stream{where}", "set it to key")
    without = Robot.objects.filter(key_hash="").count()
    if without:
        return warning(f"{without} robots have none and cannot connect", "python manage.py robot_key ID")
    return ok(f"{Robot.objects.count()} robots, each has its own")


CHECKS: list[Callable[[], Finding]] = [
    database, commits, migrations, channel_layer, event_loop, websockets, ffmpeg, limits, clocks, disk, security, keys,
]  # fmt: skip
ADVICE = {database: "DATABASE_URL, and whether it runs", channel_layer: "REDIS_URL, and whether it runs"}
NEEDS = {commits: database, migrations: database, clocks: database, disk: migrations, keys: migrations}


def examine() -> Iterator[tuple[str, Finding]]:
    """Yield the name and the finding of each check, one by one."""
    use_dedicated_connection()  # the pool would retry and log each failure; one error is enough
    unsound = set()
    for check in CHECKS:
        finding = warning(f"needs {NEEDS[check].__name__}", "") if NEEDS.get(check) in unsound else _made(check)
        if finding.verdict is Verdict.FAILED or NEEDS.get(check) in unsound:
            unsound.add(check)
        yield check.__name__.replace("_", " "), finding


def _made(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # each driver has errors of its own, and the other checks must still run
        said = str(error).strip().splitlines()
        return failed(f"{type(error).__name__}: {said[0] if said else ''}", ADVICE.get(check, ""))
