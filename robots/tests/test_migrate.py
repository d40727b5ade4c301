"""`migrate` that is killed at any moment is continued by the next one."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.db import connection

from tests.services import ROOT

pytestmark = [pytest.mark.postgresql, pytest.mark.long]

KILLED = """
import os
from django.core.management import call_command
from django.db.migrations.executor import MigrationExecutor

record = MigrationExecutor.record_migration

def record_or_die(self, migration):
    if (migration.app_label, migration.name) == ("teleop", "0001_initial"):
        os._exit(9)
    record(self, migration)

MigrationExecutor.record_migration = record_or_die
call_command("migrate", verbosity=0)
"""


@pytest.fixture
def empty(transactional_db) -> Iterator[str]:
    """Return the URL of an empty database."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE interrupted TEMPLATE template0")
        yield f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/interrupted"
        cursor.execute("DROP DATABASE interrupted WITH (FORCE)")


def manage(url: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"DATABASE_URL": url}, capture_output=True, text=True)


def test_it_continues_after_a_kill_before_a_migration_is_recorded(empty: str):
    assert manage(empty, "shell", "--no-imports", "-c", KILLED).returncode == 9
    end = manage(empty, "migrate", "--verbosity", "0")
    assert (end.returncode, end.stderr) == (0, "")
