"""Time `send` in a robot's loop at 60 Hz, of one or more versions of the client: `python client/bench.py --help`.

Each run is a process of its own, in turns, so that all versions meet the same load of the machine. The server is the
one of the tests, in this process. `none` is the same loop without a client: its CPU is subtracted.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FPS = 60
JOINTS = [
    f"{joint}.pos" for joint in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
]


def observation(case: str, number: int) -> dict:
    """Return an observation of six joints; the cases are `floats`, `float32`, `nan` and `cameras`."""
    values = {joint: (number * 0.37 + place * 31.7) % 180 - 90 for place, joint in enumerate(JOINTS)}
    if case == "float32":
        import numpy

        values = {joint: numpy.float32(value) for joint, value in values.items()}
    if case == "nan":
        values["gripper.pos"] = float("nan")
    if case == "cameras":
        import numpy

        values |= {name: numpy.zeros((480, 640, 3), numpy.uint8) for name in ("front", "wrist")}
    return values


def measure(url: str, case: str, seconds: float) -> dict:
    """Run the loop in this process; return the times of `send` and the process's CPU per frame, in microseconds."""
    from teleop_client import RobotClient

    took, observations = [], [observation(case, number) for number in range(60)]
    client = RobotClient(url, "robot_A")
    if case != "none":
        client.start().wait_connected(10)
    frames = round(seconds * FPS)
    cpu, begin = time.process_time(), time.perf_counter()
    for number in range(frames):
        time.sleep(max(0.0, begin + number / FPS - time.perf_counter()))
        values = observations[number % 60]
        if case != "none":
            before = time.perf_counter()
            client.send(values, {joint: values[joint] for joint in JOINTS})
            took.append(time.perf_counter() - before)
    cpu = time.process_time() - cpu
    client.close()
    p50, *_, p99 = [statistics.median(took), *statistics.quantiles(took, n=100)] if took else [0.0, 0.0]
    return {"p50": 1e6 * p50, "p99": 1e6 * p99, "cpu": 1e6 * cpu / frames}


async def run(tree: Path, case: str, seconds: float) -> dict:
    sys.path.insert(0, str(HERE / "tests"))
    from fake_server import FakeServer

    async with FakeServer() as server:
        command = [__file__, "--measure", server.url, "--case", case, "--seconds", str(seconds)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env={"PYTHONPATH": str(tree)}, stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await process.communicate()
        return json.loads(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, action="append", help="folder with teleop_client; repeatable")
    parser.add_argument("--case", action="append", help="none, floats, float32, nan or cameras; repeatable")
    parser.add_argument("--seconds", type=float, default=5, help="length of a run")
    parser.add_argument("--turns", type=int, default=3, help="the medians of so many runs are shown")
    parser.add_argument("--measure", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(json.dumps(measure(options.measure, options.case[0], options.seconds)))
        return
    trees, cases = options.tree or [HERE], ["none", *(options.case or ["floats"])]
    runs = [(tree, case) for case in cases for tree in trees]
    results: dict = {each: [] for each in runs}
    for _ in range(options.turns):
        for tree, case in runs:
            results[tree, case].append(asyncio.run(run(tree, case, options.seconds)))
    medians = {
        each: {name: statistics.median(result[name] for result in of) for name in of[0]} for each, of in results.items()
    }
    sys.stdout.write("| version | case | send p50 us | p99 us | CPU us/frame |\n| --- | --- | --- | --- | --- |\n")
    for (tree, case), found in medians.items():
        cpu = found["cpu"] - medians[tree, "none"]["cpu"]
        sys.stdout.write(f"| {tree} | {case} | {found['p50']:.0f} | {found['p99']:.0f} | {cpu:.0f} |\n")


if __name__ == "__main__":
    main()
