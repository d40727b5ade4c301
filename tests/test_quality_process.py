"""Quality is computed in a process beside the server, after a session has ended; it ends with its worker."""

import os
import signal

import psutil
import pytest

from teleop.models import TeleopSession
from teleop.quality.process import COMMAND
from tests.robot_socket import frame, register, robot_socket
from tests.services import Server, is_running, wait_until

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
    """Return the process once it is Python: before, its command line is its parent's, then `nice` and `setpriv`."""
    children = psutil.Process(server.pid).children()
    return next((child for child in children if child.cmdline()[:3] == COMMAND[-3:]), None)


def test_it_computes_quality_after_a_session_ends_and_after_it_resumed(server: Server):
    records(server, 0, 60)
    assert wait_until(duration_s, what="quality") == 1.0
    records(server, 120)
    wait_until(lambda: duration_s() == 2.0, what="quality of all of it")


def test_it_runs_at_nice_19_and_exits_with_its_worker(start_server):
    server = start_server()
    records(server, 0)
    process = wait_until(lambda: process_of(server), what="a process")
    process.suspend()
    assert process.nice() == 19
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(process), what="its end")


def test_it_logs_a_failed_process_and_ingest_continues(start_server, tmp_path):
    (tmp_path / "nice").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "nice").chmod(0o755)
    server = start_server(PATH=f"{tmp_path}:{os.environ['PATH']}")
    records(server, 0)
    wait_until(lambda: "manage.py quality exited with 3" in server.output(), what="a word of it")
    records(server, 60)


DIES_AT_ITS_FIRST_SESSION = """#!/bin/sh
case "$*" in
    *--limited*) while [ ! -f %s/id ]; do sleep 0.05; done; echo "session $(cat %s/id) begins"; kill -ABRT $$;;
esac
shift 2
exec "$@"
"""


def test_it_stores_an_error_for_a_session_that_crashes_its_process(start_server, tmp_path):
    (tmp_path / "nice").write_text(DIES_AT_ITS_FIRST_SESSION % (tmp_path, tmp_path))
    (tmp_path / "nice").chmod(0o755)
    server = start_server(PATH=f"{tmp_path}:{os.environ['PATH']}")
    records(server, 0)
    (tmp_path / "id").write_text(str(TeleopSession.objects.get(robot="arm").pk))
    quality = wait_until(lambda: TeleopSession.objects.get(robot="arm").quality, what="the reason")
    assert quality["error"] == "the process that computed the quality was killed by SIGABRT"
