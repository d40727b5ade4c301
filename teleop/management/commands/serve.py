import os
import tempfile
import time
from contextlib import suppress
from functools import partial
from ipaddress import ip_address

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.utils import autoreload

from robots.management.base import FormatCheckedCommand
from robots.storage_format import UnsupportedFormat, read_format, require_supported
from teleop.monitoring.database import Problem, all_needs, connection_problem, limit_requests, problem
from teleop.server.supervisor import Supervisor, bind, run_worker, url

RETRY_S = 1
REMIND_S = 30
REDIS_TIMEOUT_S = 2


class Command(FormatCheckedCommand):
    help = "Runs the server: Daphne on uvloop, one process or --workers N of them on one port."
    needs_database = False  # it waits for a database that is not reachable yet

    def add_arguments(self, parser):
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 selects a free port and prints it")
        parser.add_argument("--workers", type=int, default=1)
        parser.add_argument("--reload", action="store_true", help="restart when a file changes (for development)")

    def execute(self, *args, **options):
        """Execute; with several workers, set a folder for their counters before any import of prometheus-client."""
        if options["workers"] == 1:
            return super().execute(*args, **options)
        with tempfile.TemporaryDirectory(prefix="teleop-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            try:
                return super().execute(*args, **options)
            finally:
                del os.environ["PROMETHEUS_MULTIPROC_DIR"]  # the caller of the command must not use this folder

    def handle(self, *args, host, port, workers, reload, **options):
        if not 0 <= port <= 65535:
            raise CommandError(f"--port is {port}; 0 to 65535 expected")
        if not 1 <= workers <= 64:
            raise CommandError(f"--workers is {workers}; 1 to 64 expected")
        if workers > 1 and not settings.REDIS_URL:
            raise CommandError(
                f"--workers is {workers} and REDIS_URL is empty; set REDIS_URL: workers use Redis to notify each other "
                "of sessions that were taken over, keys that were replaced and connections that must end"
            )
        if workers > 1 and reload:
            raise CommandError(f"--workers is {workers}; 1 expected with --reload")
        # This fails if another server has the port. A shared bind would silently divide the connections.
        with bind(host, port) as bound:
            check_open(bound.getsockname()[0])
        check_media()
        self.wait_for_database(connections["default"])
        if settings.REDIS_URL:
            self.check_redis()
        if reload:
            autoreload.run_with_reloader(self.serve, host, port, signal_handlers=False)
        elif workers == 1:
            self.serve(host, port)
        else:
            Supervisor(bind(host, port, shared=True), workers, self.stdout).run()

    def serve(self, host, port, signal_handlers=True):
        listening = bind(host, port)
        run_worker(listening, partial(self.announce, url(listening)), signal_handlers)

    def wait_for_database(self, database: BaseDatabaseWrapper) -> None:
        """Return when the database can be used. Report an outage and wait; only a wrong setting ends the command."""
        reported, reported_at = None, 0.0
        while outage := check_database(database):
            now = time.monotonic()
            if outage != reported or now - reported_at > REMIND_S:
                reported, reported_at = outage, now
                self.stderr.write(f"waiting for the database of DATABASE_URL: {outage}")
            time.sleep(RETRY_S)

    def check_redis(self) -> None:
        """Refuse a Redis that answers and does not carry messages. Without an answer, `serve` starts: it reconnects."""
        import redis  # here, because its import takes 0.1 s, and `serve` may need none of it

        from teleop.monitoring import redis_probe

        timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
        try:
            with redis.Redis.from_url(settings.REDIS_URL, **timeouts) as client:
                redis_probe.send_and_receive(client, REDIS_TIMEOUT_S)
        except redis.RedisError as error:
            if redis_probe.is_wrong_setting(error):
                raise CommandError(f"the Redis of REDIS_URL cannot be used: {redis_probe.problem(error)}") from None
            self.stderr.write(f"starting without the Redis of REDIS_URL: {redis_probe.problem(error)}")

    def announce(self, address: str) -> None:
        self.stdout.write(f"serving on {address}")
        self.stdout.flush()


def check_open(address: str) -> None:
    """Refuse to serve without keys on a reachable address, unless a second setting says that this is intended."""
    if settings.ROBOT_AUTH != "open" or settings.ROBOT_AUTH_OPEN_ANYWHERE:
        return
    is_local = ip_address(address.partition("%")[0]).is_loopback
    where = "ALLOWED_HOSTS is *" if "*" in settings.ALLOWED_HOSTS else "" if is_local else f"the address is {address}"
    if where:
        raise CommandError(
            f"ROBOT_AUTH is open and {where}: anyone could read all data and stream. Set ROBOT_AUTH=key or, on a "
            "closed network, ROBOT_AUTH_OPEN_ANYWHERE=1"
        )


def check_database(database: BaseDatabaseWrapper) -> Problem | None:
    """Return a problem that may pass by itself; raise CommandError for one that would fail each robot for ever.

    A newer schema is fine: migrations only add. The connection is a copy without a pool, whose threads would not
    survive the fork, and has the options of requests, which PgBouncer may refuse.
    """
    own = database.copy()
    options = own.settings_dict["OPTIONS"]
    options.pop("pool", None)
    if own.vendor == "postgresql":
        limit_requests(options)
    elif own.settings_dict["NAME"] == ":memory:":
        raise CommandError("DATABASE_URL names a database in memory; sqlite:///FILE or postgresql://... expected")
    connections[database.alias] = own  # where Django reads the applied migrations
    try:
        own.ensure_connection()
        found = problem(own, all_needs())
        if found is None:
            require_supported(read_format(own))
            missing = unapplied_migrations(own)
    except UnsupportedFormat as error:
        raise CommandError(str(error)) from None
    except (DatabaseFailure, ImproperlyConfigured) as error:
        found = connection_problem(error)
    finally:
        own.close()
        connections[database.alias] = database
    if found and not found.is_temporary:
        raise CommandError(f"the database of DATABASE_URL cannot be used: {found}")
    if found:
        return found
    if missing:
        raise CommandError(
            f"{len(missing)} migrations are not applied, the first is {missing[0][0]}; run python manage.py migrate"
        )
    return None


def unapplied_migrations(database: BaseDatabaseWrapper) -> list[tuple[Migration, bool]]:
    executor = MigrationExecutor(database)
    return executor.migration_plan(executor.loader.graph.leaf_nodes())


def check_media() -> None:
    folder = settings.MEDIA_ROOT
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise CommandError(f"MEDIA_ROOT is {folder}; a folder that this user can write to expected")
