import os
import tempfile
from contextlib import suppress
from functools import partial
from ipaddress import ip_address

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.utils import autoreload

from robots.management.base import FormatCheckedCommand
from teleop.server.supervisor import Supervisor, bind, run_worker, url


class Command(FormatCheckedCommand):
    help = "Runs the server: Daphne on uvloop, one process or --workers N of them on one port."

    def add_arguments(self, parser):
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 takes a free one, and says which")
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
                f"--workers is {workers} and REDIS_URL is empty: without Redis a worker cannot tell the others that a "
                "robot's session was taken over, its key replaced or its connection ended"
            )
        if workers > 1 and reload:
            raise CommandError("--reload serves with one worker")
        # This fails if another server has the port. A shared bind would silently divide the connections.
        with bind(host, port) as bound:
            check_open(bound.getsockname()[0])
        check_database(connections["default"])
        check_media()
        if reload:
            autoreload.run_with_reloader(self.serve, host, port, signal_handlers=False)
        elif workers == 1:
            self.serve(host, port)
        else:
            Supervisor(bind(host, port, shared=True), workers, self.stdout).run()

    def serve(self, host, port, signal_handlers=True):
        listening = bind(host, port)
        run_worker(listening, partial(self.announce, url(listening)), signal_handlers)

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
            f"ROBOT_AUTH is open and {where}: anybody could read everything and stream. Set ROBOT_AUTH=key; or, on a "
            "closed network, ROBOT_AUTH_OPEN_ANYWHERE=1"
        )


def check_database(database: BaseDatabaseWrapper) -> None:
    """Fail here if the database would fail for each robot. A newer schema is fine: migrations only add."""
    options = database.settings_dict["OPTIONS"]
    pool = options.pop("pool", None)  # its threads would not survive the fork, and a worker would wait for them forever
    try:
        executor = MigrationExecutor(database)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseFailure as error:
        said = str(error).strip().splitlines()[0]
        raise CommandError(f"the database of DATABASE_URL cannot be used: {said}") from None
    finally:
        database.close()
        if pool:
            options["pool"] = pool
    if missing:
        raise CommandError(
            f"{len(missing)} migrations are not applied, the first is {missing[0][0]}: python manage.py migrate"
        )


def check_media() -> None:
    folder = settings.MEDIA_ROOT
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise CommandError(f"MEDIA_ROOT is {folder}; a folder that this user may write to expected")
