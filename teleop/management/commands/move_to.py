import time

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from django.db import connection, connections

from config.env import database_settings, masked
from robots.management.base import FormatCheckedCommand
from robots.storage_format import UnsupportedFormat, check_format
from teleop import database_copy
from teleop.frames import row_copy
from teleop.models import TeleopSession

PROGRESS_S = 2


class Command(FormatCheckedCommand):
    help = """Copies all data from SQLite (DATABASE_URL) to an empty PostgreSQL, and compares both row by row.

    Stop the server first. After an interruption, run the same command again to continue. Videos stay in MEDIA_ROOT."""

    def add_arguments(self, parser):
        parser.add_argument("url", metavar="postgresql://user:password@host/name")

    def handle(self, *args, url, **options):
        self.connect(url)
        began = time.monotonic()
        try:
            call_command("migrate", database=database_copy.TARGET, verbosity=0)
            database_copy.copy_small_tables()
            self.copy_frames()
            database_copy.set_sequences()
            self.stdout.write("comparing")
            different = list(database_copy.differences())
        except database_copy.NotACopy as error:
            raise CommandError(f"{error}; an empty database expected") from None
        except DatabaseFailure as error:
            raise CommandError(f"{error}; run the same command again to continue") from error
        if different:
            tables = ", ".join(different)
            raise CommandError(f"the databases differ in {tables}; stop all servers, and use a new empty database")
        seconds = time.monotonic() - began
        frames = row_copy.count(database_copy.SOURCE)
        self.stdout.write(f"copied {frames} frames and all other rows in {seconds:.0f} s; both databases are equal")
        self.stdout.write("now set DATABASE_URL to the new database")

    def connect(self, url: str) -> None:
        if connection.vendor != "sqlite":
            raise CommandError(f"DATABASE_URL is for {connection.vendor}; a SQLite file as source expected")
        target = database_of(url)
        if TeleopSession.objects.live().exclude(pk__in=TeleopSession.objects.stale()).exists():
            raise CommandError("sessions are live; stop the server first, so that no data arrives during the copy")
        connections.databases[database_copy.TARGET] = connections["default"].settings_dict | target
        try:
            check_format(connections[database_copy.TARGET], name="the target")
            connections[database_copy.TARGET].ensure_connection()
        except UnsupportedFormat as error:
            raise CommandError(str(error)) from None
        except DatabaseFailure as error:
            raise CommandError(f"cannot connect to the target: {error}") from None

    def copy_frames(self) -> None:
        total, done, printed_at = row_copy.count(database_copy.SOURCE), 0, 0.0

        def progress(count: int) -> None:
            nonlocal done, printed_at
            done += count
            if time.monotonic() - printed_at > PROGRESS_S:
                printed_at = time.monotonic()
                self.stdout.write(f"{done} of {total} frames")

        row_copy.copy(database_copy.SOURCE, database_copy.TARGET, progress)


def database_of(url: str) -> dict:
    """Return Django's settings of the target, or raise CommandError."""
    try:
        target = database_settings(url, settings.BASE_DIR)
    except ValueError as error:
        raise CommandError(f"{masked(url)} cannot be used: {error}") from None
    if not target["ENGINE"].endswith("postgresql"):
        raise CommandError(f"the target URL begins with {url.partition(':')[0]}; postgresql://... expected")
    return target
