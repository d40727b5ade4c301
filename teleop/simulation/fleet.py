"""Simulated robots that stream by the real client, and a line a second about them."""

import asyncio
import itertools
import signal
import time
from collections.abc import Callable, Sequence

from teleop_client import AsyncRobotClient, TeleopError

from teleop.simulation.arm import Arm
from teleop.simulation.latencies import Latencies, in_words

# Time between two robots' starts. As 97 and 60 have no common divisor, it also spreads their frames over the 1/60 s.
STAGGER_S = 1 / 97
END_TIMEOUT_S = 30
PICTURES_S = 15  # of a camera
STOP_TIMEOUT_S = 5  # the user waits for this after Ctrl-C


class SimulatedRobot:
    """One arm, and the client through which it streams; an arm with cameras also films, and reports its motors."""

    def __init__(self, number: int, client: AsyncRobotClient, cameras: Sequence[str] = ()) -> None:
        self.client = client
        self._arm = Arm(number, servo_health=bool(cameras))
        self._cameras = cameras
        self._joints: dict[str, float] = {}

    @property
    def is_connected(self) -> bool:
        return self.client.protocol.greeted

    @property
    def has_ended(self) -> bool:
        return self.client.protocol.frame_count is not None

    @property
    def stored(self) -> int:
        """Return the frame count that the server reported at the session's end; until then the acknowledged frames."""
        stats, counted = self.client.stats, self.client.protocol.frame_count
        return stats.acked - stats.lost if counted is None else counted

    async def run(self, fps: int, duration_s: float, stop: asyncio.Event) -> None:
        self.client.start()
        filming = asyncio.create_task(self._film())
        try:
            await self._stream(fps, duration_s, stop)
            filming.cancel()
            await self.client.end(END_TIMEOUT_S)
        except TeleopError:
            pass  # `on_error` was called, and the command reports frames that are not stored
        finally:
            filming.cancel()
            await self.client.close()

    async def _film(self) -> None:
        """Draw and record a picture for each camera, PICTURES_S times a second; a thread draws."""
        if not self._cameras:
            return
        from teleop.simulation.pictures import CAMERAS  # it imports NumPy, which only this needs

        cameras = [(self.client.camera(name), CAMERAS[name]) for name in self._cameras]
        while True:
            begin_s = time.monotonic()
            for camera, draw in cameras:
                moment_s, joints = time.time(), dict(self._joints)
                if joints:
                    camera.write(await asyncio.to_thread(draw, joints), moment_s)
            await asyncio.sleep(max(0.0, begin_s + 1 / PICTURES_S - time.monotonic()))

    async def _stream(self, fps: int, duration_s: float, stop: asyncio.Event) -> None:
        """Send frame n at n / fps after the start, even if the frame before it was late: the rate does not drift."""
        clock = asyncio.get_running_loop().time
        begin = clock()
        for n in range(round(duration_s * fps)) if duration_s else itertools.count():
            due = begin + n / fps
            await asyncio.sleep(due - clock())
            if stop.is_set() or self.client.protocol.done:
                return
            late_s = clock() - due
            observation, action = self._arm.frame(n / fps)
            self._joints = observation
            self.client.send(observation, action, timestamp=time.time() - late_s)


class Fleet:
    """All simulated robots, until their duration ends or a signal stops them; `show` receives a line a second."""

    def __init__(self, robots: list[SimulatedRobot], latencies: Latencies, show: Callable[[str], None]) -> None:
        self.robots = robots
        self.latencies = latencies
        self._show = show
        self._stop = asyncio.Event()
        self._streams: list[asyncio.Task[None]] = []
        self._begin_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._begin_s

    def total(self, name: str) -> int:
        """Return the sum over all robots of one field of the client's Stats."""
        return sum(getattr(robot.client.stats, name) for robot in self.robots)

    async def run(self, fps: int, duration_s: float) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._report()), tasks.create_task(self._hurry())]
            for robot in self.robots:
                self._streams.append(tasks.create_task(robot.run(fps, duration_s, self._stop)))
                await asyncio.sleep(STAGGER_S)
                if self._stop.is_set():
                    break
            await asyncio.wait(self._streams)
            for task in others:
                task.cancel()
        self.latencies.turn()

    async def _hurry(self) -> None:
        """Cancel the streams STOP_TIMEOUT_S after the stop, in case the server does not answer."""
        await self._stop.wait()
        await asyncio.sleep(STOP_TIMEOUT_S)
        for stream in self._streams:
            stream.cancel()

    async def _report(self) -> None:
        before_s, sent, acked = 0.0, 0, 0
        for second in itertools.count(1):
            await asyncio.sleep(second - self.elapsed_s)
            self.latencies.turn()
            now_s, now_sent, now_acked = self.elapsed_s, self.total("sent"), self.total("acked")
            took_s = now_s - before_s
            self._show(self._line((now_sent - sent) / took_s, (now_acked - acked) / took_s))
            before_s, sent, acked = now_s, now_sent, now_acked

    def _line(self, sent_a_second: float, acked_a_second: float) -> str:
        connected = sum(robot.is_connected for robot in self.robots)
        parts = [
            f"{self.elapsed_s:5.0f} s",
            f"{connected}/{len(self.robots)} robots",
            f"{sent_a_second:.0f} frames/s",
            f"{acked_a_second:.0f} acked/s",
            f"{self.total('pending')} pending",
            in_words(self.latencies.second),
            *(
                f"{count} {name}"
                for name in ("refused", "dropped", "lost", "reconnects")
                if (count := self.total(name))
            ),
            self.disconnect_reason(),
        ]
        return "  ".join(parts).rstrip()

    def disconnect_reason(self) -> str:
        """Return the last error of the first unconnected robot that has one, or an empty string."""
        reasons = (robot.client.stats.last_error for robot in self.robots if not robot.is_connected)
        return next(filter(None, reasons), "")
