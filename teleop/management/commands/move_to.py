import time

import dj_database_url
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from django.db import connection, connections

from robots.management.base import FormatCheckedCommand
from robots.storage_format import UnsupportedFormat, check_format
from teleop import database_copy
from teleop.frames import row_copy
from teleop.models import TeleopSession

PROGRESS_S = 2


class Command(FormatCheckedCommand):
    help = """Copies everything from SQLite (DATABASE_URL) to an empty PostgreSQL, and compares the two row by row.

    Stop the server first. Ended at any moment, the same command goes on where it was. Videos stay in MEDIA_ROOT."""

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
            raise CommandError(f"{error}; the same command goes on from here") from error
        if different:
            raise CommandError(f"not the same in both: {', '.join(different)}; did a server write meanwhile?")
        seconds = time.monotonic() - began
        self.stdout.write(
            f"moved {row_copy.count(database_copy.SOURCE)} frames and all else in {seconds:.0f} s; both are the same"
        )
        self.stdout.write("DATABASE_URL may name the new one now")

    def connect(self, url: str) -> None:
        if connection.vendor != "sqlite":
            raise CommandError(f"DATABASE_URL is for {connection.vendor}; a SQLite file to move from expected")
        if not url.startswith(("postgresql://", "postgres://")):
            raise CommandError(f"{url.partition(':')[0]} is no place to move to; postgresql://... expected")
        if TeleopSession.objects.live().exclude(pk__in=TeleopSession.objects.stale()).exists():
            raise CommandError("sessions are live; stop the server first, so that nothing comes in meanwhile")
        connections.databases[database_copy.TARGET] = connections["default"].settings_dict | {
            "OPTIONS": {},
            **dj_database_url.parse(url),
        }
        try:
            check_format(connections[database_copy.TARGET], name="the target")
            connections[database_copy.TARGET].ensure_connection()
        except UnsupportedFormat as error:
            raise CommandError(str(error)) from None
        except DatabaseFailure as error:
            raise CommandError(f"the target does not answer: {error}") from None

    def copy_frames(self) -> None:
        total, done, said = row_copy.count(database_copy.SOURCE), 0, 0.0

        def progress(count: int) -> None:
            nonlocal done, said
            done += count
            if time.monotonic() - said > PROGRESS_S:
                said = time.monotonic()
                self.stdout.write(f"{done} of {total} frames")

        row_copy.copy(database_copy.SOURCE, database_copy.TARGET, progress)
