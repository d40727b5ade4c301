"""Measure what the plugin of LeRobot costs the loop: `python client/bench_plugin.py` prints a Markdown table.

The loop is a process of its own, with the stub of lerobot of the tests; the server of the tests is in this
process. The time of the arm's own methods is subtracted. With lerobot installed, `--real` measures in its Python.
"""

import argparse
import asyncio
import importlib
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PATHS = {"client": HERE, "plugin": HERE / "lerobot_plugin", "stub": HERE / "tests" / "lerobot_stub"}
FPS = 60
CASES = {"the plain type": None, "streamed, no camera": 0, "streamed, two cameras": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3, help="the cases take turns; the medians are shown")
    parser.add_argument(
        "--real", metavar="PYTHON", help="a Python with lerobot and teleop-client, in place of the stub"
    )
    options = parser.parse_args()
    asyncio.run(show(options))


async def show(options: argparse.Namespace) -> None:
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    for _ in range(options.turns):
        for name, cameras in CASES.items():
            turns[name].append(await measure(cameras, options))
    keys = ("p50", "p99", "first", "cpu", "period_p99")
    lines = [("robot", "tap p50", "tap p99", "first tap", "CPU of a tap", "period p99"), ["---"] * 6]
    lines += [
        (name, *(f"{statistics.median(each[key] for each in of):.3f}" for key in keys)) for name, of in turns.items()
    ]
    sys.stdout.write(f"lerobot's loop at {FPS} Hz, pictures of 640x480 at 30 Hz, milliseconds:\n\n")
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))


async def measure(cameras: int | None, options: argparse.Namespace) -> dict[str, float]:
    """Run a loop in a process of its own, with an empty spool."""
    from bench_link import Server

    names = ["client", "plugin"] if options.real else list(PATHS)
    with tempfile.TemporaryDirectory(prefix="teleop-bench-", ignore_cleanup_errors=True) as spool:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(PATHS[name]) for name in names),
            "TELEOP_SPOOL_DIR": spool,
            "TELEOP_KEY": "bench",
        }
        async with Server() as server:
            arguments = json.dumps({"url": server.url, "cameras": cameras, "seconds": options.seconds})
            command = [options.real or sys.executable, "-P", __file__, "--loop", arguments]
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE)
            out, _ = await process.communicate()
    if not out:
        raise SystemExit("the loop's process has failed")
    return json.loads(out)


def loop(url: str, cameras: int | None, seconds: float) -> None:
    """Run lerobot's loop; show the times of the tap and of the loop's period."""
    from bench_robot import compute

    robot = make_robot(url, cameras)
    robot.connect()
    if cameras is not None:
        announce_episode()
    taps, cpu, periods, begin = [], [], [], time.perf_counter()
    for number in range(round(seconds * FPS)):
        time.sleep(max(0.0, begin + number / FPS - time.perf_counter()))
        periods.append(time.perf_counter())
        before_s, before_cpu_s = time.perf_counter(), time.thread_time()
        observation = robot.get_observation()
        tap_s, tap_cpu_s = time.perf_counter() - before_s - robot.own_s, time.thread_time() - before_cpu_s - robot.own_s
        compute(0.004)  # the leader, processors, the data set
        before_s, before_cpu_s = time.perf_counter(), time.thread_time()
        robot.send_action({name: value for name, value in observation.items() if name.endswith(".pos")})
        taps.append(tap_s + time.perf_counter() - before_s)
        cpu.append(tap_cpu_s + time.thread_time() - before_cpu_s)
    robot.disconnect()
    gaps = [after - before for before, after in itertools.pairwise(periods)]
    found = {"p50": statistics.median(taps), "cpu": statistics.median(cpu), "first": taps[0]}
    found |= {"p99": p99(taps), "period_p99": p99(gaps)}
    sys.stdout.write(json.dumps({key: 1e3 * value for key, value in found.items()}))


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[-1]


def announce_episode() -> None:
    """Begin a session, as lerobot-record does."""
    import logging

    logging.getLogger().setLevel(logging.INFO)
    logging.info("Recording episode 0")


def make_robot(url: str, cameras: int | None) -> Any:
    """Return an arm of lerobot, which streams unless `cameras` is None."""
    from bench_robot import JOINTS, textured_pictures
    from lerobot.robots import Robot, RobotConfig, make_robot_from_config

    pictures = textured_pictures() if cameras else []
    names = [f"camera_{place}" for place in range(cameras or 0)]

    @RobotConfig.register_subclass("bench_arm")
    @dataclass(kw_only=True)
    class BenchArmConfig(RobotConfig):
        pass

    class BenchArm(Robot):
        config_class, name = BenchArmConfig, "bench_arm"
        is_connected = is_calibrated = True
        action_features = dict.fromkeys(JOINTS, float)
        observation_features = action_features | dict.fromkeys(names, (480, 640, 3))
        number, own_s = 0, 0.0

        def get_observation(self) -> dict[str, Any]:
            begin_s = time.perf_counter()
            self.number += 1
            shown = self.number // 2  # the loop is twice as fast as the cameras
            images = {name: pictures[(shown + place) % len(pictures)] for place, name in enumerate(names)}
            observation = {joint: random.uniform(-100, 100) for joint in JOINTS} | images
            self.own_s = time.perf_counter() - begin_s
            return observation

        def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
            return action

        def connect(self, calibrate: bool = True) -> None: ...

        def disconnect(self) -> None: ...

        def calibrate(self) -> None: ...

        def configure(self) -> None: ...

    sys.modules[BenchArmConfig.__module__].BenchArm = BenchArm  # where lerobot looks for it
    if cameras is None:
        return make_robot_from_config(BenchArmConfig())
    importlib.import_module("lerobot_robot_teleop")  # registers bench_arm_stream
    from lerobot_robot_teleop.config import StreamConfig

    streamed = RobotConfig.get_choice_class("bench_arm_stream")
    return make_robot_from_config(streamed(stream=StreamConfig(url=url, robot_id="robot_A")))


if __name__ == "__main__":
    if "--loop" in sys.argv:
        loop(**json.loads(sys.argv[-1]))
    else:
        main()
