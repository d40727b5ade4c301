"""The robot of bench.py, in a process of its own: `python client/bench_robot.py WORK ARGUMENTS`.

PYTHONPATH has the version of teleop_client. The arguments and the results are JSON.
"""

import inspect
import itertools
import json
import logging
import math
import os
import random
import signal
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from teleop_client import AsyncRobotClient, RobotClient

FPS = 60
ROBOT_ID = "robot_A"
JOINTS = [
    f"{joint}.pos" for joint in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
]
ENCODER_STEPS = 2422  # of a joint's range, which LeRobot calls -100 to 100; the gripper's is 0 to 100
CAMERAS, PICTURES = ("front", "wrist"), 16
LAG_S = 0.05  # of the follower behind the leader
MEMORY = [float(number) for number in range(100_000)]  # 3 MB, which the loop's own work reads: caches are cold


class Arm:
    """A leader and a follower that move, with a noise of one step of the encoder."""

    def __init__(self, values: str) -> None:
        self._values, self._noise = values, random.Random(1)
        self._pictures = textured_pictures() if values == "cameras" else []

    def _positions(self, at_s: float) -> dict[str, Any]:
        positions: dict[str, Any] = {}
        for place, joint in enumerate(JOINTS):
            share = 0.5 + 0.4 * math.sin((0.1 + 0.07 * place) * math.tau * at_s + place)
            share = round(share * ENCODER_STEPS + self._noise.gauss(0, 0.5)) / ENCODER_STEPS
            positions[joint] = 100 * share if joint == JOINTS[-1] else 200 * share - 100
        if self._values != "floats":
            import numpy

            positions = {joint: numpy.float32(value) for joint, value in positions.items()}
            if self._values == "nan":
                positions[JOINTS[-1]] = numpy.float32("nan")
        return positions

    def frame(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the observation and the action of a tick."""
        observation = self._positions(number / FPS - LAG_S)
        if self._pictures:  # 30 a second: the loop sees each twice
            turn = number // 2
            observation |= {camera: self._pictures[(turn + place) % PICTURES] for place, camera in enumerate(CAMERAS)}
        return observation, self._positions(number / FPS)


def textured_pictures() -> list[Any]:
    """Return pictures of 640x480 with a moving pattern and noise."""
    import numpy

    noise, (rows, columns) = numpy.random.default_rng(1), numpy.indices((480, 640))
    pictures = []
    for number in range(PICTURES):
        pattern = 128 + 80 * numpy.sin((rows + columns + 16 * number) / 40)
        picture = pattern[:, :, None] + noise.normal(0, 4, (480, 640, 3))
        pictures.append(picture.clip(0, 255).astype(numpy.uint8))
    return pictures


def compute(seconds: float) -> None:
    """Use so much CPU time of this thread for Python code."""
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        start = random.randrange(len(MEMORY) - 500)
        sum(MEMORY[start : start + 500])


def client(url: str, session: str | None = None, options: dict[str, Any] | None = None) -> RobotClient:
    """Return a client; an older version's constructor does not know all options."""
    known = inspect.signature(AsyncRobotClient).parameters
    options = {name: value for name, value in (options or {}).items() if name in known}
    return RobotClient(url, ROBOT_ID, session=session, **options)


def cpu_us() -> dict[str, float]:
    """Return the CPU time of this process and of each thread by its name, in microseconds."""
    found = {"process": 1e6 * time.process_time()}
    for thread in threading.enumerate():
        schedule = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text(encoding="ascii")
        found[thread.name.partition(" ")[0]] = int(schedule.split()[0]) / 1e3
    return found


def memory_mb(line: str) -> float:
    """Return the resident memory of this process: now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(each.split()[1]) / 1024 for each in lines if each.startswith(line))


def loop(url: str, part: str, values: str, seconds: float, options: dict[str, Any]) -> None:
    """Run a robot's loop: 5 ms of Python code and 2 ms of I/O a tick, and this `part` of the client's work.

    Show the times of this part, the loop's periods and the CPU per frame, in microseconds.
    """
    streamer = None
    if part == "send":
        streamer = client(url, options=options).start()
        streamer.wait_connected(10)
    if part == "encode":
        from teleop_client.encoding import encode_frame, frame_message
    frames, took, starts = round(seconds * FPS), [], []
    arm = Arm(values)
    ticks = [arm.frame(number) for number in range(min(frames, 600))]
    before_us, begin = cpu_us(), time.perf_counter()
    for number in range(frames):
        time.sleep(max(0.0, begin + number / FPS - time.perf_counter()))
        starts.append(time.perf_counter())
        compute(0.002)
        time.sleep(0.002)
        compute(0.002)
        observation, action = ticks[number % len(ticks)]
        before = time.perf_counter()
        if streamer:
            streamer.send(observation, action)
        elif part == "encode":
            frame_message(number, b"%.6f" % time.time(), encode_frame(observation, action, None, {}).data or b"")
        took.append(time.perf_counter() - before)
        compute(0.001)
    cpu = {name: (us - before_us.get(name, 0.0)) / frames for name, us in cpu_us().items()}
    if streamer:
        streamer.close()
    periods = [later - earlier for earlier, later in itertools.pairwise(starts)]
    p99, period_p99 = (1e6 * statistics.quantiles(times, n=100)[-1] for times in (took, periods))
    show(p50=1e6 * statistics.median(took), p99=p99, period_p99=period_p99, cpu=cpu)


def stream(url: str, values: str, seconds: float, options: dict[str, Any]) -> None:
    """Send at 60 Hz; show how many frames the client held at each second, and the time until all were stored."""
    arm, held = Arm(values), []
    streamer = client(url, options=options).start()
    streamer.wait_connected(30)
    begin = time.perf_counter()
    for number in range(round(seconds * FPS)):
        time.sleep(max(0.0, begin + number / FPS - time.perf_counter()))
        streamer.send(*arm.frame(number))
        if number % FPS == FPS - 1:
            held.append(streamer.stats.pending)
    begin = time.perf_counter()
    streamer.flush(300)
    flush_s = time.perf_counter() - begin
    streamer.close()
    show(held=held, flush_s=flush_s, frames=round(seconds * FPS))


def record(url: str, session: str, frames: int) -> None:
    """Send a recording while there is no server; then die as if by a fault."""
    arm, mb_before = Arm("floats"), memory_mb("VmRSS")
    streamer = client(url, session).start()
    began_s, begin = time.time() - frames / FPS, time.perf_counter()
    for number in range(frames):
        streamer.send(*arm.frame(number), timestamp=began_s + number / FPS)
    seconds = time.perf_counter() - begin
    show(seconds=seconds, dropped=streamer.stats.dropped, mb_before=mb_before, mb_peak=memory_mb("VmHWM"))
    os.kill(os.getpid(), signal.SIGKILL)


def resume(url: str, session: str) -> None:
    """Send what an earlier process has left, and end the session."""
    mb_before = memory_mb("VmRSS")
    streamer = client(url, session).start()
    streamer.wait_connected(90)
    greeted_at_s = time.time()
    streamer.flush(600)
    stored_at_s, mb_peak = time.time(), memory_mb("VmHWM")
    stored = streamer.end(60)
    show(greeted_at_s=greeted_at_s, stored_at_s=stored_at_s, stored=stored, mb_before=mb_before, mb_peak=mb_peak)


def count(url: str, session: str, first: int) -> None:
    """Send numbers at 60 Hz until this process is killed, and print each that `send` has taken."""
    streamer = client(url, session).start()
    for number in range(first, first + 10_000):
        if streamer.send({"number": number}) is not None:
            os.write(1, b"%d\n" % number)
        time.sleep(1 / FPS)


def show(**found: Any) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.ERROR)  # the missing server
    {work.__name__: work for work in (loop, stream, record, resume, count)}[sys.argv[1]](**json.loads(sys.argv[2]))
