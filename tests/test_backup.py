"""Backup and restore by the exact commands of docs/deploy.md, while a robot streams and after loss of the database."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.chaos.environment import postgres_database, serving
from tests.robot_socket import frame, robot_socket
from tests.services import ROOT, Postgres, postgres_program

pytestmark = [pytest.mark.once, pytest.mark.long]
FRAMES = "SELECT session_id, frame_index, timestamp, robot_id, data::text FROM teleop_teleopframe ORDER BY frame_index"
BACKED_UP, ACKNOWLEDGED = 100, 120


def run_as_documented(program: str, service: Postgres, folder: Path) -> None:
    line = re.search(rf"^    ({program} .*)$", (ROOT / "docs/deploy.md").read_text(), re.MULTILINE)[1]
    path = f"{Path(postgres_program('initdb')).parent}{os.pathsep}{os.environ['PATH']}"
    there = {"PGHOST": "127.0.0.1", "PGPORT": str(service.port), "PGUSER": "postgres"}
    subprocess.run(shlex.split(line), cwd=folder, env=os.environ | there | {"PATH": path}, check=True, timeout=30)


def frames(url: str) -> list[tuple]:
    with psycopg.connect(url) as database:
        return database.execute(FRAMES).fetchall()


def test_a_robot_resumes_from_a_restored_backup_without_loss(tmp_path):
    with postgres_database() as (service, _):
        service.execute("CREATE DATABASE teleop TEMPLATE postgres", "template1")
        url = service.database_url("teleop")
        with serving(url) as server, robot_socket(server, "arm?session=fold-the-towel", key=None) as robot:
            robot.send(*map(frame, range(BACKED_UP)))
            robot.receive_until_ack(BACKED_UP - 1)
            run_as_documented("pg_dump", service, tmp_path)
            robot.send(*map(frame, range(BACKED_UP, ACKNOWLEDGED)))
            robot.receive_until_ack(ACKNOWLEDGED - 1)
        before = frames(url)
        service.drop_database("teleop")
        service.create_database("teleop")
        run_as_documented("pg_restore", service, tmp_path)
        assert frames(url) == before[:BACKED_UP]
        with serving(url) as server, robot_socket(server, "arm?session=fold-the-towel", key=None) as robot:
            assert robot.greeting["next_frame_index"] == BACKED_UP
            robot.send(*map(frame, range(BACKED_UP, ACKNOWLEDGED)), {"type": "end"})
            assert robot.receive("ended")["frame_count"] == ACKNOWLEDGED
        assert frames(url) == before
        assert len(before) == ACKNOWLEDGED
