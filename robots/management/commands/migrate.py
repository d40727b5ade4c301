from contextlib import nullcontext

from django.core.management.commands import migrate
from django.db import transaction
from django.db.migrations.executor import MigrationExecutor


class Executor(MigrationExecutor):
    """An executor that commits a migration together with its row in django_migrations.

    On PostgreSQL, Django writes the row of a migration with foreign keys after the commit of its tables. If the process
    is killed between the two, each further `migrate` fails, because the tables exist. On SQLite, keys are part of the
    table, and Django commits both at once.
    """

    def apply_migration(self, state, migration, *args, **options):
        is_split = migration.atomic and self.connection.vendor == "postgresql"
        with transaction.atomic(self.connection.alias) if is_split else nullcontext():
            return super().apply_migration(state, migration, *args, **options)


migrate.MigrationExecutor = Executor  # the command offers no other way to choose it


class Command(migrate.Command):
    pass
