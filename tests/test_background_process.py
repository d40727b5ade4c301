"""Background work has a process beside the server, which starts when there is work and ends with the server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from teleop.background.models import Job
from teleop.background.process import COMMAND
from teleop.models import TeleopSession
from tests.robot_socket import frame, register, robot_socket
from tests.services import ROOT, Server, is_running, wait_until

pytestmark = pytest.mark.once

HERE = "arm?session=morning-run-0001"


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm")


def records(server: Server, *indexes: int) -> None:
    with robot_socket(server, HERE) as robot:
        robot.send(*map(frame, indexes))
        robot.receive_until_ack(indexes[-1])


def duration_s() -> float | None:
    quality = TeleopSession.objects.get(robot="arm").quality
    return quality and quality["duration_s"]


def process_of(server: Server) -> psutil.Process | None:
    """Return the process once it is Python: before, its command line is its parent's, then that of `setpriv`."""
    children = psutil.Process(server.pid).children()
    return next((child for child in children if child.cmdline()[:4] == COMMAND[-4:]), None)


@pytest.fixture(scope="module")
def working(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server shared by the first two tests."""
    with Server(tmp_path_factory.mktemp("working"), DATABASE_URL=database_url, BACKGROUND_WORK="serve") as server:
        yield server


def test_it_computes_quality_after_a_session_ends_and_after_it_resumed(working: Server):
    records(working, 0, 60)
    assert wait_until(duration_s, what="quality") == 1.0
    records(working, 120)
    wait_until(lambda: duration_s() == 2.0, what="quality of all of it")


def test_it_runs_at_the_lowest_priority_and_exits_with_its_worker(working: Server):
    records(working, 0)
    process = wait_until(lambda: process_of(working), what="a process")
    wait_until(lambda: process.nice() == 19, what="its priority")
    os.kill(working.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(process), what="its end")


FAILS_FOR_BACKGROUND_WORK = """#!/bin/sh
case "$*" in *background*) exit 3;; esac
exec /usr/bin/setpriv "$@"
"""


@pytest.mark.long
def test_it_logs_a_failed_process_and_ingest_continues(start_server, tmp_path):
    (tmp_path / "setpriv").write_text(FAILS_FOR_BACKGROUND_WORK)
    (tmp_path / "setpriv").chmod(0o755)
    server = start_server(BACKGROUND_WORK="serve", PATH=f"{tmp_path}:{os.environ['PATH']}")
    records(server, 0)
    wait_until(lambda: "manage.py background exited with 3" in server.output(), what="a word of it")
    records(server, 60)


@pytest.mark.long
def test_another_server_does_the_work_if_the_setting_says_separate(server: Server):
    assert server.settings["BACKGROUND_WORK"] == "separate"
    records(server, 0, 60)
    assert process_of(server) is None
    subprocess.run(
        [sys.executable, "manage.py", "background", "--until-idle"], env=server.environment(), cwd=ROOT, check=True
    )
    assert duration_s() == 1.0
    assert not Job.objects.exists()
