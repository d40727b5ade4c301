"""Checks of this installation. Each check is a function that returns a verdict and advice."""

import asyncio
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit

import redis
from django.apps import apps
from django.conf import settings
from django.core.checks import ERROR, CheckMessage, run_checks
from django.db import Error as DatabaseFailure
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from robots.models import Robot
from robots.redis_cache import redis_cache
from teleop.background.models import Job
from teleop.ingest.presence import is_work_left
from teleop.ingest.transactions import use_dedicated_connection
from teleop.monitoring import redis_probe
from teleop.monitoring.database import Problem, all_needs, connection_problem, problem
from teleop.monitoring.disk_reserve import shortage
from teleop.monitoring.storage import folders, measure

MIN_FILES = 4096  # one socket for each robot, watcher and request
MIN_FREE_BYTES = 5 * 10**9
MIN_DAYS = 7
MAX_CLOCK_S = 1.0
OLDEST_POSTGRESQL = 150000
REDIS_TIMEOUT_S = 2
READABLE = {"teleop.E002", "teleop.E005"}  # with these findings the other checks can still read the database
SET_BY_HTTPS = {"security.W004", "security.W008", "security.W012", "security.W016"}


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(NamedTuple):
    """`id` is that of a system check: SILENCED_SYSTEM_CHECKS can contain it, and docs/deploy.md lists all of them."""

    verdict: Verdict
    what: str
    advice: str = ""
    id: str = ""


def ok(what: str) -> Finding:
    return Finding(Verdict.OK, what)


def warning(id: str, what: str, advice: str) -> Finding:
    return Finding(Verdict.WARNING, what, advice, id)


def failed(id: str, what: str, advice: str) -> Finding:
    return Finding(Verdict.FAILED, what, advice, id)


def failed_by(found: Problem) -> Finding:
    return failed(found.id, found.what, found.cure)


def database() -> Finding:
    try:
        connection.ensure_connection()
        if found := problem(connection, all_needs()):
            return failed_by(found)
    except DatabaseFailure as error:
        return failed_by(connection_problem(error))
    if connection.vendor == "sqlite":
        file = connection.settings_dict["NAME"]
        backup = f"its newest frames are in {file}-wal, so copy it by sqlite3 {file} '.backup COPY', not by cp"
        return ok(f"SQLite {sqlite3.sqlite_version} at {file}; {backup}")
    version = connection.pg_version
    if version < OLDEST_POSTGRESQL:
        return failed("teleop.E003", f"PostgreSQL {version // 10000}", "upgrade to PostgreSQL 15 or later")
    return ok(f"PostgreSQL {version // 10000}")


def commits() -> Finding:
    """Check that commits are durable: an ack says that the frame survives a power cut."""
    if connection.vendor == "sqlite":
        return ok("commits are durable: WAL, synchronous=FULL")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off'")
        off = [name for (name,) in cursor.fetchall()]
    if off:
        return failed("teleop.E006", f"{' and '.join(off)} off: a power failure loses acknowledged frames", "turn on")
    return ok("commits are durable: fsync and synchronous_commit are on")


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return failed(
            "teleop.E007",
            f"{len(missing)} are not applied, the first is {missing[0][0]}",
            "run python manage.py migrate",
        )
    return ok("all are applied")


def channel_layer() -> Finding:
    if not settings.REDIS_URL:
        return warning("teleop.W008", "REDIS_URL is empty: one worker only", "set it to run serve --workers")
    timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, **timeouts) as client:
            redis_probe.send_and_receive(client, REDIS_TIMEOUT_S)
    except redis.RedisError as error:
        return failed("teleop.E009", redis_probe.problem(error), "check REDIS_URL, and that Redis runs")
    return ok(f"Redis at {urlsplit(settings.REDIS_URL).hostname} carries messages")


def counters() -> Finding:
    """Check that Redis takes the counters of all workers. Messages pass even if its memory is full."""
    if not settings.REDIS_URL:
        return ok("in this process's memory")
    try:
        redis_cache(settings.REDIS_URL).set("doctor", 1, 1)
    except redis.RedisError as error:
        advice = "each process counts by itself; raise maxmemory, and allow the user +@write and ~:1:*"
        return warning("teleop.W010", redis_probe.problem(error), advice)
    return ok("in Redis, for all processes together")


def event_loop() -> Finding:
    import uvloop

    asyncio.Runner(loop_factory=uvloop.new_event_loop).close()
    return ok(f"uvloop {uvloop.__version__}")


def websockets() -> Finding:
    from autobahn.websocket import utf8validator

    if utf8validator.Utf8Validator.__module__.startswith("autobahn.nvx"):
        return ok("autobahn uses its C code (NVX)")
    return warning(
        "teleop.W012", "autobahn does not use its C code (NVX): large messages are slower", "unset AUTOBAHN_USE_NVX"
    )


def ffmpeg() -> Finding:
    """Report the FFmpeg version that probes uploads. It is inside the wheel of av, which pip-audit does not scan."""
    import av

    return ok(f"FFmpeg {av.ffmpeg_version_info} in av {av.__version__}")


def limits() -> Finding:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < MIN_FILES:
        return warning(
            "teleop.W014", f"{files} open files per process", f"set LimitNOFILE= or ulimit -n to {MIN_FILES} or more"
        )
    return ok(f"{files} open files per process")


def clocks() -> Finding:
    with connection.cursor() as cursor:
        began = time.time()
        if connection.vendor == "sqlite":
            return ok("the database uses this machine's clock")
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        apart = float(cursor.fetchone()[0]) - (began + time.time()) / 2
    if abs(apart) > MAX_CLOCK_S:
        return warning(
            "teleop.W015", f"the database's clock differs by {apart:+.1f} s from this machine's", "run NTP on both"
        )
    return ok(f"the database's clock differs from this machine's by {apart * 1000:+.0f} ms")


def disk() -> Finding:
    closed = [str(folder) for folder in folders().values() if not os.access(folder, os.W_OK)]
    if closed:
        return failed("teleop.E016", f"{closed[0]} is not writable", "make the user of this process its owner")
    stored = measure()
    least, days = min(stored.free.values()), stored.days_left
    room = f"{least / 1e9:.0f} GB free" + ("" if days is None else f", full in {days:.0f} days at this week's growth")
    reason = shortage()
    if reason or least < MIN_FREE_BYTES or (days is not None and days < MIN_DAYS):
        stopped = f"{room}; uploads, posters, proxies and exports are stopped: {reason}" if reason else room
        return warning("teleop.W017", stopped, "run python manage.py prune, or use a larger disk")
    return ok(room)


def keys() -> Finding:
    if settings.ROBOT_AUTH == "open":
        return ok("ROBOT_AUTH is open: robots need none")
    without = Robot.objects.filter(key_hash="").count()
    if without:
        return warning(
            "teleop.W018", f"{without} robots have no key and cannot connect", "run python manage.py robot_key ID"
        )
    return ok(f"{Robot.objects.count()} robots, each with its own key")


def background_work() -> Finding:
    failed_jobs = Job.objects.failed().count()
    if settings.BACKGROUND_WORK == "separate" and is_work_left() and not Job.objects.exclude(holder="").exists():
        return warning("teleop.W020", "work is due, and no process does it", "run python manage.py background")
    if failed_jobs:
        return warning("teleop.W021", f"{failed_jobs} jobs have failed", "look at Jobs in the admin, or at /jobs")
    return ok("no job has failed")


def exports() -> Finding:
    """Check for failed exports, and for expired ones that nothing deletes: `prune` runs once a day."""
    every = apps.get_model("datasets", "Export").objects
    failed_exports, expired = every.failed().count(), every.expired(timedelta(days=2)).count()
    if expired:
        advice = "run python manage.py prune --expired-exports every day"
        return warning("teleop.W022", f"{expired} exports expired more than two days ago", advice)
    if failed_exports:
        return warning("teleop.W023", f"{failed_exports} exports have failed", "look at Exports in the admin")
    return ok("none has failed or expired")


CHECKS: list[Callable[[], Finding]] = [
    database, commits, migrations, channel_layer, counters, event_loop, websockets, ffmpeg, limits, clocks, disk, keys,
    background_work, exports,
]  # fmt: skip
NEEDS = {
    commits: database,
    migrations: database,
    clocks: database,
    disk: migrations,
    keys: migrations,
    background_work: migrations,
    exports: migrations,
}


def examine() -> Iterator[tuple[str, Finding]]:
    """Yield the name and the finding of each check, one by one, and then the findings of Django's system checks."""
    use_dedicated_connection()  # the pool would retry and log each failure; one error is enough
    unsound = set()
    for check in CHECKS:
        needed = NEEDS.get(check)
        finding = warning("teleop.W000", f"needs {needed.__name__}", "") if needed in unsound else _made(check)
        if (finding.verdict is Verdict.FAILED and finding.id not in READABLE) or needed in unsound:
            unsound.add(check)
        if finding.id not in settings.SILENCED_SYSTEM_CHECKS:
            yield check.__name__.replace("_", " "), finding
    for finding in system_checks():
        yield "settings", finding


def system_checks() -> list[Finding]:
    """Return the findings of `manage.py check --deploy`: our own checks of the settings are among them."""
    messages = [message for message in run_checks(include_deployment_checks=True) if not message.is_silenced()]
    findings = [_of_message(message) for message in sorted(messages, key=lambda message: message.id)]
    return findings or [ok("check --deploy finds no problem")]


def _of_message(message: CheckMessage) -> Finding:
    verdict = Verdict.FAILED if message.level >= ERROR else Verdict.WARNING
    advice = message.hint or ("set HTTPS=1" if message.id in SET_BY_HTTPS else "")
    return Finding(verdict, _one_line(message.msg), _one_line(advice), message.id)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _made(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # each driver has errors of its own, and the other checks must still run
        return failed("teleop.E000", f"{type(error).__name__}: {_one_line(error)}", "")
