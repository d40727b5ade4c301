"""`manage.py move_to`: from a SQLite file to a real PostgreSQL, and resuming after an interruption."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import psycopg
import pytest

from tests.chaos.environment import sqlite_file
from tests.services import ROOT, postgres

RECORD = """
from django.contrib.auth.models import Group, User
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
User.objects.create_superuser("eva", password="secret").groups.add(Group.objects.get(name="curator"))
for number in range(3):
    make_session(range(9000), robot=f"arm_{number}", data=lambda index: {"action": {"b": index, "a": "é\\t\\\\N"}})
TeleopSession.objects.update(meta_info={"task": "fold"}, frame_count=9000)
"""


def manage(url: str, *command: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"DATABASE_URL": url}
    arguments = [sys.executable, "manage.py", *command]
    return subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)


@pytest.fixture(scope="module")
def source():
    with sqlite_file() as url:
        assert manage(url, "shell", "-c", RECORD).returncode == 0
        yield url


@pytest.fixture(scope="module")
def service():
    with postgres() as service:
        yield service


@pytest.fixture
def target(service, request):
    return service.create_database(request.node.name.lower())


def test_it_copies_resumes_and_compares(source, target):
    end = manage(source, "move_to", target)
    assert end.returncode == 0, end.stderr
    assert "moved 27000 frames" in end.stdout
    with psycopg.connect(target) as there:
        data = there.execute("SELECT data::text, timestamp FROM teleop_teleopframe ORDER BY id LIMIT 1").fetchone()
        assert data[0] == '{"action":{"b":0,"a":"é\\t\\\\N"}}'
        assert data[1].isoformat() == "2023-12-23T08:00:00+00:00"
        assert there.execute("SELECT nextval(pg_get_serial_sequence('teleop_teleopframe', 'id'))").fetchone() == (
            27001,
        )
        assert there.execute("SELECT nextval(pg_get_serial_sequence('teleop_teleopsession', 'id'))").fetchone() == (4,)
        there.execute("DELETE FROM teleop_teleopframe WHERE id > 12345")
    end = manage(source, "move_to", target)
    assert end.returncode == 0, end.stderr
    with psycopg.connect(target) as there:
        assert there.execute("SELECT count(*), max(id) FROM teleop_teleopframe").fetchone() == (27000, 27000)
        there.execute("UPDATE teleop_teleopframe SET data = '{}' WHERE id = 777")
    end = manage(source, "move_to", target)
    assert end.returncode == 1
    assert "not the same in both: teleop_teleopframe" in end.stderr


def test_it_refuses_a_target_with_other_robots(source, target):
    manage(target, "migrate")
    with psycopg.connect(target) as there:
        columns = "id, status, key_hash, last_error_code, last_error_detail"
        there.execute(f"INSERT INTO robots_robot ({columns}) VALUES ('leg', 'offline', '', '', '')")
    end = manage(source, "move_to", target)
    assert (end.returncode, end.stdout) == (1, "")
    assert "the target holds robots or frames that are not this database's; an empty database expected" in end.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///other.sqlite3", "sqlite is no place to move to; postgresql://... expected"),
        ("postgresql://127.0.0.1:1/none", "the target does not answer"),
    ],
)
def test_it_reports_an_unusable_target(source, url, said):
    end = manage(source, "move_to", url)
    assert end.returncode == 1
    assert said in end.stderr
    assert "Traceback" not in end.stderr


def test_it_copies_the_storage_format_and_refuses_a_later_one(source, target):
    assert manage(source, "move_to", target).returncode == 0
    with psycopg.connect(target) as there:
        assert there.execute("SELECT id, number FROM robots_storageformat").fetchall() == [(1, 1)]
        there.execute("UPDATE robots_storageformat SET number = 2")
    end = manage(source, "move_to", target)
    assert (end.returncode, end.stdout, end.stderr.count("\n")) == (1, "", 1)
    assert "the target has storage format 2 and this code supports formats up to 1" in end.stderr


def test_it_refuses_a_source_of_a_later_format(target):
    with sqlite_file() as url:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute("UPDATE robots_storageformat SET number = 2")
        end = manage(url, "move_to", target)
    assert (end.returncode, end.stdout, end.stderr.count("\n")) == (1, "", 1)
    assert "DATABASE_URL has storage format 2 and this code supports formats up to 1" in end.stderr
    with psycopg.connect(target) as there:
        assert there.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
