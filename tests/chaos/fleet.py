"""Robots that stream in a separate thread, each with a record in the ledger."""

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress

from teleop_client import AsyncRobotClient, TeleopError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.chaos.ledger import Ledger, SessionRecord
from tests.chaos.loop_thread import LoopThread
from tests.chaos.simulated_robot import SHORT, frame_data
from tests.services import memory_folder

CONNECT_S = 60  # of a fleet that resumes; half of its attempts may reach a stopped worker


class Robot:
    """The real client with a recorder: frames given to it and messages from its socket go into the ledger."""

    def __init__(self, url: str, robot_id: str, ledger: Ledger, session: str, spool_dir: str) -> None:
        # The client notices a frozen server, or a dead connection, in seconds.
        timeouts = {"connect_timeout_s": 5, "ping_interval_s": 2, "ping_timeout_s": 4}
        self.record = ledger.record(robot_id, session)
        self.record.meta_info = {"robot_type": "so101", "task": f"Fold towel {robot_id}"}
        options = {"session": session, "meta_info": self.record.meta_info, "delays": SHORT, "spool_dir": spool_dir}
        self.client = AsyncRobotClient(url, robot_id, **options, **timeouts)
        self._receive, self.client.protocol.receive = self.client.protocol.receive, self._record_message

    def _record_message(self, text: str | bytes) -> None:
        self.record.note_received(json.loads(text))
        self._receive(text)

    def send(self) -> None:
        frame, timestamp = frame_data(len(self.record.sent)), round(time.time(), 6)  # the client sends microseconds
        index = self.client.send(**frame, timestamp=timestamp)
        if index is not None:
            self.record.note_sent(index, timestamp, frame)
        elif not self.client.protocol.error:
            self.record.add_fault("the client's memory is full")

    @property
    def waiting(self) -> int:
        """The number of frames that are not acknowledged."""
        return self.client.stats.pending

    @property
    def is_streaming(self) -> bool:
        return self.client.protocol.greeted and self.waiting < 30

    async def end(self, timeout_s: float) -> None:
        try:
            await self.client.end(timeout_s)
        except TeleopError as error:
            self.record.add_fault(f"did not end: {error}")
        finally:
            await self.client.close()


class Mute:
    """A robot without a subprotocol, so without acks: all frames sent before it saw 1012 count as acknowledged."""

    def __init__(self, url: str, robot_id: str, ledger: Ledger) -> None:
        self.robot_id, self.close_code = robot_id, 0
        self._url = f"{url.replace('http', 'ws')}/ws/log/{robot_id}"
        self._ledger = ledger
        self._record: SessionRecord | None = None

    @property
    def sent(self) -> int:
        return len(self._record.sent) if self._record else 0

    async def run(self, fps: int) -> None:
        """Stream one session."""
        key = str(uuid.uuid4())
        async with connect(f"{self._url}?session={key}", compression=None) as websocket:
            self._record = self._ledger.record(self.robot_id, key)
            with suppress(ConnectionClosed):
                while True:
                    index, frame, timestamp = self.sent, frame_data(self.sent), time.time()
                    await websocket.send(json.dumps({"frame_index": index, "timestamp": timestamp, **frame}))
                    self._record.note_sent(index, timestamp, frame)
                    await asyncio.sleep(1 / fps)
            self.close_code = websocket.close_code
        if self.close_code == 1012:
            self._record.acked_through = max(self._record.sent)


class Fleet(LoopThread):
    """Run `count` robots at `fps` in a thread: `with Fleet(url, ledger) as fleet: ...; fleet.end()`.

    With `sessions`, each robot resumes one of them.
    """

    def __init__(
        self, url: str, ledger: Ledger, count: int = 20, fps: int = 60, mutes: int = 0, sessions: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.ledger = ledger
        self._fps = fps
        self._tasks: list[asyncio.Task] = []
        self._resumes = bool(sessions)
        keys = sessions or [str(uuid.uuid4()) for _ in range(count)]
        # Another fleet stands for other computers: it has no spool of this one.
        self._spools = tempfile.TemporaryDirectory(prefix="teleop-", dir=memory_folder(), ignore_cleanup_errors=True)
        names = [f"robot_{number:03}" for number in range(len(keys))]
        self.robots = [Robot(url, name, ledger, key, self._spools.name) for name, key in zip(names, keys, strict=True)]
        self.mutes = [Mute(url, f"mute_{number:03}", ledger) for number in range(mutes)]

    @property
    def is_streaming(self) -> bool:
        """Whether all robots are connected, and no backlog is left."""
        return all(robot.is_streaming for robot in self.robots) and all(mute.sent for mute in self.mutes)

    @property
    def backlog(self) -> int:
        return sum(robot.waiting for robot in self.robots)

    @property
    def acked(self) -> int:
        return sum(robot.client.stats.acked for robot in self.robots)

    @property
    def reconnects(self) -> int:
        return sum(robot.client.stats.reconnects for robot in self.robots)

    def end(self, timeout_s: float = 30) -> None:
        """Stop sending and end all sessions; the ledger records each failure to end."""
        self.call(self._end(timeout_s))

    async def _start(self) -> None:
        for robot in self.robots:
            robot.client.start()
        if self._resumes:  # the server continues the stored indexes, so they are unknown before
            await asyncio.gather(*(robot.client.wait_connected(CONNECT_S) for robot in self.robots))
        self._tasks = [asyncio.create_task(self._stream()), *map(asyncio.create_task, map(self._mute, self.mutes))]

    async def _stream(self) -> None:
        """Send from one clock: a timer for each robot would cost more than its frames."""
        begin, number = self._loop.time(), 0
        while True:
            for robot in self.robots:
                robot.send()
            number += 1
            await asyncio.sleep(begin + number / self._fps - self._loop.time())

    async def _mute(self, mute: Mute) -> None:
        while True:
            with suppress(OSError, InvalidHandshake, ConnectionClosed):
                await mute.run(self._fps)
            await asyncio.sleep(0.2)

    async def _end(self, timeout_s: float) -> None:
        await self._stop_sending()
        await asyncio.gather(*(robot.end(timeout_s) for robot in self.robots))

    async def _stop_sending(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop(self) -> None:
        await self._stop_sending()
        await asyncio.gather(*(robot.client.close() for robot in self.robots))
        self._spools.cleanup()
