"""`manage.py move_to`: from a SQLite file to a real PostgreSQL, and resuming after an interruption."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError

from teleop.management.commands.move_to import database_of
from tests.chaos.environment import postgres_database, sqlite_file
from tests.services import ROOT, wait_until

# Robots whose order depends on the collation, JSON with more than one key, and a row in every table that users fill.
RECORD = """
from datetime import timedelta
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from datasets.models import Export
from robots import audit
from robots.api.tokens import token_of
from robots.models import Robot
from teleop.models import DeletedSession, TeleopSession
from teleop.tests.recordings import make_session
from videos.models import VideoChunk
eva = User.objects.create_superuser("eva", password="secret")
eva.groups.add(Group.objects.get(name="curator"))
token_of(eva, "secret")
SessionStore().save()
LogEntry.objects.log_actions(eva.pk, [eva], 2, change_message=[{"changed": {"fields": ["é"]}}])
numbers = [1e22, 1e23, 1e-7, 0.1, -0.0, 5e-324, 1.7976931348623157e308, 2**70, -(2**63), 1.0, 1, 100]
meta_info = {"task": "Würfel 😀", "robot_type": "so_follower", "a": None, "tags": ["x", "\\u2028", '\\\\"'],
             "": {"z": True, "ab": {}, "é": False}, "numbers": numbers}
quality = {"jerk": 1234.5678901234567, "idle_share": 0.0, "fps_jitter": None, "duration_ratio": 1e300}
for number, robot in enumerate(["arm_A", "Arm-b", "arm.c"]):
    session = make_session(range(400), robot=robot, data=lambda index: {"action": {"b": index, "a": "é\\t\\\\N"}})
    VideoChunk.objects.create(session=session, robot_id=robot, camera_key="front", file_path=f"videos/{number}.mp4",
                              start_timestamp=1703318400.1, end_timestamp=1703318430.2, size=2**40, sha256="0" * 64)
    session.events.create(event_id="5f.0_c-3", kind="mark", timestamp=session.start_time,
                          detail={"note": "é 😀", "numbers": numbers})
    audit.record(audit.person(eva), audit.Action.CHANGED, [session], {"meta_info": [None, meta_info]})
manifest = {"sessions": [{"task": "Würfel 😀", "quality": quality, "a": [None, True, -0.0, 5e-324, -(2**63)]}], "b": {}}
Export.objects.create(name="würfel", format="mcap", manifest=manifest, where="task=Würfel 😀", size_bytes=2**40)
DeletedSession.objects.create(robot_id="arm-d", key="deleted-run")
Robot.objects.update(name="Ärm", meta_info=meta_info, ip_address="2001:DB8::1")
Robot.objects.filter(pk="arm_A").update(ip_address="::ffff:192.0.2.1", meta_info={})
TeleopSession.objects.update(meta_info=meta_info, frame_count=400, staff_labels=["task", "success"], quality=quality,
                             clock_steps=[{"s": -7190.25}], steady_duration=timedelta(seconds=149.983333))
"""


IN_SMALL_BATCHES = """
import sys
import django
from django.core.management import execute_from_command_line
django.setup()
from teleop.frames import row_copy
row_copy.BATCH_ROWS = 1000  # so that 1200 frames take two batches
execute_from_command_line(sys.argv)
"""
MOVE_TO = [sys.executable, "-c", IN_SMALL_BATCHES, "move_to"]
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def move(source: str, target: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"DATABASE_URL": source}
    return subprocess.run([*MOVE_TO, target], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)


@pytest.fixture(scope="module")
def source():
    with sqlite_file() as url:
        environment = os.environ | {"DATABASE_URL": url}
        subprocess.run([sys.executable, "manage.py", "shell", "-c", RECORD], cwd=ROOT, env=environment, check=True)
        yield url


@pytest.fixture(scope="module")
def service():
    with postgres_database() as (service, _):
        yield service


@pytest.fixture
def migrated_target(service, request):
    name = request.node.name.lower()
    service.execute(f"CREATE DATABASE {name} TEMPLATE postgres", "template1")
    return service.database_url(name)


FROM_SQLITE: dict[str, Callable[[Any], Any]] = {
    "timestamp with time zone": lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
    "boolean": bool,
    "interval": lambda microseconds: timedelta(microseconds=microseconds),
    "inet": ip_address,
}


def rows(connection: sqlite3.Connection | psycopg.Connection, table: str, kinds: dict[str, str]) -> dict[Any, list]:
    """Return a table's rows by primary key: JSON with exact numbers, but the JSON of frames as the stored text."""
    convert = FROM_SQLITE if isinstance(connection, sqlite3.Connection) else {}
    convert = convert | {"jsonb": lambda text: json.loads(text, parse_int=Decimal, parse_float=Decimal)}
    columns = [f"CAST({name} AS text)" if kind in ("json", "jsonb") else name for name, kind in kinds.items()]
    key = next(list(kinds).index(name) for name in ("id", "key", "session_key") if name in kinds)
    found = {}
    for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):
        pairs = zip(row, kinds.values(), strict=True)
        found[row[key]] = [
            convert[kind](value) if kind in convert and value is not None else value for value, kind in pairs
        ]
    return found


def check_equal(source: str, target: str) -> None:
    """Compare all tables, but for the dates of migrations, without the code of the command."""
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    types = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
    filled = set()
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as file, psycopg.connect(target) as there:
        for (table,) in there.execute(names).fetchall():
            kinds = {name: kind for name, kind in there.execute(types, [table]).fetchall() if name != "applied"}
            ours, theirs = rows(file, table, kinds), rows(there, table, kinds)
            if table == "django_migrations":  # `migrate` numbers them in another order after an interruption
                ours, theirs = (sorted(row[1:] for row in found.values()) for found in (ours, theirs))
            assert ours == theirs, table
            filled |= {table} if ours else set()
    assert filled >= {
        *("auth_user", "auth_user_groups", "authtoken_token", "django_session", "django_admin_log"),
        *("robots_robot", "robots_auditentry", "teleop_teleopsession", "teleop_teleopframe", "videos_videochunk"),
        *("teleop_teleopevent", "teleop_deletedsession", "datasets_export"),
    }


def progress(there: psycopg.Connection) -> int:
    """Return how many migrations, robots and frames the target has by now; frames come last."""
    count = 0
    for table in ("django_migrations", "robots_robot", "teleop_teleopframe"):
        if there.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
            count += there.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return count


@pytest.mark.long
def test_it_continues_after_a_kill_at_any_moment(source, service):
    """The target orders texts by another collation than SQLite, as most installations of PostgreSQL do."""
    service.execute("CREATE DATABASE killed TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    target = service.database_url("killed")
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as file:
        (migrations,) = file.execute("SELECT count(*) FROM django_migrations").fetchone()
    stages = [-random.Random(7).randrange(migrations), 4, 3 + 1200]  # after the last migration
    with psycopg.connect(target, autocommit=True) as there:
        for moment in (migrations + count for count in stages):
            environment = os.environ | {"DATABASE_URL": source}
            with subprocess.Popen([*MOVE_TO, target], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as copying:
                wait_until(lambda: progress(there) >= moment or copying.poll() is not None, 30)  # noqa: B023
                copying.kill()
            assert copying.returncode in (0, -signal.SIGKILL)
            wait_until(lambda: there.execute(OTHERS).fetchone() == (0,), what="PostgreSQL ends its statement")
    end = move(source, target)
    assert end.returncode == 0, end.stderr
    check_equal(source, target)


def test_it_copies_resumes_and_compares(source, migrated_target):
    target = migrated_target
    end = move(source, target)
    assert end.returncode == 0, end.stderr
    assert "copied 1200 frames" in end.stdout
    with psycopg.connect(target) as there:
        data = there.execute("SELECT data::text, timestamp FROM teleop_teleopframe ORDER BY id LIMIT 1").fetchone()
        assert data[0] == '{"action":{"b":0,"a":"é\\t\\\\N"}}'
        assert data[1].isoformat() == "2023-12-23T08:00:00+00:00"
        assert there.execute("SELECT id, number FROM robots_storageformat").fetchall() == [(1, 1)]
        assert there.execute("SELECT nextval(pg_get_serial_sequence('teleop_teleopframe', 'id'))").fetchone() == (1201,)
        for table in ("teleop_teleopsession", "teleop_teleopevent"):
            assert there.execute(f"SELECT nextval(pg_get_serial_sequence('{table}', 'id'))").fetchone() == (4,)
        there.execute("DELETE FROM teleop_teleopframe WHERE id > 543")
    end = move(source, target)
    assert end.returncode == 0, end.stderr
    with psycopg.connect(target) as there:
        assert there.execute("SELECT count(*), max(id) FROM teleop_teleopframe").fetchone() == (1200, 1200)
        there.execute("UPDATE teleop_teleopframe SET data = '{}' WHERE id = 777")
    end = move(source, target)
    assert end.returncode == 1
    assert "the databases differ in teleop_teleopframe" in end.stderr


@pytest.mark.long
def test_it_refuses_a_target_with_other_robots(source, migrated_target):
    with psycopg.connect(migrated_target) as there:
        columns = "id, status, key_hash, last_error_code, last_error_detail"
        there.execute(f"INSERT INTO robots_robot ({columns}) VALUES ('leg', 'offline', '', '', '')")
    end = move(source, migrated_target)
    assert (end.returncode, end.stdout) == (1, "")
    assert "contains robots or frames that are not in this database; an empty database expected" in end.stderr


def test_it_refuses_a_target_that_is_no_postgresql():
    with pytest.raises(CommandError, match=r"the target URL begins with sqlite; postgresql://... expected"):
        database_of("sqlite:///other.sqlite3")


def test_it_reports_an_unreachable_target(source):
    end = move(source, "postgresql://127.0.0.1:1/none")
    assert end.returncode == 1
    assert "cannot connect to the target" in end.stderr
    assert "Traceback" not in end.stderr


@pytest.mark.long
def test_it_refuses_a_target_of_a_later_format(source, migrated_target):
    with psycopg.connect(migrated_target) as there:
        there.execute("UPDATE robots_storageformat SET number = 2")
    end = move(source, migrated_target)
    assert (end.returncode, end.stdout, end.stderr.count("\n")) == (1, "", 1)
    assert "the target has storage format 2 and this code supports formats up to 1" in end.stderr
