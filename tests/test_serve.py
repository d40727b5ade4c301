"""`manage.py serve` as a process: its port, and the start, end and replacement of its workers."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import create_connection, create_server

import psutil
import pytest
from django.core.management import CommandError, call_command

from tests.chaos.environment import serving
from tests.chaos.scenarios import workers
from tests.robot_socket import robot_socket
from tests.services import ROOT, Redis, Server, is_running, wait_until

pytestmark = pytest.mark.once

REDIS = "redis://127.0.0.1:1/0"  # a server that does not start never connects to it


@pytest.fixture(scope="module")
def lasting(url: str, channels: Redis) -> Iterator[Server]:
    """Yield a server shared by the tests that do not end it."""
    with serving(url, "--workers", "2", redis_url=channels.url) as server:
        yield server


@pytest.fixture
def server(url: str, channels: Redis) -> Iterator[Server]:
    with serving(url, "--workers", "2", redis_url=channels.url) as server:
        yield server


def refused(*options: str) -> str:
    """Return the message of a `serve` that does not start."""
    with pytest.raises(CommandError) as refusal:
        call_command("serve", *options)
    return str(refusal.value)


def test_it_reports_a_port_in_use_in_one_line_and_exits_with_1():
    with create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "manage.py", "serve", "--port", str(port)]
        end = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    printed = f"CommandError: cannot serve on 127.0.0.1, port {port}: Address already in use\n"
    assert (end.returncode, end.stdout, end.stderr) == (1, "", printed)


@pytest.mark.django_db
def test_it_refuses_a_port_in_use_by_workers(lasting: Server, settings):
    """Sockets that share a port would divide its connections without an error."""
    settings.REDIS_URL = REDIS
    assert "Address already in use" in refused("--port", str(lasting.port), "--workers", "2")
    assert "Address already in use" in refused("--port", str(lasting.port))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "options, printed",
    [
        (["--workers", "2"], "--workers is 2 and REDIS_URL is empty"),
        (["--workers", "0"], "--workers is 0; 1 to 64 expected"),
        (["--port", "70000"], "--port is 70000; 0 to 65535 expected"),
        (["--host", "nowhere.invalid"], "cannot serve on nowhere.invalid"),
    ],
)
def test_it_names_an_invalid_option(options: list[str], printed: str, settings):
    settings.REDIS_URL = ""
    assert printed in refused("--port", "0", *options)


def test_workers_are_the_parents_only_children_and_in_its_session(lasting: Server):
    children = psutil.Process(lasting.pid).children(recursive=True)
    assert sorted(child.pid for child in children) == sorted(worker.pid for worker in workers(lasting))
    assert len(children) == 2
    assert {os.getsid(child.pid) for child in children} == {os.getsid(lasting.pid)}


class Announced(Server):
    """A server that counts as up once it has logged so."""

    def answers(self) -> bool:
        return "serving on" in self.output()


def test_it_prints_that_it_serves_once_all_workers_listen(url: str, channels: Redis, tmp_path: Path):
    with Announced(tmp_path, "--workers", "3", DATABASE_URL=url, REDIS_URL=channels.url) as server:
        sockets = [each for worker in workers(server) for each in worker.net_connections("tcp")]
        assert [each.status for each in sockets if each.laddr.port == server.port].count(psutil.CONN_LISTEN) == 3


@pytest.mark.parametrize("options", [[], ["--reload"]])
def test_it_prints_its_address_once_it_listens(url: str, options: list[str]):
    command = [sys.executable, "manage.py", "serve", "--port", "0", *options]
    environment = {**os.environ, "DATABASE_URL": url, "REDIS_URL": "", "DEBUG": "0"}
    pipes = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        try:
            printed, address = process.stdout.readline().strip().rsplit("/", 1)
            host, port = address.split(":")
            assert printed == "serving on http:/"
            create_connection((host, int(port))).close()
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # --reload serves in a child


def test_a_killed_worker_is_replaced(lasting: Server):
    wait_until(lambda: len(dealt(lasting)) == 2, what="both take connections")
    before = workers(lasting)
    before[0].kill()
    wait_until(lambda: len(workers(lasting)) == 2 and before[0] not in workers(lasting), what="another worker")
    assert before[1] in workers(lasting)
    wait_until(lambda: len(dealt(lasting)) == 2, what="the new one takes connections")


def test_connections_spread_over_the_workers(lasting: Server):
    """The kernel hashes the ports: 400 connections split worse than 40 : 60 once in 20,000 runs."""
    wait_until(lambda: len(dealt(lasting)) == 2, what="both take connections")
    assert min(dealt(lasting, 400).values()) > 0.4 * 400


def dealt(server: Server, connections: int = 20) -> Counter[int]:
    """Count how many of the new connections each worker has."""
    with ExitStack() as stack:
        ends = [stack.enter_context(create_connection(("127.0.0.1", server.port))) for _ in range(connections)]
        ports = {end.getsockname()[1] for end in ends}

        def taken() -> Counter[int]:
            return Counter(
                worker.pid
                for worker in workers(server)
                for each in worker.net_connections("tcp")
                if each.raddr and each.raddr.port in ports
            )

        with suppress(AssertionError):  # one may have been at a worker that was just killed
            wait_until(lambda: taken().total() == connections, 3)
        return taken()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_stops_all_workers(server: Server, number: signal.Signals):
    both = workers(server)
    with ExitStack() as stack:
        robots = [stack.enter_context(robot_socket(server, key=None)) for _ in range(4)]
        assert server.stop(number) == 0
        assert [robot.receive_until_close()[0] for robot in robots] == [1012] * 4
    assert not any(map(psutil.Process.is_running, both))


def test_a_killed_parent_leaves_no_worker(server: Server):
    """Such workers would keep the port, and no parent would replace or end them."""
    both = workers(server)
    psutil.Process(server.pid).kill()
    wait_until(lambda: not any(map(is_running, both)), what="the workers' end")
