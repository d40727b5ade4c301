import logging
from asyncio import Task
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import orjson

from teleop.ingest.parse import Frame, Refusal, Start, parse
from teleop.protocol import MAX_UNACKED, UNUSABLE_IN_A_ROW, Close, Code

logger = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Row(NamedTuple):
    """A frame on its way into the table; `data` is JSON in UTF-8."""

    session_id: int
    robot_id: str
    frame_index: int
    timestamp_us: int
    data: bytes

    @property
    def timestamp(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.timestamp_us)


class Refused(NamedTuple):
    """Why a row was not stored, for good."""

    row: Row
    code: Code
    detail: str


class Opened(NamedTuple):
    """A session as a connection has just got it; `holder` is the name of this hold on it."""

    session_id: int
    session_key: str
    robot_id: str
    key_hash: str
    holder: str
    next_frame_index: int
    frame_count: int



class Beat(NamedTuple):
    """What a worker knows of one of its connections since the last beat."""

    session_id: int
    robot_id: str
    holder: str
    frame_count: int
    first_timestamp: datetime | None  # of a session that had no frames when it was opened
    fps: int | None  # None: not said, or written down already; likewise with meta_info and error
    meta_info: dict
    error: tuple[str, str] | None
    is_failing: bool


class Outlet(Protocol):
    """Where a connection's answers go; none of these waits."""

    def send(self, message: bytes) -> None: ...
    def send_ack(self, frame_index: int) -> None: ...
    def close(self, code: Close) -> None: ...


class RobotConnection:
    """What one robot has said on one connection, in order, and what it is owed for it. No I/O of its own.

    Once anything was given up (`give_up`), nothing later is taken: what is stored is a prefix of what was sent.
    """

    def __init__(self, opened: Opened, offer: Callable[["RobotConnection", Row], bool], outlet: Outlet):
        self.opened = opened
        self.session_id = opened.session_id
        self.robot_id = opened.robot_id
        self.holder = opened.holder
        self.pending_frames = 0
        self.pending_bytes = 0
        self.frame_count = opened.frame_count
        self.ending = False
        self.close_code: Close | None = None
        self.released: Task[int] | None = None
        self._offer = offer
        self._outlet = outlet
        self._start: Start | None = None
        self._messages = 0
        self._unusable_in_a_row = 0
        self._last_index = -1
        self._refusals = 0
        self._refusals_at_beat = 0
        # What presence has yet to write down.
        self._first_timestamp: datetime | None = None
        self._fps: int | None = None
        self._meta_info: dict = {}
        self._last_error: tuple[str, str] | None = None

    def greet(self) -> None:
        self._send(
            type="session",
            session_id=self.session_id,
            session=self.opened.session_key,
            next_frame_index=self.opened.next_frame_index,
            max_unacked=MAX_UNACKED,
        )

    def receive(self, message: bytes | str) -> None:
        """One message from the robot."""
        if self.ending or self.close_code is not None:
            return
        self._messages += 1
        try:
            parsed = parse(message)
        except Refusal as refusal:
            self._refuse(refusal.code, refusal.detail, refusal.frame_index)
            self._unusable_in_a_row += refusal.code is Code.INVALID_MESSAGE
            if self._unusable_in_a_row >= UNUSABLE_IN_A_ROW:
                self.give_up(Close.UNUSABLE)
            return
        self._unusable_in_a_row = 0
        if type(parsed) is Frame:
            self._take(parsed)
        elif type(parsed) is list:
            for item in parsed:
                if type(item) is Frame:
                    self._take(item)
                else:
                    self._refuse(item.code, item.detail, item.frame_index)
        elif type(parsed) is Start:
            self._note_start(parsed)
        else:
            self._meta_info |= parsed.meta_info
            self.ending = True

    def _take(self, frame: Frame) -> None:
        frame_index = frame.frame_index
        if frame_index <= self._last_index:
            detail = f"frame_index is {frame_index}; more than {self._last_index}, the last one, expected"
            self._refuse(Code.OUT_OF_ORDER, detail, frame_index)
        elif self.close_code is None:
            if self._offer(self, Row(self.session_id, self.robot_id, *frame)):
                self._last_index = frame_index
            else:
                self.give_up(Close.OVERLOADED)

    def _note_start(self, start: Start) -> None:
        if start == self._start:
            return
        if self._start is not None:
            self._refuse(Code.INVALID_START, "start was sent before, with other values; once a connection expected")
        elif self._last_index >= 0:
            self._refuse(Code.INVALID_START, "start came after a frame; before the connection's first frame expected")
        else:
            self._start = start
            self._fps = start.fps
            self._meta_info |= start.meta_info

    def _refuse(self, code: Code, detail: str, frame_index: int | None = None) -> None:
        self._note_refusal(code, detail, frame_index, self._messages)

    def refused(self, refused: Refused) -> None:
        """The database's refusal; which message the frame came in is not known any more."""
        self._note_refusal(refused.code, refused.detail, refused.row.frame_index, None)

    def _note_refusal(self, code: Code, detail: str, frame_index: int | None, message: int | None) -> None:
        self._refusals += 1
        self._last_error = (code, detail)
        self._send(type="error", code=code, message=message, frame_index=frame_index, detail=detail)

    def committed(self, rows: Sequence[Row]) -> None:
        if self.frame_count == 0:
            self._first_timestamp = rows[0].timestamp
        self.frame_count += len(rows)
        self._outlet.send_ack(rows[-1].frame_index)

    def ended(self, frame_count: int) -> None:
        self._send(type="ended", session_id=self.session_id, frame_count=frame_count)
        self.give_up(Close.ENDED)

    def give_up(self, code: Close) -> None:
        """Takes nothing more and closes; what was taken before is still stored."""
        if self.close_code is None:
            self.close_code = code
            self._outlet.close(code)

    def beat(self) -> Beat:
        """What presence is to write down; `beaten` says that it has."""
        return Beat(
            self.session_id,
            self.robot_id,
            self.holder,
            self.frame_count,
            self._first_timestamp,
            self._fps,
            self._meta_info,
            self._last_error,
            self._refusals > self._refusals_at_beat,
        )

    def beaten(self, beat: Beat) -> None:
        if self._refusals > self._refusals_at_beat:  # a line a beat, however much a robot misbehaves
            refused = self._refusals - self._refusals_at_beat
            logger.warning("robot %s: %d refused, the last: %s", self.robot_id, refused, self._last_error)
        self._refusals_at_beat = self._refusals
        self._first_timestamp = self._fps = None
        if self._meta_info == beat.meta_info:
            self._meta_info = {}
        if self._last_error == beat.error:
            self._last_error = None

    def _send(self, **message) -> None:
        self._outlet.send(orjson.dumps(message))
