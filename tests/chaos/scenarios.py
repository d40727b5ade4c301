"""Faults for a server while robots stream to it. Each scenario first waits until all robots stream."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path

import psutil
import psycopg

from tests.chaos.database_faults import ROBOT_FOR_UPDATE, SESSION_FOR_UPDATE, locked
from tests.chaos.fleet import CONNECT_S, Fleet
from tests.chaos.ledger import faults_in
from tests.chaos.proxy import Link, Proxy
from tests.services import Server, Service, is_running, wait_until

CATCH_UP_S = 30
STOP_S = 5
HEARTBEAT_LATE = timedelta(seconds=5)  # a heartbeat comes every 3 s
SWEPT_S = 60  # 30 s of silence, and a sweep every 10 s
DELAYED_FRAMES = 120  # two seconds; one robot's fault may not delay another robot that long


def wait_until_settled(fleet: Fleet) -> None:
    wait_until(lambda: fleet.is_streaming, CATCH_UP_S, f"all robots stream again, {fleet.backlog} frames wait")


def kill(fleet: Fleet, server: Server, times: int) -> None:
    for _ in range(times):
        wait_until_settled(fleet)
        server.kill()
        server.start()


def terminate(fleet: Fleet, server: Server, times: int) -> None:
    """Terminate with mute robots too: all frames they sent before they saw the close count as acknowledged."""
    for _ in range(times):
        with Fleet(server.url, fleet.ledger, count=0, mutes=3) as others:
            wait_until_settled(fleet)
            wait_until(lambda: others.is_streaming, what="mute robots stream")
            begun = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - begun < STOP_S
            wait_until(lambda: all(mute.close_code == 1012 for mute in others.mutes), what="mute robots see 1012")
        server.start()


def restart(fleet: Fleet, service: Service, times: int) -> None:
    """Restart a service several times, alternating a normal stop and a kill, like a power failure."""
    for number in range(times):
        wait_until_settled(fleet)
        service.kill() if number % 2 else service.stop()
        service.start()


def freeze(fleet: Fleet, service: Service, seconds: float) -> None:
    wait_until_settled(fleet)
    service.freeze()
    try:
        time.sleep(seconds)  # a fixed duration, not a wait for a condition
    finally:
        service.thaw()


def fill_up(fleet: Fleet, disk: Path, server: Server) -> None:
    """Fill the disk until the server has noticed, and its robots have waited for three seconds."""
    wait_until_settled(fleet)
    length, filler = len(server.output()), disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    wait_until(lambda: "could not store " in server.output()[length:], 20, "the full disk is noticed")
    wait_until(lambda: fleet.backlog > 3 * 60 * len(fleet.robots), 20, "robots wait")
    filler.unlink()


def break_connections(fleet: Fleet, fault: Callable[[], list[Link]], times: int) -> None:
    """Apply a network fault, and wait until each affected connection is closed by one of its ends."""
    for _ in range(times):
        wait_until_settled(fleet)
        links = fault()
        assert links
        wait_until(lambda: all(link.is_closed for link in links), CATCH_UP_S, "closed connections")  # noqa: B023


def kill_a_worker(fleet: Fleet, server: Server, times: int) -> None:
    for _ in range(times):
        wait_until_settled(fleet)
        before = workers(server)
        before[0].kill()
        wait_until(lambda: len({*workers(server)} - {*before}) == 1, 1, "another worker")  # noqa: B023


def holds_for(seconds: float, condition: Callable[[], object], what: str) -> None:
    """Fail as soon as the condition does not hold."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"no longer, {end - time.monotonic():.1f} s before the end: {what}"
        time.sleep(0.02)


def outlast(fleet: Fleet, fault: AbstractContextManager, seconds: float) -> None:
    """Apply a fault that prevents storing for `seconds`; the server must not refuse frames because of it."""
    wait_until_settled(fleet)
    with fault:
        time.sleep(seconds)  # a fixed duration, not a wait for a condition
        assert fleet.backlog > DELAYED_FRAMES, "frames do not wait"
    wait_until_settled(fleet)


def lock_rows(fleet: Fleet, database_url: str, seconds: float, of_session: str = SESSION_FOR_UPDATE) -> None:
    """Hold one robot's session and another's row in robots_robot: only the first robot's frames wait."""
    wait_until_settled(fleet)
    waiting, *others = fleet.robots
    ids = (waiting.record.robot_id, others[0].record.robot_id)
    with locked(database_url, of_session, ids[0]), locked(database_url, ROBOT_FOR_UPDATE, ids[1]):
        holds_for(seconds, lambda: all(robot.waiting < DELAYED_FRAMES for robot in others), "other robots' acks")
        assert set(_without_heartbeat(database_url)) <= set(ids)
    wait_until_settled(fleet)


def _without_heartbeat(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as database:
        late = "SELECT robot_id FROM teleop_teleopsession WHERE updated_at < now() - %s"
        return [robot_id for (robot_id,) in database.execute(late, [HEARTBEAT_LATE])]


def stop_a_worker(fleet: Fleet, server: Server, proxy: Proxy, database_url: str) -> None:
    """Stop a worker that holds frames until its sessions were swept and stream at the other worker; then resume it.

    The robots connect through the proxy, which refuses them until the sweep.
    """
    wait_until_settled(fleet)
    stopped = busiest_worker(server)
    stopped.suspend()
    try:
        proxy.refuses_connections = True
        wait_until(lambda: _is_swept(fleet, database_url), SWEPT_S, "the stopped worker's sessions are swept")
        proxy.refuses_connections = False
        wait_until(lambda: fleet.is_streaming, CONNECT_S, "all robots stream at the other worker")
    finally:
        stopped.resume()
    wait_until_settled(fleet)


def _is_swept(fleet: Fleet, database_url: str) -> bool:
    greeted = sum(robot.client.protocol.greeted for robot in fleet.robots)
    with psycopg.connect(database_url) as database:
        (live,) = database.execute("SELECT count(*) FROM teleop_teleopsession WHERE end_time IS NULL").fetchone()
    return live == greeted < len(fleet.robots)


def workers(server: Server) -> list[psutil.Process]:
    return [child for child in psutil.Process(server.pid).children() if is_running(child)]


def busiest_worker(server: Server) -> psutil.Process:
    """Return the worker with the most connections: another may have accepted none."""
    return max(workers(server), key=lambda worker: len(worker.net_connections()))


def all_end(fleet: Fleet, database_url: str) -> None:
    """End all sessions, and check the database against the ledger."""
    wait_until_settled(fleet)
    fleet.end()
    faults = faults_in(database_url, fleet.ledger)
    assert not faults, "\n".join(faults[:20])
