"""Health of the parts that this process needs. The report is requested every second, so its work is bounded."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connections
from psycopg_pool import PoolTimeout

from teleop.ingest.worker import worker_if_any
from teleop.monitoring import database as requirements
from teleop.monitoring.disk_reserve import shortage

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

FRESH_S = 1
TIMEOUT_S = 1
STUCK_AFTER_S = 10
CONNECTION_AGE_S = 10  # an older session may write although new ones are read-only, or the other way round
COUNTING_S = 60  # the session thread counts the frames of a session that ends, maybe many millions


class Problem(Exception):
    """A short description of a problem that everyone may read."""


class Probe:
    """A check that runs at most once a second, in its own thread, one at a time.

    A part that is frozen blocks one thread, and delays the caller by at most a second in all.
    """

    def __init__(self, check: Callable[[], object]):
        self._check = check
        self._lock = threading.Lock()
        self._result: Future[object] | None = None
        self._started_at = 0.0

    def start(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._result is None or (self._result.done() and now - self._started_at > FRESH_S):
                self._result, self._started_at = Future(), now
                threading.Thread(target=self._run, args=[self._result], daemon=True).start()

    def problem(self) -> str | None:
        """Wait for the check, at most until TIMEOUT_S after its start, and return its problem."""
        left = self._started_at + TIMEOUT_S - time.monotonic()
        return problem_in(self._result, max(0, left))

    def fresh_result(self) -> Future[object] | None:
        """Return the result if the check has finished and is not due again, else None. This never waits."""
        with self._lock:
            is_fresh = time.monotonic() - self._started_at <= FRESH_S
            return self._result if is_fresh and self._result is not None and self._result.done() else None

    def _run(self, result: Future) -> None:
        try:
            result.set_result(self._check())
        except Exception as error:  # each driver has errors of its own
            logger.warning("health: %s: %s", self._check.__name__, error)
            result.set_exception(error)


def problem_in(result: Future[object], timeout_s: float = 0) -> str | None:
    """Return the problem in a few words that everyone may read. The details are in the log."""
    try:
        result.result(timeout_s)
    except TimeoutError:
        return f"no answer within {TIMEOUT_S} s"
    except Problem as problem:
        return str(problem)
    except Exception as error:
        return f"unreachable ({type(error).__name__})"
    return None


@cache
def database_connection():
    """Return one connection outside the pool: a pool in full use does not mean that the database is unreachable."""
    own = connections["default"].copy()
    own.settings_dict["CONN_MAX_AGE"] = CONNECTION_AGE_S
    if own.settings_dict["OPTIONS"].pop("pool", None):
        own.settings_dict["OPTIONS"]["tcp_user_timeout"] = 5000  # ms: a host that failed sends no notice
    own.inc_thread_sharing()
    return own


def check_database() -> None:
    """Ask whether frames can be stored: a database that answers may be read-only, or miss a privilege."""
    connection = database_connection()
    try:
        connection.close_if_unusable_or_obsolete()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if found := requirements.problem(connection, requirements.STORING):
            raise Problem(found.what)
    except Exception:
        connection.close()
        raise


def check_pool() -> None:
    """Take a connection as requests do: a database that answers does not mean that a connection is free."""
    pool = getattr(connections["default"], "pool", None)
    if pool is None:  # with SQLite, or if DATABASE_URL disables the pool
        return
    pool.open()  # as Django does each time; before the first request the pool is closed
    try:
        with pool.connection(timeout=TIMEOUT_S / 2):
            pass
    except PoolTimeout:
        if pool.get_stats().get("pool_size") == pool.max_size:
            raise Problem(f"all {pool.max_size} database connections are in use") from None
        raise


@cache
def redis_client() -> "Redis":
    from redis import Redis

    return Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)


def check_channel_layer() -> None:
    if not settings.REDIS_URL:  # the channel layer is in this process's memory
        return
    from redis import RedisError  # here, because its import takes 0.1 s of each start

    from teleop.monitoring import redis_probe

    try:
        redis_probe.send_and_receive(redis_client(), TIMEOUT_S)
    except RedisError as error:
        if redis_probe.is_wrong_setting(error):
            raise Problem(f"refuses messages ({type(error).__name__})") from error
        raise


def check_disk() -> None:
    if found := shortage():
        raise Problem(f"uploads, posters, proxies and exports are stopped: {found}")


class WriterWatch:
    """A detector for frames that wait while none is stored or refused. Its clock is the commits', time.monotonic()."""

    def __init__(self) -> None:
        self._waiting_since: float | None = None
        self._last_commit_at: float | None = None

    def problem(self, pending_frames: int, last_commit_at: float | None, now: float) -> str | None:
        if not pending_frames:
            self._waiting_since = None
        elif self._waiting_since is None or last_commit_at != self._last_commit_at:
            self._waiting_since, self._last_commit_at = now, last_commit_at
        elif now - self._waiting_since > STUCK_AFTER_S:
            return f"{pending_frames} frames wait; no frame was committed for {now - self._waiting_since:.0f} s"
        return None


database, pool, channel_layer = Probe(check_database), Probe(check_pool), Probe(check_channel_layer)
disk = Probe(check_disk)
writer_watch = WriterWatch()


def problems() -> dict[str, str | None]:
    """Return the problem of each part, or None if the part works. Wait for the checks, TIMEOUT_S at most."""
    for probe in (database, pool, channel_layer, disk):
        probe.start()
    return _with_the_writer(database.problem(), pool.problem(), channel_layer.problem())


def _with_the_writer(database: str | None, requests: str | None, channel_layer: str | None) -> dict[str, str | None]:
    now, worker = time.monotonic(), worker_if_any()
    pending, last_commit_at = (worker.writer.pending_frames, worker.writer.last_commit_at) if worker else (0, None)
    frame_thread, session_thread = (
        (worker.frame_thread.problem(STUCK_AFTER_S), worker.session_thread.problem(COUNTING_S))
        if worker
        else (None, None)
    )
    return {
        "database": database,
        "requests": requests,
        "channel_layer": channel_layer,
        "writer": writer_watch.problem(pending, last_commit_at, now) or frame_thread,
        "sessions": session_thread,
    }


def report() -> dict:
    """Return "ok" or the problem of each part, and the writer's numbers. `detail` names the parts that are down.

    A disk that is nearly full takes no part down: frames can still be stored.
    """
    return _report_of(problems(), disk.problem())


def fresh_report() -> dict | None:
    """Return the same at once, or None if report() would start or await a check."""
    results = [probe.fresh_result() for probe in (database, pool, channel_layer, disk)]
    if not all(results):
        return None
    *checked, disk_problem = map(problem_in, results)
    return _report_of(_with_the_writer(*checked), disk_problem)


def _report_of(found: dict[str, str | None], disk_problem: str | None) -> dict:
    now, worker = time.monotonic(), worker_if_any()
    pending, last_commit_at = (worker.writer.pending_frames, worker.writer.last_commit_at) if worker else (0, None)
    down = "; ".join(f"{part}: {problem}" for part, problem in found.items() if problem)
    return {
        "status": "unavailable" if down else "ok",
        "detail": down,
        "version": settings.VERSION,
        "database": found["database"] or "ok",
        "requests": found["requests"] or "ok",
        "channel_layer": found["channel_layer"] or "ok",
        "sessions": found["sessions"] or "ok",
        "disk": disk_problem or "ok",
        "writer": {
            "status": found["writer"] or "ok",
            "pending_frames": pending,
            "last_commit_s": None if last_commit_at is None else round(now - last_commit_at, 3),
        },
    }
