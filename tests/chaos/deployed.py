"""Run the system as it is deployed, part of `make chaos`: nginx in front of two workers, PostgreSQL and Redis, while
robots stream, programs use REST and pages watch. Each part is stopped and started again in turn.

It prints the cost: how long each part was down, and which requests failed meanwhile.
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
from tests.chaos.observers import Answer, Page, Program
from tests.chaos.scenarios import all_end, settled, workers
from tests.nginx import Nginx
from tests.services import ROOT, Server, redis, wait_until

EXCUSED = {"one worker killed", "the other killed", "PostgreSQL restarted", "deployed"}  # else no request fails
ROBOTS, FPS, PROGRAMS = 100, 20, 20  # all processes share a machine of two cores
PEOPLE = """
from django.test import Client
client, user = Client(), User.objects.create_superuser("admin")
client.force_login(user)
print(Token.objects.create(user=user).key, client.cookies["sessionid"].value)
"""
pytestmark = pytest.mark.timeout(600)


class Window(NamedTuple):
    """Counts while a part was down; requests already under way at its stop count too."""

    what: str
    begun: float
    ended: float
    heard_s: float  # until all pages had received data of robots again
    settled_s: float  # until all robots streamed without a backlog

    def overlaps(self, answer: Answer) -> bool:
        return answer.asked_at <= self.ended and answer.answered_at >= self.begun


class Show:
    """All clients, and the faults applied to the deployment."""

    def __init__(self, fleet: Fleet, programs: list[Program], pages: list[Page]) -> None:
        self.fleet, self.programs, self.pages = fleet, programs, pages
        self.windows: list[Window] = []

    def goes_on(self) -> None:
        """Wait until all robots stream, all pages receive their data, and each program has had three more answers."""
        begun, before = time.monotonic(), [len(program.answers) for program in self.programs]
        settled(self.fleet)
        wait_until(lambda: all(page.heard_at > begun for page in self.pages), 60, "pages hear of robots")
        pairs = list(zip(self.programs, before, strict=True))
        wait_until(lambda: all(len(program.answers) >= count + 3 for program, count in pairs), 60, "answers")

    def while_away(self, what: str, do: Callable[[], object]) -> None:
        self.goes_on()
        begun = time.monotonic()
        do()
        ended = time.monotonic()
        wait_until(lambda: all(page.heard_at > ended for page in self.pages), 60, f"pages hear of robots after: {what}")
        received = time.monotonic()
        settled(self.fleet)
        self.windows.append(Window(what, begun, ended, received - ended, time.monotonic() - ended))

    @property
    def answers(self) -> list[Answer]:
        return [answer for program in self.programs for answer in program.answers]

    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if not 200 <= answer.status < 300]

    def summary(self) -> Iterator[str]:
        for window in self.windows:
            inside = [answer for answer in self.failed() if window.overlaps(answer)]
            yield (
                f"{window.what:<22} away {window.ended - window.begun:4.1f} s, pages hear again after "
                f"{window.heard_s:4.1f} s, robots are settled after {window.settled_s:4.1f} s, "
                f"failed: {dict(Counter(answer.status for answer in inside))}"
            )
        times = [answer.answered_at - answer.asked_at for answer in self.answers if 200 <= answer.status < 300]
        yield f"{len(self.answers)} answers {dict(Counter(answer.status for answer in self.answers))}"
        yield f"p95 {quantiles(times, n=20)[-1] * 1000:.0f} ms, longest {max(times):.1f} s"
        yield f"{self.fleet.ledger.sent} frames of {len(self.fleet.robots)} robots, {self.fleet.reconnects} reconnects"


def people(server: Server) -> tuple[str, str]:
    """Return a token, and the cookie of a login."""
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", PEOPLE]
    said = subprocess.run(command, cwd=ROOT, env=server.environment(), check=True, stdout=-1, text=True, timeout=60)
    token, cookie = said.stdout.split()
    return token, cookie


def end(worker: psutil.Process) -> None:
    """Kill a worker and wait: the kernel needs time, and until the process has ended it accepts connections."""
    worker.kill()
    worker.wait()


@contextmanager
def deployed() -> Iterator[tuple[Show, dict[str, Callable[[], object]], str]]:
    with ExitStack() as stack:
        database, url = stack.enter_context(postgres_database())
        channels = stack.enter_context(redis())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="teleop-")))
        settings = {"TRUSTED_PROXIES": "127.0.0.1", "MEDIA_ROOT": f"{folder}/media"}
        server = stack.enter_context(serving(url, "--workers", "2", redis_url=channels.url, **settings))
        nginx = Nginx(folder, server, folder / "media").start()
        stack.callback(nginx.stop)
        token, cookie = people(server)
        fleet = stack.enter_context(Fleet(nginx.url, Ledger(), ROBOTS, FPS))
        settled(fleet)
        names = [robot.page.robot_id for robot in fleet.robots]
        programs = [Program(nginx.url, token, name) for name in names[:PROGRAMS]]
        pages = [Page(nginx.url, cookie, f"live/{name}", f"robots/{name}/live") for name in names[:2]]
        pages.append(Page(nginx.url, cookie, "fleet", ""))
        for onlooker in (*programs, *pages):
            stack.enter_context(onlooker)
        first, second = workers(server)

        def deploy() -> None:
            assert server.stop() == 0
            server.start()

        happens = {
            "one worker killed": lambda: end(first),
            "the other killed": lambda: end(second),
            "nginx reloaded": lambda: nginx.process.send_signal(signal.SIGHUP),
            "PostgreSQL restarted": database.restart,
            "Redis restarted": channels.restart,
            "migrated": lambda: migrated(url),
            "deployed": deploy,
        }
        yield Show(fleet, programs, pages), happens, url


def test_it_loses_no_frame_and_requests_fail_only_during_outages(capsys) -> None:
    with deployed() as (show, happens, url):
        for what, do in happens.items():
            show.while_away(what, do)
        show.goes_on()
        with capsys.disabled():
            print("", *show.summary(), sep="\n", file=sys.stderr)  # noqa: T201 - what it is run for
        all_end(show.fleet, url)
        excused = [window for window in show.windows if window.what in EXCUSED]
        assert [each for each in show.failed() if not any(window.overlaps(each) for window in excused)] == []
        assert [page.gave_up for page in show.pages] == [""] * 3
