"""`make chaos`: the kills of the short form, for longer; and faults of disks and networks."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from teleop_client import SessionTaken

from tests.chaos.environment import migrated, postgres_database, serving, serving_with, sqlite_file
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.process_scenarios import Outages, fill_up_spools, kill_at_random, kill_each, step_clocks, suspend
from tests.chaos.proxy import Proxy
from tests.chaos.robot_process import ProcessFleet
from tests.chaos.scenarios import (
    all_end,
    break_connections,
    busiest_worker,
    fill_up,
    freeze,
    kill,
    kill_a_worker,
    restart,
    stop_a_worker,
    terminate,
    wait_until_settled,
)
from tests.chaos.uploaders import Uploaders, all_are_stored, kill_during_uploads
from tests.services import Postgres, redis, wait_until

ROBOTS = 50
LONG_GROUPS = {"INGEST_FLUSH_INTERVAL_MS": "300"}  # so that a stopped worker always holds frames
pytestmark = pytest.mark.timeout(900)


def test_it_loses_no_frame_on_sqlite():
    with sqlite_file() as url, serving(url) as server, Fleet(server.url, Ledger(), ROBOTS) as fleet:
        terminate(fleet, server, times=20)
        kill(fleet, server, times=50)
        all_end(fleet, url)


def test_it_loses_no_frame_on_postgresql():
    with postgres_database() as (service, url), serving(url) as server, Fleet(server.url, Ledger(), ROBOTS) as fleet:
        terminate(fleet, server, times=20)
        restart(fleet, service, times=10)
        freeze(fleet, service, seconds=20)
        kill(fleet, server, times=50)
        all_end(fleet, url)


def test_it_loses_no_frame_with_two_workers():
    with (
        postgres_database() as (service, url),
        redis() as channels,
        serving(url, "--workers", "2", redis_url=channels.url) as server,
        Fleet(server.url, Ledger(), ROBOTS) as fleet,
    ):
        kill_a_worker(fleet, server, times=20)
        restart(fleet, channels, times=10)
        freeze(fleet, channels, seconds=20)
        restart(fleet, service, times=3)
        terminate(fleet, server, times=3)
        all_end(fleet, url)


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    assert os.geteuid() == 0, "needs root, to mount a small disk"
    with tempfile.TemporaryDirectory(prefix="teleop-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def test_it_loses_no_frame_on_sqlite_with_a_full_disk():
    with (
        small_disk(100) as disk,
        sqlite_file(disk) as url,
        serving(url) as server,
        Fleet(server.url, Ledger(), ROBOTS) as fleet,
    ):
        for _ in range(3):
            fill_up(fleet, disk, server)
        all_end(fleet, url)


def test_it_loses_no_frame_on_postgresql_with_a_full_disk():
    """PostgreSQL exits when its log has no room; the operator, here the test, starts it again."""
    with small_disk(400) as disk:
        folder = disk / "postgres"
        folder.mkdir()
        with Postgres(folder) as service:
            url = migrated(service.url)
            with serving(url) as server, Fleet(server.url, Ledger(), ROBOTS) as fleet:
                for _ in range(3):
                    fill_up(fleet, disk, server)
                    if service.process.poll() is not None:
                        service.start()
                all_end(fleet, url)


def test_it_loses_no_frame_on_sqlite_with_cut_and_half_open_connections():
    with sqlite_file() as url:
        break_network(url)


def test_it_loses_no_frame_on_postgresql_with_cut_and_half_open_connections():
    with postgres_database() as (_, url):
        break_network(url)


def break_network(url: str) -> None:
    with serving(url) as server, Proxy(server.port) as proxy, Fleet(proxy.url, Ledger(), ROBOTS) as fleet:
        break_connections(fleet, proxy.cut, times=20)
        break_connections(fleet, proxy.stop_forwarding, times=3)
        all_end(fleet, url)


def test_a_second_client_takes_the_session_over_and_the_first_stops():
    with sqlite_file() as url, serving(url) as server:
        first, second = Ledger(), Ledger()
        sessions = [f"both-{number:03}" for number in range(ROBOTS)]
        with Fleet(server.url, first, sessions=sessions) as one:
            wait_until_settled(one)
            with Fleet(server.url, second, sessions=sessions) as another:
                wait_until(lambda: all(robot.client.protocol.error for robot in one.robots), what="the first stop")
                assert {type(robot.client.protocol.error) for robot in one.robots} == {SessionTaken}
                for name, record in first.records.items():
                    second.records[name].add_frames_of(record)
                all_end(another, url)


def test_it_loses_no_frame_while_the_server_is_frozen():
    with postgres_database() as (_, url), serving(url) as server, Fleet(server.url, Ledger()) as fleet:
        freeze(fleet, server, seconds=45)
        all_end(fleet, url)


def test_sessions_of_a_stopped_worker_continue_at_the_other_worker():
    with (
        postgres_database() as (_, url),
        serving_with(2, url, **LONG_GROUPS) as server,
        Proxy(server.port) as proxy,
        Fleet(proxy.url, Ledger(), fps=20) as fleet,
    ):
        stop_a_worker(fleet, server, proxy, url)
        all_end(fleet, url)


def test_a_stopped_worker_stores_no_frame_in_a_session_taken_over():
    """The stopped worker still holds the old programs' last frames, under the indexes that the new programs use."""
    old, new = Ledger(), Ledger()
    sessions = [f"again-{number:03}" for number in range(20)]
    with postgres_database() as (_, url), serving_with(2, url, **LONG_GROUPS) as server:
        with Fleet(server.url, old, fps=20, sessions=sessions) as fleet:
            wait_until(lambda: all(robot.record.acked_through > 20 for robot in fleet.robots), what="frames are stored")
            stopped = busiest_worker(server)
            stopped.suspend()
            wait_until(lambda: any(robot.waiting > 60 for robot in fleet.robots), what="frames in the stopped worker")
        with Fleet(server.url, new, fps=20, sessions=sessions) as fleet:
            stopped.resume()
            pairs = [(record, new.records[name]) for name, record in old.records.items()]
            for before, record in pairs:
                record.add_frames_of(before)
            wait_until(
                lambda: all(record.acked_through > max(before.sent) for before, record in pairs), what="as many frames"
            )
            all_end(fleet, url)


def test_it_loses_no_frame_of_killed_programs_on_sqlite(tmp_path, capsys):
    with sqlite_file() as url:
        kill_programs(url, tmp_path, capsys)


def test_it_loses_no_frame_of_killed_programs_on_postgresql(tmp_path, capsys):
    with postgres_database() as (_, url):
        kill_programs(url, tmp_path, capsys)


def kill_programs(url: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Kill the programs of robots 20 times each, with the server away for half of the time."""
    with serving(url) as server, ProcessFleet(server.url, folder, count=4, fps=100) as fleet:
        with Outages(server) as outages:
            kill_at_random(fleet, times=20, mean_s=1.0)
        suspend(fleet, seconds=5)
        step_clocks(fleet, url, 3600, 0)
        all_end(fleet, url)
        with capsys.disabled():
            print("", fleet.summary(), outages, sep="\n", file=sys.stderr)  # noqa: T201 - what it is run for


def test_it_loses_no_frame_of_programs_with_a_full_disk(tmp_path):
    """Frames for which there is no room have no index, and just their indexes are missing."""
    with (
        small_disk(8) as disk,
        sqlite_file() as url,
        serving(url) as server,
        ProcessFleet(server.url, tmp_path, count=4, fps=100, spool_dir=str(disk), max_held_frames=200) as fleet,
    ):
        for _ in range(3):
            fill_up_spools(fleet, disk, server)
            kill_each(fleet)
        all_end(fleet, url)


def test_it_loses_no_film_that_it_answered_on_sqlite(tmp_path):
    with sqlite_file() as url:
        kill_uploads(url, tmp_path)


def test_it_loses_no_film_that_it_answered_on_postgresql(tmp_path):
    with postgres_database() as (_, url):
        kill_uploads(url, tmp_path)


def kill_uploads(url: str, media: Path) -> None:
    with serving(url, MEDIA_ROOT=str(media)) as server, Uploaders(server, media) as uploaders:
        kill_during_uploads(uploaders, server, times=30)
        all_are_stored(uploaders, server, url)
