"""The spool of one session: its frames, its events and its state on disk, for the next process if this one dies.

The records of the log (segments.py) are frames, whose number is their index, events, and changes of the state. Each
segment begins with the whole state, so the newest segment tells everything but the frames of the older ones.
"""

import json
import os
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..clock import TimeBase
from ..encoding import unix_seconds
from ..errors import SpoolInUse, SpoolUnusable
from .segments import Position, Record, SegmentLog

# The numbers of records that are no frames; a frame's index is lower.
STATE, EVENT = 1 << 31, (1 << 31) + 1
MAX_HOLES = 1000
WANTED = "wanted"  # a file by which a client asks a drain for the spool
WANTED_POLL_S, WANTED_S = 0.05, 5.0  # between two touches of that file; it counts for so long
GAP_S = 1.0
BLOCK = 600  # indexes that are reserved at a time: 10 s at 60 FPS
_TIME = struct.Struct("<d")


def default_folder() -> Path:
    """Return TELEOP_SPOOL_DIR, or the folder `teleop` where this system keeps the state of programs."""
    if folder := os.environ.get("TELEOP_SPOOL_DIR"):
        return Path(folder)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "teleop"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/teleop"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "teleop"


def open_spool(folder: Path, wait_s: float, **options: Any) -> "Spool":
    """Open a spool for a client; ask a drain for it. Raises SpoolInUse after `wait_s`, or SpoolUnusable."""
    wanted, until_s = folder / WANTED, time.monotonic() + wait_s
    while True:
        try:
            spool = Spool(folder, **options)
            wanted.unlink(missing_ok=True)
            return spool
        except SpoolInUse:
            with suppress(OSError):
                wanted.unlink() if time.monotonic() > until_s else wanted.touch()
            if time.monotonic() > until_s:
                raise
        time.sleep(WANTED_POLL_S)


@dataclass(slots=True)
class Event:
    """A mark, or another event of the session. Its time is in seconds since `base`, or in unix seconds without one."""

    kind: str
    time_s: float
    base: TimeBase | None
    detail: dict[str, Any]

    @property
    def unix_s(self) -> float:
        return self.base.time_s(self.time_s) if self.base else self.time_s


@dataclass(slots=True)
class SpooledFrame:
    """A frame as it was stored: its time is in seconds since `base`, or in unix seconds if there is no base."""

    index: int
    time_s: float
    base: TimeBase | None
    data: bytes
    position: Position


class Spool:
    """One session's spool. One client has it at a time: opening raises SpoolInUse or SpoolUnusable.

    With `is_drain` what is in it is sent, and nothing is added.

    `first_index` is the first index that this process may use. `jump` is the range of indexes before it that an
    unclean end has left unused, or None. Any thread may call `add_frame`, `add_event` and `note`.
    """

    def __init__(self, folder: Path, *, robot_id: str, session: str, is_drain: bool = False, **limits: Any) -> None:
        self.folder = folder
        self.events: dict[str, Event] = {}
        self.state: dict[str, Any] = {
            "robot_id": robot_id,
            "session": session,
            "url": None,
            "start": None,
            "end": None,
            "session_id": None,
            "acked": -1,  # the highest index that the server has acknowledged
            "settled": -1,  # every frame up to here is acknowledged or refused
            "reserved": 0,
            "last": -1,
            "is_clean": True,
            "unsent_from": None,  # no frame from this index on was ever written to a server; None: of this process only
            "is_explicit": False,  # the program numbers the frames
            "holes": [],  # ranges of such numbers that are not in the spool
            "bases": [],
            "shifts": [],
            "refused_since": None,  # unix time of the first handshake of a drain that was refused
        }
        self._in_hole = self._has_new_holes = False
        self.log = SegmentLog(folder, self._checkpoint, **limits)
        try:
            try:
                self._recover(self.log.newest())
            except (LookupError, TypeError, ValueError) as error:
                raise SpoolUnusable(f"{folder} holds a state that this version cannot read: {error!r}") from error
            if (found := self.state["robot_id"], self.state["session"]) != (robot_id, session):
                raise SpoolUnusable(f"{folder} is the spool of robot {found[0]}, session {found[1]}")
        except BaseException:
            self.log.close()
            raise
        # The disk may not have taken frames that the server has.
        last = max(self.state["last"], self.state["acked"], self.state["settled"])
        was_clean = self.state["is_clean"] or is_drain
        self.last_index = last
        self.was_used = last >= 0 or self.state["acked"] >= 0
        self.first_index = last + 1 if was_clean else max(self.state["reserved"], last + 1)
        self.jump = (last + 1, self.first_index) if self.first_index > last + 1 and self.was_used else None
        self.backlog = last - self.state["settled"]  # frames that may wait, at most
        if self.state["unsent_from"] is None:
            self.state["unsent_from"] = self.first_index
        if not is_drain:
            self.state |= {"is_clean": False, "reserved": self.first_index + 2 * BLOCK}

    @property
    def modified_s(self) -> float:
        """Return the unix time of the last change of the folder."""
        return self.folder.stat().st_mtime

    @property
    def is_wanted(self) -> bool:
        """Return whether a client waits for this spool, which a drain has."""
        with suppress(OSError):
            return time.time() - (self.folder / WANTED).stat().st_mtime < WANTED_S
        return False

    @property
    def is_empty(self) -> bool:
        """Return whether nothing waits to be sent."""
        return not (self.backlog or self.events or self.state["end"])

    def start(self) -> None:
        """Write the state to disk; from now on frames are kept."""
        self.log.start()
        if not self.backlog:
            self.release(self.log.end)

    def _recover(self, records: Iterable[Record]) -> None:
        frames, events = [], []
        for record in records:
            if record.number == STATE:
                self.state |= json.loads(record.data)
            elif record.number == EVENT:
                events.append(json.loads(record.data))
            else:
                frames.append(record)
        self.state["bases"] = [(Position(*position), TimeBase(**base)) for position, base in self.state["bases"]]
        bases = {base.key: base for _, base in self.state["bases"]}
        for event_id, kind, time_s, key, detail in events:
            self.events[event_id] = Event(kind, time_s, bases[tuple(key)] if key else None, detail)
        for frame in map(self._frame, frames):
            self.state["last"] = max(self.state["last"], frame.index)
            if frame.base:
                frame.base.last_s = max(frame.base.last_s, frame.time_s)

    def _checkpoint(self) -> Iterator[tuple[int, bytes]]:
        yield STATE, self._encoded(self.state)
        for item in list(self.events.items()):
            yield EVENT, self._encoded_event(*item)

    @staticmethod
    def _encoded(state: dict[str, Any]) -> bytes:
        return json.dumps(state, default=TimeBase.as_dict).encode()

    @staticmethod
    def _encoded_event(event_id: str, event: Event) -> bytes:
        return json.dumps([event_id, event.kind, event.time_s, event.base and event.base.key, event.detail]).encode()

    def note(self, **changes: Any) -> None:
        """Change the state, on disk with the next sync."""
        self.state |= changes
        self.log.append(STATE, self._encoded(changes), is_state=True)

    @property
    def base(self) -> TimeBase | None:
        """Return the newest time base."""
        bases: list[tuple[Position, TimeBase]] = self.state["bases"]
        return bases[-1][1] if bases else None

    def begin_base(self, base: TimeBase) -> None:
        """Use this base for the frames from here on."""
        self.note(bases=[*self.state["bases"], (self.log.end, base)])

    def fix_bases(self, now: TimeBase) -> None:
        """Fix the times of all frames so far; `now` is a base whose clock is set.

        In the same boot the time between two bases is known. Frames of another boot in which the clock was never set
        end one second before the next base: so their order is right, and the server accepts them.
        """
        after = now
        for _, base in reversed(self.state["bases"]):
            if not base.is_fixed and base.boot is not None and base.boot == now.boot:
                base.wall_s = now.time_s(base.elapsed_s - now.elapsed_s)
            elif not base.is_fixed and unix_seconds(base.wall_s) is None:
                base.wall_s = after.wall_s - GAP_S - base.last_s
            base.is_fixed = True
            after = base
        self.note_bases()

    def note_bases(self) -> None:
        self.note(bases=self.state["bases"])

    def note_hole(self, index: int) -> None:
        """Remember that the program's frame `index` is not in the spool; `note_holes` writes it down."""
        holes = self.state["holes"]
        if holes and (self._in_hole or len(holes) >= MAX_HOLES):
            holes[-1][1] = index
        else:
            holes.append([index, index])
        self._in_hole = self._has_new_holes = True

    def note_holes(self) -> None:
        if self._has_new_holes:
            self._has_new_holes = False
            self.note(holes=self.state["holes"])

    def is_kept(self, index: int) -> bool:
        """Return whether the frame that an earlier process has numbered so is in the spool, or was sent from it."""
        return index <= self.last_index and not any(first <= index <= last for first, last in self.state["holes"])

    def note_shift(self, first_index: int, by: int) -> None:
        """Note that the frames from `first_index` on, which are on disk, have indexes higher by `by`."""
        self.note(shifts=[*self.state["shifts"], (self.log.end, first_index, by)])

    def _shifted(self, record: Record) -> int:
        index = record.number
        for position, first_index, by in self.state["shifts"]:
            if index >= first_index and record.position < Position(*position):
                index += by
        return index

    def _frame(self, record: Record) -> SpooledFrame:
        (time_s,) = _TIME.unpack_from(record.data)
        base = self._base_of(time_s, record.position)
        return SpooledFrame(self._shifted(record), time_s, base, record.data[_TIME.size :], record.position)

    def _base_of(self, time_s: float, position: Position) -> TimeBase | None:
        """Return the base of a frame. A time of 2000 or later is a unix time that the robot's program gave."""
        bases: list[tuple[Position, TimeBase]] = self.state["bases"]
        if unix_seconds(time_s) is not None:
            return None
        return next((base for begin, base in reversed(bases) if begin <= position), bases[0][1] if bases else None)

    def add_frame(self, index: int, time_s: float, base: TimeBase | None, data: bytes) -> Position | None:
        """Append a frame; return None if the disk does not take it."""
        if index >= self.state["reserved"] - BLOCK:
            # The next sync comes within 0.1 s, and this block is used in ten. If a program sends faster than that, a
            # power cut may take the reservation: then the server's next index moves the next process's frames behind.
            self.note(reserved=index + 2 * BLOCK)
        # Before the append: a new segment may begin right after it, with the state.
        self.state["last"] = index
        if base:
            base.last_s = time_s
        position = self.log.append(index, _TIME.pack(time_s) + data)
        self._in_hole &= position is None
        return position

    def add_event(self, event_id: str, event: Event) -> None:
        self.events[event_id] = event
        self.log.append(EVENT, self._encoded_event(event_id, event), is_state=True)

    def forget_event(self, event_id: str) -> None:
        """Leave an event that the server has stored out of the next segment; until then it may be sent twice."""
        self.events.pop(event_id, None)

    def forget_restart(self, from_index: int) -> None:
        """Forget an event of a restart at this index that was not sent."""
        for event_id, event in list(self.events.items()):
            if event.kind == "restart" and event.detail["from_index"] == from_index:
                del self.events[event_id]

    def load(self, position: Position, max_bytes: int) -> tuple[list[SpooledFrame], Position]:
        """Read the frames from `position` on, about `max_bytes` of them; return them and the position behind them."""
        records, end = self.log.read(position, max_bytes)
        return [self._frame(record) for record in records if record.number < STATE], end

    def release(self, before: Position) -> None:
        """Delete the segments that hold nothing from `before` on."""
        self.log.release(before)

    def close(self, is_done: bool, **state: Any) -> None:
        """Leave the spool to the next process, with these changes of its state; delete it if `is_done`."""
        if not is_done and any(self.state[name] != value for name, value in state.items()):
            self.note(**state)
        self.log.close(remove=is_done)
