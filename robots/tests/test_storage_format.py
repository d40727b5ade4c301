"""The storage format: no command of this code touches a database that later code has written to."""

import os
import sqlite3
import subprocess
import sys
import threading
from argparse import ArgumentParser
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import ConnectionHandler, IntegrityError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from robots.models import StorageFormat
from robots.storage_format import SUPPORTED, UnsupportedFormat, check_format, stored_format

SENTENCE = (
    "the database of DATABASE_URL has storage format 2 and this code supports formats up to 1: run the newer code "
    "again, or restore a backup from before its migrations (docs/deploy.md)"
)
OURS = [config.name for config in apps.get_app_configs() if Path(config.path).parent == settings.BASE_DIR]
# `migrate` of earlier code finds nothing to apply, and changes nothing.
COMMANDS = sorted(name for name, app in get_commands().items() if app in OURS and name != "migrate")


def store(number: int) -> None:
    StorageFormat.objects.update_or_create(pk=1, defaults={"number": number})


def defaults(parser: ArgumentParser) -> dict:
    """Return the command's options as if nothing was given, required arguments included."""
    for action in parser._actions:
        action.required = False
    for group in parser._mutually_exclusive_groups:
        group.required = False
        if not action.option_strings:
            action.nargs = "?"
    return vars(parser.parse_args([]))


def execute(name: str) -> Mock:
    """Execute the command, with a mock in place of its work."""
    command = load_command_class(get_commands()[name], name)
    command.handle = Mock(return_value=None)
    command.check = Mock()
    command.execute(**defaults(command.create_parser("manage.py", name)))
    return command.handle


def manage(*command: str, **environment: str) -> subprocess.CompletedProcess:
    arguments = [sys.executable, "manage.py", *command]
    return subprocess.run(
        arguments, cwd=settings.BASE_DIR, env=os.environ | environment, capture_output=True, text=True, timeout=50
    )


def test_it_finds_the_commands():
    assert len(COMMANDS) >= 9
    assert {"serve", "robot_key", "clean_media", "loadtest"} <= set(COMMANDS)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", COMMANDS)
def test_it_refuses_a_later_format_in_every_command(name: str):
    store(SUPPORTED + 1)
    with pytest.raises(CommandError) as refused:
        execute(name)
    assert str(refused.value) == SENTENCE


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", COMMANDS)
def test_it_runs_every_command_on_its_own_format(name: str):
    store(SUPPORTED)
    execute(name).assert_called_once()


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_it_reports_the_refusal_in_one_line():
    """`serve --workers` checks before it forks: it replaces a worker that ends, so the command would not return."""
    store(SUPPORTED + 1)
    end = manage("serve", "--workers", "2", DATABASE_URL=database_url(), REDIS_URL="redis://127.0.0.1:1/0")
    assert (end.returncode, end.stdout, end.stderr) == (1, "", f"CommandError: {SENTENCE}\n")


@pytest.mark.django_db(transaction=True)
def test_it_accepts_an_empty_format_table():
    StorageFormat.objects.all().delete()
    check_format(connection)
    assert stored_format(connection) is None


@pytest.mark.django_db
def test_it_allows_only_one_format_row():
    with pytest.raises(IntegrityError), transaction.atomic():
        StorageFormat.objects.create(pk=2, number=1)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_it_stops_the_threads_of_the_connection_pool():
    """Threads would not outlive the fork of `serve --workers`, and a worker would wait for them for ever."""
    pooled = connection.copy("pooled")
    pooled.settings_dict["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 2}}
    before = threading.enumerate()
    check_format(pooled)
    assert threading.enumerate() == before


def sqlite(file: Path) -> BaseDatabaseWrapper:
    return ConnectionHandler({"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}})["default"]


@pytest.mark.once
@pytest.mark.django_db
def test_it_returns_no_format_for_an_unmigrated_database(tmp_path: Path):
    (tmp_path / "empty.sqlite3").touch()
    assert stored_format(sqlite(tmp_path / "empty.sqlite3")) is None


@pytest.mark.once
@pytest.mark.django_db
def test_it_does_not_create_a_missing_sqlite_file(tmp_path: Path):
    assert stored_format(sqlite(tmp_path / "none.sqlite3")) is None
    assert not (tmp_path / "none.sqlite3").exists()


THERE_AND_BACK = """
from django.core.management import call_command
from django.db import connection
from robots.storage_format import stored_format

for target in (["robots"], ["robots", "0002"], ["robots"]):
    call_command("migrate", *target, verbosity=0)
    print(stored_format(connection))
"""


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.long
def test_its_migration_can_be_reversed_and_reapplied(tmp_path: Path):
    file = tmp_path / "db.sqlite3"
    end = manage("shell", "--no-imports", "-c", THERE_AND_BACK, DATABASE_URL=f"sqlite:///{file}")
    assert (end.returncode, end.stdout, end.stderr) == (0, f"{SUPPORTED}\nNone\n{SUPPORTED}\n", "")
    with closing(sqlite3.connect(file)) as later, later:
        later.execute("UPDATE robots_storageformat SET number = 2")
    end = manage("migrate", "robots", "0002", "--verbosity", "0", DATABASE_URL=f"sqlite:///{file}")
    assert (end.returncode, end.stderr.count("\n")) == (1, 1)
    assert stored_format(sqlite(file)) == SUPPORTED + 1


@pytest.mark.once
def test_it_reports_an_unreachable_database_in_one_line():
    end = manage("prune", "--older-than", "1d", DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert (end.returncode, end.stdout, end.stderr.count("\n")) == (1, "", 1)
    assert end.stderr.startswith("CommandError: the database of DATABASE_URL cannot be used: ")


@pytest.mark.once
@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("prune", "the database of DATABASE_URL cannot be used: it is away"),
        ("simulate", "--robots is 0; 1 to 1000 expected"),
        ("loadtest", "--robots is '0'; whole numbers from 1 to 1000 expected"),
    ],
)
def test_it_checks_the_database_only_for_commands_that_use_it(command: str, printed: str, monkeypatch):
    monkeypatch.setattr("robots.management.base.check_format", Mock(side_effect=OperationalError("it is away")))
    options = ["--older-than", "1d"] if command == "prune" else ["--robots", "0"]
    with pytest.raises(CommandError) as refused:
        call_command(command, *options)
    assert str(refused.value).startswith(printed)


def test_it_names_the_refused_database(monkeypatch):
    monkeypatch.setattr("robots.storage_format.stored_format", lambda database: 7)
    with pytest.raises(UnsupportedFormat, match=r"^the target has storage format 7 and this code supports .* up to 1:"):
        check_format(connection, name="the target")


def database_url() -> str:
    """Return DATABASE_URL with the name of the test database in place of its own."""
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{Path(connection.settings_dict['NAME']).name}"
