"""The services that the tests use behave as their names say."""

import os
import signal
import subprocess
import sys
import tempfile

import psutil
import psycopg
import pytest

from tests.chaos.environment import postgres_database
from tests.services import Postgres, wait_until


@pytest.fixture(scope="module")
def database():
    with postgres_database() as (service, _):
        yield service


def test_it_restarts_after_a_stop_or_a_kill(database: Postgres):
    database.execute("CREATE TABLE kept (id int)")
    for end in (database.stop, lambda: database.stop(signal.SIGQUIT), database.kill):
        end()
        assert database.pids == []
        database.start()
        database.execute("SELECT * FROM kept")


def test_it_answers_nothing_while_frozen(database: Postgres):
    database.freeze()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database.url, connect_timeout=2)
    database.thaw()
    database.execute("SELECT 1")


def test_it_keeps_databases_apart(database: Postgres):
    url = database.create_database("other")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("other",)
    database.drop_database("other")


@pytest.fixture
def public_folder():
    """Yield a folder for files that a killed run cannot remove; PostgreSQL's user cannot read `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield folder


# Not a shell's sleep: a shell that is interrupted before it has started `sleep` still waits for it.
SLEEP = "import time; print('up', flush=True); time.sleep(60)"


@pytest.mark.parametrize("end", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_services_end_with_the_test_run(end: signal.Signals, public_folder: str):
    command = [sys.executable, "-m", "tests.services", sys.executable, "-c", SLEEP]
    environment = os.environ | {"TMPDIR": public_folder}
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    assert run.stdout.readline() == b"up\n"
    services = psutil.Process(run.pid).children()[:2]
    assert [service.name() for service in services] == ["postgres", "redis-server"]
    os.killpg(run.pid, end)  # like Ctrl-C: the whole group at once
    wait_until(lambda: not any(map(psutil.Process.is_running, services)), what="their end")
