"""A server that is altered for a test: impatient, with views of its own, or breaking its promise on purpose.

python -m tests.altered HOW serve ...
"""

import asyncio
import itertools
import sys
from pathlib import Path

import django
from django.core.management import execute_from_command_line
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import include, path

from tests.services import Server


class Altered(Server):
    """`how` is the name of one of the functions below."""

    def __init__(self, how: str, *args, **settings) -> None:
        super().__init__(*args, **settings)
        self.how = how

    def command(self) -> list[str | Path]:
        python, _, *rest = super().command()
        return [python, "-m", "tests.altered", self.how, *rest]


def ack_before_commit() -> None:
    """By a fifth of a second, as a server might that wants low latencies."""
    from teleop.ingest.writer import FrameWriter

    store_group = FrameWriter._store_group
    late = set()

    async def store_late(self, rows):
        await asyncio.sleep(0.2)
        await store_group(self, rows)

    async def settle_first(self, rows):
        task = asyncio.create_task(store_late(self, rows))
        late.add(task)
        task.add_done_callback(late.discard)
        return [], []

    FrameWriter._store_group = settle_first


def drop_one_in_10000() -> None:
    from teleop.ingest import store

    write, numbers = store.write, itertools.count(1)
    store.write = lambda rows: write([row for row in rows if next(numbers) % 10_000])


def ping_often() -> None:
    from teleop import protocol

    protocol.PING_INTERVAL_S = protocol.PING_TIMEOUT_S = 1


def lose_patience() -> None:
    from teleop import patience

    patience.REQUEST_TIMEOUT_S = patience.READER_TIMEOUT_S = 1
    patience.MIN_BODY_RATE = 10_000
    serve_test_views()


def ask_for_logins_often() -> None:
    from teleop.live import consumers

    consumers.LOGIN_AGAIN_S = 0.2


def end_leases_soon() -> None:
    from teleop.live import hub, tap

    tap.LEASE_S, hub.RENEW_S = 2, 0.5


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
