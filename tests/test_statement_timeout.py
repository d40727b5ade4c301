"""A web request waits at most 30 s for one statement; robots' frames and commands wait without limit."""

import os
import subprocess
import sys

import psycopg
import pytest
import requests
from django.db import connection

from robots.models import Robot
from teleop.models import TeleopSession
from tests.robot_socket import KEY, frame, register, robot_socket
from tests.services import ROOT, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

SHOW = """
with connection.cursor() as cursor:
    cursor.execute("SHOW statement_timeout")
    print(*cursor.fetchone())
"""
COMMAND = "from django.db import connection" + SHOW
WEB_AND_INGEST = f"""
import config.asgi
{COMMAND}
from teleop.ingest.transactions import bounded_transaction, use_dedicated_connection
use_dedicated_connection()
with bounded_transaction(lock_timeout_ms=50), connection.cursor() as cursor:
    cursor.execute("SHOW statement_timeout")
    print(*cursor.fetchone())
"""


def database_url() -> str:
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"


def shown(*command: str, options: str = "") -> str:
    environment = os.environ | {"DATABASE_URL": database_url() + options}
    answer = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_it_applies_to_web_requests_only():
    assert shown("-c", WEB_AND_INGEST) == "30s\n0"
    assert shown("manage.py", "shell", "--no-imports", "-c", COMMAND) == "0"


@pytest.mark.long
def test_it_keeps_a_timeout_from_the_database_url():
    assert shown("-c", WEB_AND_INGEST, options="?options=-c%20statement_timeout%3D5s") == "5s\n0"


def test_a_request_times_out_with_503_and_the_robot_keeps_waiting(start_server):
    register("arm")
    server = start_server(DATABASE_URL=database_url() + "?options=-c%20statement_timeout%3D300ms")
    with robot_socket(server) as robot, psycopg.connect(database_url()) as other:
        robot.send(frame(0))
        robot.receive_until_ack(0)
        session = TeleopSession.objects.get()
        other.execute("SELECT 1 FROM teleop_teleopsession FOR UPDATE")
        robot.send({"type": "end"})
        with requests.Session() as client:
            label = {"meta_info": {"success": True}}
            path, key = f"{server.url}/sessions/{session.pk}", {"Authorization": f"Bearer {KEY}"}
            answer = client.patch(path, json=label, headers=key, timeout=10)
        assert answer.status_code == 503 and answer.headers["Retry-After"]
        other.rollback()
        assert robot.receive("ended")["frame_count"] == 1
    wait_until(lambda: Robot.objects.get().status == "offline")
