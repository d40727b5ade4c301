import logging
import time
from asyncio import Event, Task
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Protocol

import orjson
from prometheus_client import Counter

from robots.close_codes import Close
from teleop.ingest.clock_watch import ClockWatch
from teleop.ingest.not_finite import has_constant
from teleop.ingest.parse import Event as RobotEvent
from teleop.ingest.parse import Frame, Refusal, Start, parse
from teleop.ingest.types import EventsOutcome, Heartbeat, Refused, Row, SessionLease
from teleop.monitoring import counters
from teleop.protocol import ACCEPTS, FAULTS, MAX_NESTED, MAX_UNACKED, UNUSABLE_IN_A_ROW, Code

logger = logging.getLogger(__name__)

# Estimates of CPU time, for a robot's budget of messages that are not stored (teleop/server/websocket.py).
REFUSAL_US = 20
IGNORED_US = 20
BYTE_US, NESTED_US = 0.03, 0.3  # of JSON: bytes, and lists and objects
USUAL_BYTES_PER_NESTED = 32
LARGE_MESSAGE_BYTES = 2**14  # from this size on, lists and objects are counted before the message is parsed


class Transport(Protocol):
    """Output of a connection's answers; none of these methods waits."""

    is_mute: bool  # the client never reads: the server sends it only the close

    def send(self, message: str) -> None: ...
    def send_ack(self, frame_index: int) -> None: ...
    def close(self, code: Close) -> None: ...


class FrameObserver(Protocol):
    """Observer of a connection's frames while the connection is watched (teleop/ingest/live_tap.py)."""

    has_frames: bool

    def received(self, frame: Frame) -> None: ...
    def committed(self, frame_index: int) -> None: ...
    def report(self, with_values: bool) -> Any: ...


class RobotConnection:
    """State machine of one robot's connection (no I/O).

    After `close` the connection takes no later frame: the stored frames are a prefix of the sent frames.
    """

    def __init__(
        self,
        lease: SessionLease,
        transport: Transport,
        offer: Callable[["RobotConnection", Row], bool],
        end: Callable[["RobotConnection"], object],
        offer_event: Callable[["RobotConnection", RobotEvent], bool],
    ):
        # At most 30 attributes: with more, CPython reads each of them more slowly, and a frame costs 2 % more.
        self.lease = lease
        self.session_id = lease.session_id
        self.robot_id = lease.robot_id
        self.key_hash = lease.key_hash
        self.holder = lease.holder
        self.pending_frames = 0
        self.pending_bytes = 0
        self.frame_count = lease.frame_count
        self.is_taking = True
        self.is_live = True  # a heartbeat after the release would reopen the session
        self.is_lost = False  # another holder had the session at the last heartbeat
        self.close_code: Close | None = None
        self.disconnected = Event()
        self.released: Task[int] | None = None
        self.watched: FrameObserver | None = None
        self._transport = transport
        self._offer = offer
        self._end = end
        self._offer_event = offer_event
        self._start: Start | None = None
        self.messages = 0
        self._unusable_in_a_row = 0
        self._uncharged = 0  # refusals that `receive` has not returned as waste yet
        self._last_index = -1
        # Values that presence has not written yet.
        self._refusals = 0
        self._first_timestamp: datetime | None = None
        self._clock = ClockWatch(lease.last_frame)
        self._fps: int | None = None
        self._meta_info: dict = {}
        self._last_error: tuple[str, str] | None = None

    def greet(self) -> None:
        self._send(
            type="session",
            session_id=self.session_id,
            session=self.lease.session_key,
            next_frame_index=self.lease.next_frame_index,
            last_timestamp=self.lease.last_timestamp,
            max_unacked=MAX_UNACKED,
            accepts=ACCEPTS,
            time=round(time.time(), 3),
        )

    def request_preview(self, request: dict[str, Any]) -> None:
        """Ask for pictures of cameras; a client that does not know the message ignores it."""
        self._send(type="preview", **request)

    def receive(self, message: bytes | str) -> float:
        """Process one message from the robot; return an estimate of the CPU time that it wasted, in microseconds."""
        if not self.is_taking:
            return IGNORED_US
        self.messages += 1
        try:
            if len(message) > LARGE_MESSAGE_BYTES:
                _check_nested(message)
            parsed = parse(message)
        except Refusal as refusal:
            if refusal.code is Code.INVALID_EVENT:
                self._refuse_event(refusal.event_id, refusal.detail, self.messages)
            else:
                self._refuse(refusal.code, refusal.detail, refusal.frame_index)
            self._unusable_in_a_row = self._unusable_in_a_row + 1 if refusal.code is Code.INVALID_MESSAGE else 0
            if self._unusable_in_a_row >= UNUSABLE_IN_A_ROW:
                self.close(Close.UNUSABLE)
            return self._waste_us(message, 1)
        self._unusable_in_a_row = 0
        if isinstance(parsed, Frame):
            self._take(parsed)
        elif isinstance(parsed, list):
            for item in parsed:
                if isinstance(item, Frame):
                    self._take(item)
                else:
                    self._refuse(item.code, item.detail, item.frame_index)
        elif isinstance(parsed, Start):
            self._note_start(parsed)
        elif isinstance(parsed, RobotEvent):
            self._take_event(parsed)
        else:
            self._merge(parsed.meta_info)
            self.is_taking = False
            self._end(self)
        if self._uncharged or len(message) > LARGE_MESSAGE_BYTES:
            return self._waste_us(message, len(parsed) if isinstance(parsed, list) else 1)
        return 0

    def _waste_us(self, message: bytes | str, items: int) -> float:
        """Return the time of the refusals since the last message, and of parsing this message's refused part.

        Lists and objects take most of the time. More of them than frames usually have count even if stored.
        """
        refusals, self._uncharged = self._uncharged, 0
        size, nested = len(message), _count_nested(message)
        parsing_us = size * BYTE_US + nested * NESTED_US
        unusual_us = max(0, nested - size / USUAL_BYTES_PER_NESTED) * NESTED_US
        # A message with NaN or Infinity was parsed twice, whichever of its frames hold one.
        refused_share = min(1, refusals if has_constant(message) else refusals / items)
        return refusals * REFUSAL_US + max(unusual_us, parsing_us * refused_share)

    def _take(self, frame: Frame) -> None:
        frame_index = frame.frame_index
        if frame_index <= self._last_index:
            detail = f"frame_index is {frame_index}; more than {self._last_index} (the last frame_index) expected"
            self._refuse(Code.OUT_OF_ORDER, detail, frame_index)
        elif self.is_taking:
            if self._offer(self, Row(self.session_id, self.robot_id, *frame)):
                self._last_index = frame_index
                if self.watched is not None:
                    self.watched.received(frame)
            else:
                self.close(Close.OVERLOADED)

    def _take_event(self, event: RobotEvent) -> None:
        self._uncharged += 1  # a robot may repeat it without end
        if not self._offer_event(self, event):
            self.close(Close.OVERLOADED)

    def _note_start(self, start: Start) -> None:
        if start == self._start:
            self._uncharged += 1
            return
        if self._start is not None:
            self._refuse(Code.INVALID_START, "start was already sent, with other values; one per connection expected")
        elif self._last_index >= 0:
            self._refuse(Code.INVALID_START, "start was sent after a frame; expected before the connection's first one")
        else:
            self._start = start
            self._fps = start.fps
            self._merge(start.meta_info)

    def _merge(self, meta_info: dict) -> None:
        self._meta_info = self._meta_info | meta_info  # a new dict, because a heartbeat may hold the old one

    def _refuse(self, code: Code, detail: str, frame_index: int | None = None) -> None:
        self._note_refusal(code, detail, frame_index, self.messages)

    def refused(self, refused: Refused) -> None:
        """Report the database's refusal. `message` is null: the originating message is unknown here."""
        self._note_refusal(refused.code, refused.detail, refused.row.frame_index, None)

    def meta_refused(self, detail: str) -> None:
        """Report that the merged meta_info exceeds its limit. `message` is null: its message is unknown here."""
        self._note_refusal(Code.INVALID_START, detail, None, None)

    def _refuse_event(self, event_id: str | None, detail: str, message: int | None) -> None:
        self._note_refusal(Code.INVALID_EVENT, detail, None, message, id=event_id)

    def _note_refusal(
        self, code: Code, detail: str, frame_index: int | None, message: int | None, **more: str | None
    ) -> None:
        self._refusals += 1
        self._uncharged += 1
        _refused(code).inc()
        self._last_error = (code, detail)
        self._send(type="error", code=code, message=message, frame_index=frame_index, **more, detail=detail)

    def committed(self, rows: Sequence[Row], stored_before: int) -> None:
        if self.frame_count == 0:
            self._first_timestamp = rows[0].timestamp
        self.frame_count += len(rows) - stored_before
        self._clock.follow(rows, self._start.fps if self._start else self.lease.fps)
        if self.watched is not None:
            self.watched.committed(rows[-1].frame_index)
        if self.is_open:
            self._transport.send_ack(rows[-1].frame_index)

    def events_settled(self, events: Sequence[RobotEvent], outcome: EventsOutcome) -> None:
        """Answer events that are committed, or that belong to a deleted session."""
        for event in events:
            if outcome.is_deleted:
                self._refuse_event(event.event_id, f"session {self.session_id} does not exist", None)
            else:
                self._send(type="event_ack", id=event.event_id)

    def recounted(self, stored_before: int) -> None:
        """Correct frame_count: `stored_before` frames precede this connection, in place of the lease's number."""
        self.frame_count += stored_before - self.lease.frame_count

    def ended(self, frame_count: int) -> None:
        self._send(type="ended", session_id=self.session_id, frame_count=frame_count)
        self.close(Close.ENDED)

    def note_fault(self, code: int | None) -> None:
        """Record the fault behind a close with this code, so that staff find the reason where no error was sent."""
        if code in FAULTS:
            self._last_error = FAULTS[Close(code)]

    def begin_shutdown(self) -> None:
        """Stop taking messages because the server is stopping; a mute client's connection is closed instead.

        A mute client cannot learn which messages to send again, so its messages are taken until it has answered the
        close.
        """
        if self._transport.is_mute:
            self._transport.close(Close.RESTARTING)
        else:
            self.is_taking = False

    def close(self, code: Close) -> None:
        """Stop taking messages and close the connection; frames that were taken before are still stored."""
        self.is_taking = False
        if self.close_code is None:
            self.close_code = code
            try:
                self._transport.close(code)
            except Exception:  # the socket has just closed; the caller may be another robot's handshake
                logger.exception("robot %s: could not close the connection with %d", self.robot_id, code)

    def heartbeat(self) -> Heartbeat:
        """Return the values that presence has to write; `heartbeat_saved` confirms the write."""
        return Heartbeat(
            self.session_id,
            self.robot_id,
            self.holder,
            self.frame_count,
            self._first_timestamp,
            self._fps,
            self._meta_info,
            self._last_error,
            self._refusals,
            tuple(self._clock.steps),
        )

    def heartbeat_saved(self, saved: Heartbeat) -> None:
        """Forget the written values; values that came meanwhile stay for the next heartbeat."""
        if saved.refusals:  # one line per heartbeat, however much a robot misbehaves
            logger.warning("robot %s: refused %d messages, the last: %s", self.robot_id, saved.refusals, saved.error)
        if saved.clock_steps:
            last = saved.clock_steps[-1]
            logger.warning(
                "robot %s: its clock stepped %d times, the last time by %.3f s before frame %d of session %d",
                *(self.robot_id, len(saved.clock_steps), last["step_s"], last["frame_index"], self.session_id),
            )
        self._clock.steps = self._clock.steps[len(saved.clock_steps) :]
        self._refusals -= saved.refusals
        if self._first_timestamp == saved.first_timestamp:
            self._first_timestamp = None
        if self._fps == saved.fps:
            self._fps = None
        if self._meta_info == saved.meta_info:
            self._meta_info = {}
        if self._last_error == saved.error:
            self._last_error = None

    @property
    def is_open(self) -> bool:
        return self.close_code is None and not self.disconnected.is_set()

    def _send(self, **message) -> None:
        if self.is_open:
            self._transport.send(orjson.dumps(message).decode())


@cache
def _refused(code: Code) -> Counter:
    return counters.REFUSED.labels(code.value)  # the lookup is a third of the cost of a refusal


def _count_nested(message: bytes | str) -> int:
    data = message if isinstance(message, bytes) else message.encode()
    return data.count(b"[") + data.count(b"{")


def _check_nested(message: bytes | str) -> None:
    """Refuse a message that would delay all robots: parsing 1 MiB of empty lists takes 0.1 s."""
    nested = _count_nested(message)
    if nested > MAX_NESTED:
        detail = f"the message contains {nested} characters [ and {{; at most {MAX_NESTED} expected"
        raise Refusal(Code.INVALID_MESSAGE, detail)
