"""Run the system as it is deployed, part of `make chaos`.

There are nginx in front of two workers, PostgreSQL and Redis, while robots stream, API clients use REST and pages
watch. Each part is stopped and started again in turn. The test prints how long each part was down, and which requests
failed meanwhile.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import psutil
import pytest

from tests.chaos.environment import migrated, postgres_database, serving
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.observers import Answer, ApiClient, WatchingPage
from tests.chaos.scenarios import all_end, wait_until_settled, workers
from tests.nginx import Nginx
from tests.services import ROOT, Server, redis, wait_until

EXCUSED = {"one worker killed", "the other killed", "PostgreSQL restarted", "deployed"}  # else no request fails
ROBOTS, FPS, API_CLIENTS = 100, 20, 20  # all processes share a machine of two cores
LOGINS = """
from django.test import Client
client, user = Client(), User.objects.create_superuser("admin")
client.force_login(user)
print(Token.objects.create(user=user).key, client.cookies["sessionid"].value)
"""
pytestmark = pytest.mark.timeout(600)


class Window(NamedTuple):
    """Counts while a part was down; requests already under way at its stop count too."""

    name: str
    begun: float
    ended: float
    received_s: float  # until all pages had received data of robots again
    settled_s: float  # until all robots streamed without a backlog

    def overlaps(self, answer: Answer) -> bool:
        return answer.sent_at <= self.ended and answer.answered_at >= self.begun


class Deployment:
    """All clients, and the faults applied to the deployment."""

    def __init__(self, fleet: Fleet, api_clients: list[ApiClient], pages: list[WatchingPage]) -> None:
        self.fleet, self.api_clients, self.pages = fleet, api_clients, pages
        self.windows: list[Window] = []

    def wait_until_working(self) -> None:
        """Wait until all robots stream, all pages receive their data, and each API client has three more answers."""
        begun, before = time.monotonic(), [len(client.answers) for client in self.api_clients]
        wait_until_settled(self.fleet)
        wait_until(lambda: all(page.received_at > begun for page in self.pages), 60, "data on pages")
        pairs = list(zip(self.api_clients, before, strict=True))
        wait_until(lambda: all(len(client.answers) >= count + 3 for client, count in pairs), 60, "answers")

    def apply(self, name: str, apply_fault: Callable[[], object]) -> None:
        self.wait_until_working()
        begun = time.monotonic()
        apply_fault()
        ended = time.monotonic()
        wait_until(lambda: all(page.received_at > ended for page in self.pages), 60, f"data on pages after: {name}")
        received = time.monotonic()
        wait_until_settled(self.fleet)
        self.windows.append(Window(name, begun, ended, received - ended, time.monotonic() - ended))

    @property
    def answers(self) -> list[Answer]:
        return [answer for client in self.api_clients for answer in client.answers]

    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if not 200 <= answer.status < 300]

    def summary(self) -> Iterator[str]:
        for window in self.windows:
            inside = [answer for answer in self.failed() if window.overlaps(answer)]
            yield (
                f"{window.name:<22} away {window.ended - window.begun:4.1f} s, pages have data after "
                f"{window.received_s:4.1f} s, robots are settled after {window.settled_s:4.1f} s, "
                f"failed: {dict(Counter(answer.status for answer in inside))}"
            )
        times = [answer.answered_at - answer.sent_at for answer in self.answers if 200 <= answer.status < 300]
        yield f"{len(self.answers)} answers {dict(Counter(answer.status for answer in self.answers))}"
        yield f"p95 {quantiles(times, n=20)[-1] * 1000:.0f} ms, longest {max(times):.1f} s"
        yield f"{self.fleet.ledger.sent} frames of {len(self.fleet.robots)} robots, {self.fleet.reconnects} reconnects"


def logins(server: Server) -> tuple[str, str]:
    """Return a token, and the cookie of a login."""
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", LOGINS]
    output = subprocess.run(command, cwd=ROOT, env=server.environment(), check=True, stdout=-1, text=True, timeout=60)
    token, cookie = output.stdout.split()
    return token, cookie


def end(worker: psutil.Process) -> None:
    """Kill a worker and wait: the kernel needs time, and until the process has ended it accepts connections."""
    worker.kill()
    worker.wait()


@contextmanager
def deployed() -> Iterator[tuple[Deployment, dict[str, Callable[[], object]], str]]:
    with ExitStack() as stack:
        database, url = stack.enter_context(postgres_database())
        channels = stack.enter_context(redis())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="teleop-")))
        settings = {"TRUSTED_PROXIES": "127.0.0.1", "MEDIA_ROOT": f"{folder}/media"}
        server = stack.enter_context(serving(url, "--workers", "2", redis_url=channels.url, **settings))
        nginx = stack.enter_context(Nginx(folder, server, folder / "media"))
        token, cookie = logins(server)
        fleet = stack.enter_context(Fleet(nginx.url, Ledger(), ROBOTS, FPS))
        wait_until_settled(fleet)
        names = [robot.record.robot_id for robot in fleet.robots]
        api_clients = [ApiClient(nginx.url, token, name) for name in names[:API_CLIENTS]]
        pages = [WatchingPage(nginx.url, cookie, f"live/{name}", f"robots/{name}/live") for name in names[:2]]
        pages.append(WatchingPage(nginx.url, cookie, "fleet", ""))
        for observer in (*api_clients, *pages):
            stack.enter_context(observer)
        first, second = workers(server)

        def deploy() -> None:
            assert server.stop() == 0
            server.start()

        faults = {
            "one worker killed": lambda: end(first),
            "the other killed": lambda: end(second),
            "nginx reloaded": lambda: nginx.process.send_signal(signal.SIGHUP),
            "PostgreSQL restarted": database.restart,
            "Redis restarted": channels.restart,
            "migrated": lambda: migrated(url),
            "deployed": deploy,
        }
        yield Deployment(fleet, api_clients, pages), faults, url


def test_it_loses_no_frame_and_requests_fail_only_during_outages(capsys) -> None:
    with deployed() as (deployment, faults, url):
        for name, apply_fault in faults.items():
            deployment.apply(name, apply_fault)
        deployment.wait_until_working()
        with capsys.disabled():
            print("", *deployment.summary(), sep="\n", file=sys.stderr)  # noqa: T201 - what it is run for
        all_end(deployment.fleet, url)
        excused = [window for window in deployment.windows if window.name in EXCUSED]
        failed = deployment.failed()
        assert [answer for answer in failed if not any(window.overlaps(answer) for window in excused)] == []
        assert [page.rejection for page in deployment.pages] == [""] * 3
