from typing import ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseFailure
from django.db import connections

from robots.storage_format import UnsupportedFormat, check_format


class FormatCheckedCommand(BaseCommand):
    """Base class of all commands: it refuses a database with a later storage format before anything else.

    A command that cannot read the format refuses too, as the format may be unsupported when the database is back. With
    `needs_database = False` the command runs even if the database cannot be used.
    """

    needs_database: ClassVar[bool] = True

    def execute(self, *args, **options):
        try:
            check_format(connections["default"])
        except UnsupportedFormat as error:
            raise CommandError(str(error)) from None
        except (DatabaseFailure, ImproperlyConfigured) as error:
            if self.needs_database:
                problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise CommandError(f"the database of DATABASE_URL cannot be used: {problem}") from None
        return super().execute(*args, **options)
