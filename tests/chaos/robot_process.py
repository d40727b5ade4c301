"""A robot that is a process of its own, to be killed and stopped, and to be given a full disk or another time."""

import json
import sys
import uuid
from collections import deque
from pathlib import Path
from typing import Any, Self

from teleop_client.system import wall_and_elapsed

from tests.chaos.ledger import Ledger, digest
from tests.chaos.robot_program import CLOCK, END_S
from tests.chaos.simulated_robot import frame_data
from tests.services import Service

CLOCK_TOLERANCE_S = 0.02  # of two readings of both clocks, at the start of the robot here and in its process
EXPECTED_ERRORS = {"ClockStepped", "NotConnected", "SpoolUnusable"}


class RobotProcess(Service):
    """The program of one robot and session; each new process resumes the session. Its journal goes into the ledger."""

    def __init__(self, url: str, ledger: Ledger, folder: Path, number: int, fps: int = 60, **options: Any) -> None:
        self.record = ledger.record(f"robot_{number:03}", str(uuid.uuid4()))
        self.record.dropped = 0
        super().__init__(folder / self.record.robot_id)
        self.folder.mkdir()
        self._fps = fps
        self._options = {
            "url": url,
            "robot_id": self.record.robot_id,
            "session": self.record.session_key,
            "fps": fps,
            "folder": str(self.folder),
            "spool_dir": str(self.folder / "spools"),
            "min_free_bytes": 0,
        } | options
        wall_s, elapsed_s = wall_and_elapsed()
        self._base_s = wall_s - elapsed_s  # the timestamps follow it, whatever sets the clock
        self._number = self._last_index = -1  # of the last frame
        self._unacked: deque[int] = deque()
        self.runs = 0

    @property
    def _journal(self) -> Path:
        return self.folder / f"{self.runs}.journal"

    def command(self) -> list[str | Path]:
        order = self._options | {"journal": str(self._journal), "number": self._number + 1}
        return [sys.executable, "-m", "tests.chaos.robot_program", json.dumps(order)]

    def answers(self) -> bool:
        return True  # it may be killed while it starts

    def start(self) -> Self:
        self.runs += 1
        self._read_bytes, self._is_greeted, self._is_sending = 0, False, False
        return super().start()

    def kill(self) -> None:
        super().kill()
        self.read()
        # The next frame may be in the spool already, and its index not in the journal.
        self._number += 1
        self.record.unreturned.add(digest(frame_data(self._number)))

    def end(self) -> None:
        """Wait until the program, which was terminated before, has ended its session; it must leave no files."""
        code = self.process.wait(END_S + 10)  # a second signal would end an interpreter that is exiting
        self.read()
        if code:
            self.record.add_fault(f"exit code {code}: {self.output()[-1000:]}")
        if left := list(Path(self._options["spool_dir"], self.record.robot_id).glob("*")):
            self.record.add_fault(f"an ended session left {left}")

    def set_clock(self, ahead_s: float) -> None:
        """Set the robot's clock so much ahead of this machine's."""
        new = self.folder / "clock.new"
        new.write_text(str(ahead_s))
        new.rename(self.folder / CLOCK)

    @property
    def kept(self) -> int:
        """The number of frames that have an index."""
        self.read()
        return len(self.record.sent)

    @property
    def dropped(self) -> int:
        """The number of frames that have none."""
        self.read()
        return self.record.dropped

    @property
    def waiting(self) -> int:
        """The number of frames that are not acknowledged."""
        self.read()
        while self._unacked and self._unacked[0] <= self.record.acked_through:
            self._unacked.popleft()
        return len(self._unacked)

    @property
    def is_streaming(self) -> bool:
        """Whether this process is connected, sends frames, and has no backlog."""
        return self.waiting < self._fps / 2 and self._is_greeted and self._is_sending

    def read(self) -> None:
        """Enter the new lines of the journal into the ledger. A kill may leave a part of a line."""
        if self._journal.exists():
            with self._journal.open("rb") as journal:
                journal.seek(self._read_bytes)
                lines = journal.read().rpartition(b"\n")[0].splitlines(keepends=True)
            self._read_bytes += sum(map(len, lines)) + bool(lines)
            for line in lines:
                self._enter(json.loads(line))

    def _enter(self, entry: list) -> None:
        match entry:
            case "sent", number, None, _, _:
                self._number = number
                self.record.dropped += 1
            case "sent", number, index, before_s, after_s:
                if index <= self._last_index:
                    self.record.add_fault(f"`send` returned {index} after {self._last_index}")
                earliest_s = self._base_s + before_s - CLOCK_TOLERANCE_S
                latest_s = self._base_s + after_s + CLOCK_TOLERANCE_S
                self.record.note_sent(index, earliest_s, frame_data(number), latest_s)
                self._number, self._last_index, self._is_sending = number, index, True
                self._unacked.append(index)
            case "received", message:
                self._is_greeted |= message["type"] == "session"
                self.record.note_received(message)
            case "error", kind, text if kind not in EXPECTED_ERRORS:
                self.record.add_fault(f"{kind}: {text}")


class ProcessFleet:
    """Run `count` robots at `fps` as processes, with their spools and journals in `folder`."""

    def __init__(self, url: str, folder: Path, count: int, **options: Any) -> None:
        self.ledger = Ledger()
        self.robots = [RobotProcess(url, self.ledger, folder, number, **options) for number in range(count)]

    def __enter__(self) -> Self:
        for robot in self.robots:
            robot.start()
        return self

    def __exit__(self, *_: object) -> None:
        for robot in self.robots:
            robot.kill()

    @property
    def is_streaming(self) -> bool:
        """Whether all robots are connected, and no backlog is left."""
        return all(robot.is_streaming for robot in self.robots)

    @property
    def backlog(self) -> int:
        return sum(robot.waiting for robot in self.robots)

    def summary(self) -> str:
        kills = sum(robot.runs - 1 for robot in self.robots)
        dropped = sum(robot.dropped for robot in self.robots)
        return f"{kills} kills of {len(self.robots)} programs, {self.ledger.sent} frames sent and {dropped} dropped"

    def end(self) -> None:
        """Stop sending and end all sessions; the ledger records each failure to end."""
        for robot in self.robots:
            robot.terminate()
        for robot in self.robots:
            robot.end()
