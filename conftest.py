"""Fixtures for the tests of every app. `make test` runs them on SQLite and on PostgreSQL, `pytest` on SQLite."""

import atexit
import gc
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import hypothesis
import pytest

gc.disable()  # until all tests are collected, of which little is garbage: a fifth of the CPU of collection

from tests.services import Server, memory_folder, redis

# The settings read this, here and in each server that a test starts.
folder = tempfile.TemporaryDirectory(prefix="teleop-tests-", dir=memory_folder(), ignore_cleanup_errors=True)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder.name}/db.sqlite3")
os.environ.setdefault("TESTS_FOLDER", folder.name)  # of the run: each process of xdist has its own `folder` too
os.chmod(folder.name, 0o711)  # PostgreSQL, as another user, reads a cluster in it
os.environ |= {"SECRET_KEY": "tests", "DEBUG": "0", "MEDIA_ROOT": f"{folder.name}/media"}
os.environ["TELEOP_SPOOL_DIR"] = f"{folder.name}/spools"  # of the robots' client

# These imports come after the environment is set: they read the settings, which read the environment.
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import DatabaseError, connection, transaction
from django.test import TransactionTestCase

Server.is_forked = True  # a start takes a third of the CPU; tests/test_serve.py starts servers as users do
settings.WHITENOISE_AUTOREFRESH = True  # otherwise each test client reads the heads of all static files
PBKDF2PasswordHasher.iterations = 1000  # Django's million takes a second a password
settings.MEDIA_ROOT = os.environ["MEDIA_ROOT"]  # a process of xdist read its settings before this file
if settings.REDIS_URL and "PYTEST_XDIST_WORKER" in os.environ:
    # Each xdist process has its own database. Redis delivers a message to every subscriber: with one shared Redis the
    # processes would receive messages about each other's robots, which have the same names.
    own = ExitStack()
    atexit.register(own.close)
    os.environ["REDIS_URL"] = settings.REDIS_URL = own.enter_context(redis()).url
    settings.CACHES["default"]["LOCATION"] = settings.REDIS_URL
    settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]["address"] = settings.REDIS_URL
database = settings.DATABASES["default"]
if "sqlite3" in database["ENGINE"]:  # Django's default is in memory; a server cannot open it
    database.setdefault("TEST", {})["NAME"] = str(Path(database["NAME"]).with_name("test.sqlite3"))

# A busy machine is no failure. A change is judged by the same examples each time; `make test-all` draws new ones.
hypothesis.settings.register_profile("same", deadline=None, max_examples=33, derandomize=True)
hypothesis.settings.register_profile("new", deadline=None)
hypothesis.settings.load_profile("same")

FILLED_BY_MIGRATIONS = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"}
HAVE_LONG_FILES = ("tests", "loadtest", "videos", "client")
available = {
    "sqlite": connection.vendor == "sqlite",
    "postgresql": connection.vendor == "postgresql",
    "redis": bool(settings.REDIS_URL),
}


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before `-m` selects, and after pytest-django has sorted
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark the tests that use the database: they run on SQLite and on PostgreSQL. Put the long files first."""
    for item in items:
        fixtures, cls = getattr(item, "fixturenames", ()), getattr(item, "cls", None)
        if item.get_closest_marker("django_db") or "django_db_setup" in fixtures or _is_database_test(cls):
            item.add_marker("database")
    yield
    # Files of seconds come first and files of few tests last, so that no process of xdist waits for another one.
    tests_of = Counter(item.path for item in items)

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(config.rootpath).parts[0]
        return -len(items) if folder in HAVE_LONG_FILES else -tests_of[item.path]

    items.sort(key=place)


def pytest_collection_finish() -> None:
    gc.freeze()  # all that collection has made stays; scanning it again and again took a twentieth of the CPU
    gc.set_threshold(20_000)  # the default, 700, takes 4 % of the CPU
    gc.enable()


def _is_database_test(cls: type | None) -> bool:
    return bool(cls) and issubclass(cls, TransactionTestCase)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for service, is_there in available.items():
        if item.get_closest_marker(service) and not is_there:
            pytest.fail(f"needs {service}, which this run has not: `make test` runs it", pytrace=False)


def delete_rows(case: TransactionTestCase) -> None:
    """Delete the rows of a test, but not those of the migrations.

    Django's flush would truncate all tables, and then make all permissions again: 0.1 s of CPU a test.
    """
    for tries_left in (2, 1, 0):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                for statement in _deletions():
                    cursor.execute(statement)
            return
        except DatabaseError:  # a server that still writes may lock a row, or add one that refers to a deleted row
            if not tries_left:
                raise


@cache
def _deletions() -> list[str]:
    """Return the statements for `delete_rows`. PostgreSQL takes all in one string, which is five times as fast."""
    tables = connection.introspection.django_table_names(include_views=False)
    statements = [f'DELETE FROM "{table}"' for table in tables if table not in FILLED_BY_MIGRATIONS]
    statements.append("DELETE FROM auth_group WHERE name NOT IN ('viewer', 'curator')")
    return ["; ".join(statements)] if available["postgresql"] else statements


TransactionTestCase._fixture_teardown = delete_rows


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Close /health's own connection at the end, which would keep PostgreSQL from dropping the tests' database."""
    yield
    from teleop.monitoring.health import database_connection

    database_connection().close()


@pytest.fixture(scope="session")
def database_url(django_db_setup: None) -> str:
    """Return DATABASE_URL with the name of the test database in place of its own."""
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{Path(connection.settings_dict['NAME']).name}"


@pytest.fixture(scope="session")
def _server(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), DATABASE_URL=database_url) as server:
        yield server


@pytest.fixture
def server(_server: Server, transactional_db: None) -> Iterator[Server]:
    """Yield `manage.py serve` on the tests' database: one process for all tests, and a new one if a test ended it."""
    if not _server.pids:
        _server.start()
    before = len(_server.output())
    yield _server
    print(_server.output()[before:])  # pytest shows it if the test failed


@pytest.fixture
def start_server(transactional_db: None, database_url: str, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Yield a function: `start_server("--workers", "2", INGEST_WRITER="bulk_create")` runs one until the test ends."""
    servers = []

    def start(*options: str, **environment: str) -> Server:
        servers.append(Server(tmp_path, *options, **{"DATABASE_URL": database_url} | environment))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()
        print(server.output())
