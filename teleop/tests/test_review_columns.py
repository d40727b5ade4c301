"""The columns with the labels of meta_info: they always equal it, by any way of writing and for any value."""

import os
import subprocess
import sys

import pytest
from django.db import connection

from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
from tests.services import ROOT

pytestmark = pytest.mark.django_db


def columns(session: TeleopSession) -> tuple:
    names = ("label_task", "label_success", "label_operator", "label_tags")
    return TeleopSession.objects.values_list(*names).get(pk=session.pk)


@pytest.mark.parametrize(
    "meta_info, expected",
    [
        (None, (None, None, None, None)),
        ([1], (None, None, None, None)),
        ("text", (None, None, None, None)),
        ({"task": "Fold", "success": False, "operator": "Ada", "tags": ["a", 1]}, ("Fold", False, "Ada", ["a", 1])),
        ({"task": 3, "success": "yes", "operator": ["Ada"], "tags": "a"}, (None, None, None, None)),
        ({"task": None, "success": None, "operator": {}, "tags": {}}, (None, None, None, None)),
        ({"task": "", "success": 0, "operator": "", "tags": []}, (None, None, None, [])),
        ({"task": "日" * 600, "operator": "😀" * 600}, ("日" * 500, None, "😀" * 500, None)),
        ({"task": '<b>"\\ \u202e', "success": True}, ('<b>"\\ \u202e', True, None, None)),
        ({"tags": ["x" * 100] * 600}, (None, None, None, ["x" * 100] * 600)),
    ],
)
def test_the_columns_equal_meta_info(meta_info, expected):
    session = make_session()
    TeleopSession.objects.filter(pk=session.pk).update(meta_info=meta_info)
    assert columns(session) == expected


def test_the_columns_follow_a_statement_that_does_not_know_them():
    """Code from before the columns writes meta_info in a statement of its own."""
    session = make_session()
    with connection.cursor() as cursor:
        text = '{"task": "Fold", "success": true}'
        cursor.execute("UPDATE teleop_teleopsession SET meta_info = %s WHERE id = %s", [text, session.pk])
    assert columns(session) == ("Fold", True, None, None)


def test_it_finds_tasks_that_are_longer_than_the_column(viewer):
    tasks = {"one": "x" * 500 + "1", "two": "x" * 500 + "2", "short": "x" * 500}
    for key, task in tasks.items():
        TeleopSession.objects.filter(pk=make_session(key=key).pk).update(meta_info={"task": task})
    for key, expected in (("one", ["one"]), ("two", ["two"]), ("short", ["one", "short", "two"])):
        found = viewer.get("/sessions", {"task": tasks[key]}).json()["results"]
        assert sorted(row["key"] for row in found) == expected


UPGRADE = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from teleop.models import TaskRange, TeleopSession

def migrate(name):
    call_command("migrate", "teleop", name, verbosity=0)

migrate("0007")
with connection.cursor() as cursor:
    cursor.execute(
        "INSERT INTO robots_robot (id, status, key_hash, last_error_code, last_error_detail) "
        "VALUES ('arm', 'offline', '', '', '')"
    )
    for key, meta_info in (("a", '{"task": "Fold", "tags": ["x"]}'), ("b", '{"task": "Fold"}'), ("c", None)):
        cursor.execute(
            "INSERT INTO teleop_teleopsession (key, robot_id, fps, frame_count, staff_labels, holder, meta_info) "
            "VALUES (%s, 'arm', 60, 0, '[]', '', %s)",
            [key, meta_info],
        )
migrate("0009")
print(*TeleopSession.objects.order_by("key").values_list("key", "label_task", "label_tags"))
print(*TaskRange.objects.due())
migrate("0007")
with connection.cursor() as cursor:
    cursor.execute("SELECT key, meta_info FROM teleop_teleopsession ORDER BY key")
    print(len(cursor.fetchall()))
"""


@pytest.mark.once
def test_the_migration_fills_the_columns_and_notes_the_tasks(tmp_path):
    """In a process of its own: the migrations of the tests' database cannot be reversed meanwhile."""
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{tmp_path}/old.sqlite3"}
    done = subprocess.run([sys.executable, "-c", UPGRADE], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["('a', 'Fold', ['x']) ('b', 'Fold', None) ('c', None, None)", "Fold", "3"]
