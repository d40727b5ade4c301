"""What is done to a server while robots stream to it. Each waits at first until all robots stream."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from tests.chaos.fleet import Fleet
from tests.chaos.ledger import faults_in
from tests.chaos.proxy import Link
from tests.services import Server, Service, wait_until

CATCH_UP_S = 30
STOP_S = 5


def settled(fleet: Fleet) -> None:
    wait_until(lambda: fleet.is_streaming, CATCH_UP_S, f"all robots stream again, {fleet.backlog} frames wait")


def kill(fleet: Fleet, server: Server, times: int) -> None:
    for _ in range(times):
        settled(fleet)
        server.kill()
        server.start()


def terminate(fleet: Fleet, server: Server, times: int) -> None:
    """With mute robots too: what they sent until they saw the close counts as acknowledged."""
    for _ in range(times):
        with Fleet(server.url, fleet.ledger, count=0, mutes=3) as others:
            settled(fleet)
            wait_until(lambda: others.is_streaming, what="mute robots stream")
            begun = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - begun < STOP_S
            wait_until(lambda: all(mute.close_code == 1012 for mute in others.mutes), what="mute robots see 1012")
        server.start()


def restart(fleet: Fleet, service: Service, times: int) -> None:
    """One way to go and another: asked to, or as the power fails."""
    for number in range(times):
        settled(fleet)
        service.kill() if number % 2 else service.stop()
        service.start()


def freeze(fleet: Fleet, service: Service, seconds: float) -> None:
    settled(fleet)
    service.freeze()
    try:
        time.sleep(seconds)  # it is to be long, not until something
    finally:
        service.thaw()


def fill_up(fleet: Fleet, disk: Path, server: Server) -> None:
    """Until the server has noticed, and its robots have waited for three seconds."""
    settled(fleet)
    said, filler = len(server.output()), disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    wait_until(lambda: " waits, attempt " in server.output()[said:], 20, "the full disk is noticed")
    wait_until(lambda: fleet.backlog > 3 * 60 * len(fleet.robots), 20, "robots wait")
    filler.unlink()


def pester(fleet: Fleet, what: Callable[[], list[Link]], times: int) -> None:
    """What the network does, until each connection that it was done to is given up."""
    for _ in range(times):
        settled(fleet)
        links = what()
        assert links
        wait_until(lambda: all(link.is_left for link in links), CATCH_UP_S, "connections given up")  # noqa: B023


def kill_a_worker(fleet: Fleet, server: Server, times: int) -> None:
    for _ in range(times):
        settled(fleet)
        before = workers(server)
        before[0].kill()
        wait_until(lambda: len({*workers(server)} - {*before}) == 1, 1, "another worker")  # noqa: B023


def workers(server: Server) -> list[psutil.Process]:
    return [child for child in psutil.Process(server.pid).children() if child.status() != psutil.STATUS_ZOMBIE]


def all_end(fleet: Fleet, database_url: str) -> None:
    """And the database has what the ledger says."""
    settled(fleet)
    fleet.end()
    faults = faults_in(database_url, fleet.ledger)
    assert not faults, "\n".join(faults[:20])
