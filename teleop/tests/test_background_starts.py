"""The process for background work: `serve` starts it when there is work, and ends it with itself."""

import asyncio
import sys
from contextlib import suppress

import pytest

from teleop.background import process
from teleop.background.process import BackgroundProcess, work_is_due

GIVES_BACK = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(pathlib.Path(sys.argv[1], "given back").touch()))
pathlib.Path(sys.argv[1], "started").touch()
while True: time.sleep(1)
"""


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Replace the process by one that writes files into this folder."""
    monkeypatch.setattr(process, "COMMAND", [sys.executable, "-c", GIVES_BACK, str(tmp_path)])
    monkeypatch.setattr(process, "DEBOUNCE_S", 0)
    monkeypatch.setattr(process, "_running", None)
    return tmp_path / "started"


async def nothing_left() -> bool:
    return False


async def nothing_waits() -> float | None:
    return None


async def appears(file) -> None:
    while not file.exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)


async def run(tell=lambda: None, wait_for=None, is_left_over=nothing_left, next_due_s=nothing_waits) -> None:
    task = asyncio.create_task(BackgroundProcess(is_left_over, next_due_s).run())
    await asyncio.sleep(0)
    tell()
    if wait_for:
        await asyncio.wait_for(appears(wait_for), 30)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_an_upload_starts_it(started):
    asyncio.run(run(work_is_due, started))
    assert started.exists()


def test_it_gives_its_job_back_before_the_server_has_ended(started):
    asyncio.run(run(work_is_due, started))
    assert started.with_name("given back").exists()


def test_work_that_waits_for_its_time_starts_it(started):
    looks = iter([False, True])

    async def is_left_over() -> bool:
        return next(looks)

    async def next_due_s() -> float:
        return 0.01

    asyncio.run(run(wait_for=started, is_left_over=is_left_over, next_due_s=next_due_s))
    assert started.exists()


def test_it_does_not_start_without_work(started):
    asyncio.run(run())
    assert not started.exists()


def test_it_does_not_start_if_another_process_does_the_work(started, settings):
    settings.BACKGROUND_WORK = "separate"
    asyncio.run(run(work_is_due))
    assert not started.exists()
