"""Patch a server for a test: with short timeouts, with extra views, or breaking a guarantee on purpose.

python -m tests.patched_server HOW serve ...
"""

import asyncio
import itertools
import sys
import time
from pathlib import Path

import django
from django.core.management import execute_from_command_line
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import include, path

from tests.services import Server


class PatchedServer(Server):
    """A server patched by one of the functions below; `how` is its name."""

    def __init__(self, how: str, *args, **settings) -> None:
        super().__init__(*args, **settings)
        self.how = how
        if how == "step_clock_on_request":
            self.is_forked = False  # a fork has Twisted already, which keeps the clock that it has imported

    def command(self) -> list[str | Path]:
        python, _, *rest = super().command()
        return [python, "-m", "tests.patched_server", self.how, *rest]


def ack_before_commit() -> None:
    """Acknowledge frames 0.2 s before their commit, as a server might do for low latencies."""
    from teleop.ingest.types import Outcome
    from teleop.ingest.writer import FrameWriter

    write = FrameWriter._write
    late = set()

    async def store_late(self, rows, attempts_before):
        await asyncio.sleep(0.2)
        await write(self, rows, attempts_before)

    async def settle_first(self, rows, attempts_before):
        task = asyncio.create_task(store_late(self, rows, attempts_before))
        late.add(task)
        task.add_done_callback(late.discard)
        return Outcome()

    FrameWriter._write = settle_first


def end_a_task_once() -> None:
    """End the sweep with an error, unlike any regular task, in the first process that runs with this database."""
    from django.conf import settings

    from teleop.ingest.worker import Worker

    marker = Path(settings.MEDIA_ROOT) / "ended"
    run_periodically = Worker._run_periodically

    async def end(self, interval_s, do):
        if do.__name__ == "_sweep":
            while not self.connections:  # noqa: ASYNC110 - until a robot streams
                await asyncio.sleep(0.05)
            if not marker.exists():
                marker.touch()
                raise RuntimeError("the sweep has ended")
        await run_periodically(self, interval_s, do)

    Worker._run_periodically = end


def commit_events_without_acks() -> None:
    """Commit events and never acknowledge them."""
    from teleop.ingest import event_store
    from teleop.ingest.event_writer import EventWriter

    async def store(self, groups):
        await self._in_thread(event_store.write, groups)
        await asyncio.Event().wait()

    EventWriter._write = store


def drop_one_in_2000() -> None:
    from teleop.ingest import store

    write, numbers = store.write, itertools.count(1)
    store.write = lambda rows: write([row for row in rows if next(numbers) % 2_000])


def kill_applications_soon() -> None:
    """Make Daphne cancel an application as soon as its client disconnected, not after 10 s."""
    from teleop.server.daphne import Server

    start = Server.__init__

    def start_impatiently(self, *args, **kwargs):
        start(self, *args, **kwargs)
        self.application_close_timeout = 0

    Server.__init__ = start_impatiently


def open_slowly() -> None:
    """Delay each robot's handshake by half a second."""
    from teleop.ingest.consumer import RobotConsumer

    serve = RobotConsumer._serve

    async def serve_late(self, *args):
        await asyncio.sleep(0.5)
        await serve(self, *args)

    RobotConsumer._serve = serve_late


def ping_often() -> None:
    from teleop import protocol

    protocol.PING_INTERVAL_S = protocol.PING_TIMEOUT_S = 1


def step_clock_on_request() -> None:
    """Make GET /step-clock/SECONDS shift the values of time.time() from then on."""
    from teleop import protocol

    assert "twisted" not in sys.modules  # Twisted would keep the clock that it has imported
    clock, offset = time.time, 0
    time.time = lambda: clock() + offset

    def step_clock(request, seconds):
        nonlocal offset
        offset = int(seconds)
        return HttpResponse(f"it is {time.ctime(time.time())} now")

    urlpatterns.append(path("step-clock/<seconds>", step_clock))
    shorten_timeouts()
    protocol.PING_INTERVAL_S, protocol.PING_TIMEOUT_S = 1, 5


def shorten_timeouts() -> None:
    from teleop.server import timeouts

    timeouts.REQUEST_TIMEOUT_S = timeouts.READER_TIMEOUT_S = 1
    timeouts.MIN_BODY_RATE = 10_000
    serve_test_views()


def recheck_logins_often() -> None:
    from teleop.live import consumers

    consumers.LOGIN_AGAIN_S = 0.2


def end_leases_soon() -> None:
    from teleop.ingest import live_tap
    from teleop.live import hub

    live_tap.LEASE_S, hub.RENEW_S = 2, 0.5


def end_previews_soon() -> None:
    """Let leases on pictures, and the check of their robots' keys, take a tenth of their time."""
    from teleop.ingest import preview_consumer
    from teleop.ingest import previews as ingest
    from teleop.live import previews as live

    ingest.LEASE_S, ingest.REPEAT_S, ingest.SWEEP_INTERVAL_S, ingest.GRACE_S = 2, 0.4, 0.1, 0.6
    live.RENEW_S, live.RENEW_AGAIN_S, live.ASKING_S = 0.5, 0.1, 1
    preview_consumer.KEY_AGAIN_S = 0.2


CHUNK, CHUNKS = bytes(2**16), 2_000


def serve_test_views() -> None:
    from django.conf import settings

    settings.ROOT_URLCONF = __name__
    urlpatterns.append(path("", include("config.urls")))


async def _stream(request):
    async def chunks():
        for _ in range(CHUNKS):
            yield CHUNK

    return StreamingHttpResponse(chunks())


async def _break_off(request):
    async def chunks():
        yield CHUNK
        raise ValueError("in mid-stream")

    return StreamingHttpResponse(chunks())


async def _fail(request):
    raise ValueError(f"{request!r} with {request.scope}")


async def _wait(request):
    await asyncio.sleep(60)


urlpatterns = [
    path("health", lambda request: HttpResponse("ok")),
    path("stream", _stream),
    path("break-off", _break_off),
    path("fail", _fail),
    path("wait", _wait),
]


def main(how: str, *command: str) -> None:
    django.setup()
    globals()[how]()
    execute_from_command_line(["manage.py", *command])


if __name__ == "__main__":
    main(*sys.argv[1:])
