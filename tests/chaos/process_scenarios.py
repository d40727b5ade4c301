"""Faults for robots that are processes of their own, and for their server at the same time."""

import random
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Self

from tests.chaos.ledger import events_in
from tests.chaos.robot_process import ProcessFleet
from tests.chaos.scenarios import wait_until_settled
from tests.services import Server, wait_until

MOST_S = 4.0  # that the server is up, or away


class Outages:
    """Kill the server and start it again, in a thread, at random moments: it is away for half of the time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopping = Event()
        self._thread = Thread(target=self._run)
        self.count = 0
        self.up_s = self.away_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._server.start()

    def __str__(self) -> str:
        share = self.away_s / (self.up_s + self.away_s)
        return f"the server was killed {self.count} times, and away for {share:.0%} of {self.up_s + self.away_s:.0f} s"

    def _run(self) -> None:
        start_s, up_at_s = 0.0, time.monotonic()
        while not self._stopping.wait(up_s := random.uniform(0, MOST_S)):
            self._server.kill()
            away_at_s = time.monotonic()
            self._stopping.wait(max(0, up_s - start_s))
            begin_s = time.monotonic()
            self._server.start()
            now_s = time.monotonic()
            self.count += 1
            self.up_s += away_at_s - up_at_s
            self.away_s += now_s - away_at_s
            start_s, up_at_s = now_s - begin_s, now_s
        self._server.kill()  # it would get a signal when this thread ends, which is its parent


def kill_each(fleet: ProcessFleet) -> None:
    for robot in fleet.robots:
        robot.kill()
        robot.start()


def kill_at_random(fleet: ProcessFleet, times: int, mean_s: float) -> None:
    """Kill robots, so many times each in the mean, and start them again at once, often before they are connected."""
    for _ in range(times * len(fleet.robots)):
        time.sleep(random.expovariate(1 / mean_s))  # a random moment, not a wait for a condition
        robot = random.choice(fleet.robots)
        robot.kill()
        robot.start()


def suspend(fleet: ProcessFleet, seconds: float) -> None:
    """Stop all robots for some time; then they go on."""
    wait_until_settled(fleet)
    for robot in fleet.robots:
        robot.freeze()
    time.sleep(seconds)  # a fixed duration, not a wait for a condition
    for robot in fleet.robots:
        robot.thaw()
    wait_until_settled(fleet)


def step_clocks(fleet: ProcessFleet, database_url: str, *all_ahead_s: float) -> None:
    """Set the robots' clocks, and kill the robots after each step: every step is stored as one event."""
    for ahead_s in all_ahead_s:
        wait_until_settled(fleet)
        before = len(events_in(database_url, "clock_step"))
        for robot in fleet.robots:
            robot.set_clock(ahead_s)
        wait_until(lambda: len(events_in(database_url, "clock_step")) >= before + len(fleet.robots), 20, "the events")  # noqa: B023
        kill_each(fleet)
    wait_until_settled(fleet)
    steps = [after - before for before, after in zip([0, *all_ahead_s], all_ahead_s, strict=False)]
    events = events_in(database_url, "clock_step")
    for robot in fleet.robots:
        found = [round(detail["step_s"]) for robot_id, detail in events if robot_id == robot.record.robot_id]
        assert found == steps, f"{robot.record.robot_id}: the steps are {found}"


def fill_up_spools(fleet: ProcessFleet, disk: Path, server: Server) -> None:
    """Fill the robots' disk during an outage until they drop frames; go on when they keep frames again."""
    wait_until_settled(fleet)
    server.kill()
    dropped, filler = [robot.dropped for robot in fleet.robots], disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    pairs = list(zip(fleet.robots, dropped, strict=True))
    wait_until(lambda: all(robot.dropped > before for robot, before in pairs), 20, "all robots drop frames")
    filler.unlink()
    pairs = [(robot, robot.kept) for robot in fleet.robots]
    wait_until(lambda: all(robot.kept > before for robot, before in pairs), 20, "all robots keep frames")
    server.start()
    wait_until_settled(fleet)
