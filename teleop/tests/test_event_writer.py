"""The queue of events: groups of all robots, tried again while they cannot be stored, in bounded memory."""

import asyncio
import logging

import pytest
from django.db import IntegrityError

from robots.close_codes import Close
from teleop.ingest import batch, event_writer
from teleop.ingest.event_writer import EventWriter
from teleop.ingest.parse import Event
from teleop.ingest.types import EventsOutcome
from teleop.ingest.writer import FrameWriter
from teleop.tests.writer_fakes import Away, Source, Store

SIZE = 100 + 256


class Robot(Source):
    def __init__(self, session_id=1):
        super().__init__(session_id)
        self.robot_id = f"arm-{session_id}"
        self.close_code = None
        self.answered = []

    def events_settled(self, events, outcome):
        self.answered += [event.event_id for event in events]


class Writing:
    """An event writer with a fake database: `groups` are the events of each call, `fails` its next errors."""

    def __init__(self, max_pending_bytes=2**20):
        self.groups: list[dict[int, list[str]]] = []
        self.fails: list[Exception] = []
        self.refuses: int | None = None  # the session that the database does not store
        self.frames = FrameWriter(Store(), None, interval_s=0, max_pending_bytes=max_pending_bytes)
        self.events = EventWriter(self.frames, self._call)

    async def _call(self, _function, groups):
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop()
        if any(session_id == self.refuses for session_id, _ in groups):
            raise IntegrityError("no")
        self.groups.append({session_id: [event.event_id for event in events] for session_id, events in groups})
        return [EventsOutcome(events) for _, events in groups]

    def offer(self, robot, *event_ids):
        return [self.events.offer(robot, Event(event_id, "mark", 0, b"x" * 100)) for event_id in event_ids]

    def run(self, story):
        async def main():
            running = asyncio.create_task(self.events.run())
            await asyncio.wait_for(story(), 10)
            running.cancel()

        asyncio.run(main())


@pytest.fixture(autouse=True)
def _retries_come_soon(monkeypatch):
    monkeypatch.setattr(batch, "RETRY_S", 0.001)
    monkeypatch.setattr(event_writer, "RETRY_S", 0.001)


def test_it_stores_the_events_of_all_robots_together_and_in_order():
    writing, robots = Writing(), [Robot(number) for number in range(3)]

    async def story():
        for robot in robots:
            writing.offer(robot, "a", "b")
        for robot in robots:
            await writing.events.drained(robot)

    writing.run(story)
    assert writing.groups == [{number: ["a", "b"] for number in range(3)}]
    assert [robot.answered for robot in robots] == [["a", "b"]] * 3


def test_a_robot_with_many_events_has_no_larger_share_of_a_group():
    writing, busy, other = Writing(), Robot(1), Robot(2)
    ids = [str(number) for number in range(50)]

    async def story():
        writing.offer(busy, *ids)
        writing.offer(other, "a")
        await writing.events.drained(busy)

    writing.run(story)
    assert writing.groups == [{1: ids[:20], 2: ["a"]}, {1: ids[20:40]}, {1: ids[40:]}]
    assert busy.answered == ids


def test_it_stores_events_that_come_during_a_write():
    writing, robot = Writing(), Robot()

    async def story():
        writing.offer(robot, "a")
        await asyncio.sleep(0)
        writing.offer(robot, "b", "c")
        await writing.events.drained(robot)

    writing.run(story)
    assert writing.groups == [{1: ["a"]}, {1: ["b", "c"]}]
    assert robot.answered == ["a", "b", "c"]


def test_it_tries_again_while_the_database_is_away_and_logs_it_once(caplog):
    writing, robot = Writing(), Robot()
    writing.fails = [Away("no connection")] * 5

    async def story():
        writing.offer(robot, "a")
        await writing.events.drained(robot)

    writing.run(story)
    assert (robot.answered, writing.groups) == (["a"], [{1: ["a"]}])
    assert [record.getMessage() for record in caplog.records] == [
        "could not store the events of 1 sessions; retrying: no connection"
    ]


def test_a_robot_whose_events_cannot_be_stored_delays_no_other():
    writing, faulty, other = Writing(), Robot(1), Robot(2)
    writing.refuses = 1

    async def story():
        writing.offer(faulty, "a")
        writing.offer(other, "a")
        await writing.events.drained(other)
        assert (faulty.answered, other.answered) == ([], ["a"])
        writing.refuses = None
        await writing.events.drained(faulty)

    writing.run(story)
    assert faulty.answered == ["a"]


def test_events_that_wait_have_the_bounds_of_frames():
    writing, robot, other = Writing(8 * 3 * SIZE), Robot(1), Robot(2)
    writing.fails = [Away()]

    async def story():
        assert writing.offer(robot, *"abcd") == [True, True, True, False]
        assert writing.offer(other, "a") == [True]
        assert (robot.pending_bytes, writing.frames.pending_bytes) == (3 * SIZE, 4 * SIZE)
        await writing.events.drained(robot)
        await writing.events.drained(other)
        assert writing.offer(robot, "d") == [True]
        await writing.events.drained(robot)

    writing.run(story)
    assert robot.answered == ["a", "b", "c", "d"]
    assert (robot.pending_bytes, writing.frames.pending_bytes) == (0, 0)


def test_it_forgets_events_after_a_take_over():
    writing, robot = Writing(), Robot()
    writing.fails = [Away()] * 1000

    async def story():
        writing.offer(robot, "a")
        robot.close_code = Close.TAKEN_OVER
        await writing.events.drained(robot)
        assert len(writing.fails) == 999
        assert (robot.pending_bytes, writing.frames.pending_bytes) == (0, 0)

    writing.run(story)
    assert robot.answered == []


def test_it_logs_one_line_for_a_robot(caplog):
    caplog.set_level(logging.INFO)
    writing, robot = Writing(), Robot()

    async def story():
        for event_id in "abc":
            writing.offer(robot, event_id)
            await writing.events.drained(robot)
        await writing.events.log()
        await writing.events.log()

    writing.run(story)
    assert [record.getMessage() for record in caplog.records] == [
        "robot arm-1: stored 3 events of session 1, and dropped 0 over its maximum of 1000"
    ]
