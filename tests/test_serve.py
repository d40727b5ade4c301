"""`manage.py serve` as a process: its port, and the start, end and replacement of its workers."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from socket import create_connection, create_server
from typing import Self

import psutil
import pytest
from django.core.management import CommandError, call_command

from tests.chaos.environment import serving
from tests.chaos.scenarios import workers
from tests.robot_socket import robot_socket
from tests.services import ROOT, Redis, Server, is_running, wait_until

pytestmark = pytest.mark.once

REDIS = "redis://127.0.0.1:1/0"  # a server that does not start never connects to it


class Announced(Server):
    """A server that counts as up once it has logged so."""

    is_forked = False
    listening = 0  # workers that listened then

    def answers(self) -> bool:
        return "serving on" in self.output()

    def start(self) -> Self:
        super().start()
        sockets = [each for worker in workers(self) for each in worker.net_connections("tcp")]
        self.listening = [each.status for each in sockets if each.laddr.port == self.port].count(psutil.CONN_LISTEN)
        return self


@pytest.fixture(scope="module")
def lasting(url: str, channels: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Announced]:
    """Yield a server shared by the tests that do not end it, and by the last one, which does.

    It does not limit an address, as the tests make hundreds of connections within a second.
    """
    settings = {"DATABASE_URL": url, "REDIS_URL": channels.url, "ROBOT_AUTH": "open", "CONNECTIONS_PER_ADDRESS": "0"}
    with Announced(tmp_path_factory.mktemp("lasting"), "--workers", "2", **settings) as server:
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


def test_it_prints_that_it_serves_once_all_workers_listen(lasting: Announced):
    assert lasting.listening == 2


@pytest.mark.django_db
def test_it_refuses_a_port_in_use():
    with create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refused("--port", str(port)) == f"cannot serve on 127.0.0.1, port {port}: Address already in use"


@pytest.mark.django_db
@pytest.mark.long
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


def test_it_prints_its_address_once_it_listens(url: str):
    """With `--reload` the parent serves nothing, and its child serves as without it."""
    command = [sys.executable, "manage.py", "serve", "--port", "0", "--reload"]
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
    with connected(lasting, 400) as taken:
        wait_until(lambda: len(both := taken()) == 2 and min(both.values()) > 0.4 * 400, what="160 at each worker")


def dealt(server: Server) -> Counter[int]:
    """Count how many of 20 new connections each worker has."""
    with connected(server, 20) as taken:
        with suppress(AssertionError):  # one may have been at a worker that was just killed
            wait_until(lambda: taken().total() == 20, 3)
        return taken()


@contextmanager
def connected(server: Server, connections: int) -> Iterator[Callable[[], Counter[int]]]:
    """Open connections; yield a function that counts how many of them each worker has taken."""
    with ExitStack() as stack:
        ends = [stack.enter_context(create_connection(("127.0.0.1", server.port))) for _ in range(connections)]
        ports = {end.getsockname()[1] for end in ends}
        yield lambda: Counter(
            worker.pid
            for worker in workers(server)
            for each in worker.net_connections("tcp")
            if each.raddr and each.raddr.port in ports
        )


def test_a_killed_parent_leaves_no_worker(server: Server):
    """Such workers would keep the port, and no parent would replace or end them."""
    both = workers(server)
    psutil.Process(server.pid).kill()
    wait_until(lambda: not any(map(is_running, both)), what="the workers' end")


@pytest.mark.parametrize(("name", "number"), [("server", signal.SIGTERM), ("lasting", signal.SIGINT)])
def test_a_signal_to_the_parent_stops_all_workers(request: pytest.FixtureRequest, name: str, number: signal.Signals):
    server: Server = request.getfixturevalue(name)
    both = workers(server)
    with ExitStack() as stack:
        robots = [stack.enter_context(robot_socket(server, key=None)) for _ in range(4)]
        assert server.stop(number) == 0
        assert [robot.receive_until_close()[0] for robot in robots] == [1012] * 4
    assert not any(map(psutil.Process.is_running, both))
