"""A robot's program that streams until SIGTERM: `python -m tests.chaos.robot_program '{"url": ...}'`.

Its journal has a line for each frame whose `send` has returned, each message of the server and each error. A line is
written at once, so it survives a SIGKILL.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import teleop_client.buffer
from teleop_client import RobotClient, TeleopError
from teleop_client.clock import Clock
from teleop_client.system import elapsed_s, wall_and_elapsed

from tests.chaos.simulated_robot import SHORT, frame_data

END_S = 60
# Small, so that frames soon are only on disk, and segments are replaced and deleted all the time.
MEMORY_FRAMES, SEGMENT_BYTES = 300, 64 << 10
CLOCK = "clock"  # a file with the seconds by which this robot's clock was set


class Journal:
    """Append lines to a file, each with one write."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *entry: Any) -> None:
        os.write(self._fd, json.dumps(entry).encode() + b"\n")


def run(
    url: str, robot_id: str, session: str, folder: str, journal: str, number: int, fps: int, **options: Any
) -> None:
    """Stream the frames from `number` on, at `fps`, into one session; end it after SIGTERM."""
    is_stopped = False

    def stop(*_: object) -> None:
        nonlocal is_stopped
        is_stopped = True

    def report(error: TeleopError) -> None:
        written.write("error", type(error).__name__, str(error))

    signal.signal(signal.SIGTERM, stop)
    written = Journal(Path(journal))
    teleop_client.buffer.MEMORY_FRAMES = MEMORY_FRAMES
    client = RobotClient(url, robot_id, session=session, fps=fps, delays=SHORT, on_error=report, **options)
    client._client._limits["segment_bytes"] = SEGMENT_BYTES
    protocol = client._client.protocol
    protocol._wall = Clock(wall_and_elapsed=lambda: clocks(Path(folder)))
    receive = protocol.receive

    def record_message(text: str | bytes) -> None:
        written.write("received", json.loads(text))
        receive(text)

    protocol.receive = record_message
    client.start()
    while not is_stopped:
        data, before_s = frame_data(number), elapsed_s()
        index = client.send(**data)
        written.write("sent", number, index, before_s, elapsed_s())
        number += 1
        time.sleep(1 / fps)
    client.end(END_S)


def clocks(folder: Path) -> tuple[float, float]:
    """Return both clocks; the wall clock as if it was set by the seconds in the file CLOCK."""
    wall_s, now_s = wall_and_elapsed()
    file = folder / CLOCK
    return wall_s + (float(file.read_text()) if file.exists() else 0.0), now_s


if __name__ == "__main__":
    run(**json.loads(sys.argv[1]))
