"""The protocol without I/O: events in, messages and delays out.

A front-end calls `connected`, feeds `receive`, writes what `next_message` gives until it gives None, and calls `closed`
or `refused` when the connection is gone or was never made: they return the seconds to wait before the next one, or
None when there shall be none.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .buffer import Frame, FrameBuffer
from .encoding import (
    MAX_BATCH_FRAMES,
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    batch_message,
    encode_control,
    encode_data,
    frame_message,
)
from .errors import (
    AcknowledgedFramesLost,
    ClientClosed,
    DisconnectedByStaff,
    Fatal,
    FrameRefused,
    HandshakeRefused,
    KeyRevoked,
    MessageRefused,
    SessionEnded,
    SessionTaken,
    TeleopError,
)

logger = logging.getLogger("teleop_client")

# 100 ms at 60 FPS: fewer waiting frames are a late timer, not a client that has fallen behind.
BATCH_FROM_FRAMES = 6

STOP_CODES: dict[int, tuple[type[Fatal], str]] = {
    4401: (KeyRevoked, "the robot's key was revoked"),
    4409: (SessionTaken, "another connection took the session"),
}
CODE_STAFF = 4403
CODE_TOO_BIG = 1009
CODES_AT_FAULT = {1007, CODE_TOO_BIG, 4400}
# HTTP statuses below 500 that say "later", not "no".
STATUS_LATER = {408, 425, 429}


@dataclass(frozen=True)
class Delays:
    """Seconds before the next connection. Each is spread by the jitter, so that a fleet does not return as one."""

    first: float = 0.5  # doubles with every failure ...
    most: float = 30.0  # ... up to this
    slow: float = 30.0  # after a message at fault, or a refused handshake
    staff: float = 60.0  # after staff disconnected the robot


DEFAULT_DELAYS = Delays()


@dataclass(frozen=True)
class Stats:
    """Counted in frames: sent = acked + refused + pending; dropped ones found no room and are not in sent."""

    sent: int
    acked: int
    refused: int
    dropped: int
    pending: int
    lost: int  # acknowledged, and gone from the server
    reconnects: int
    last_error: str | None


class ClientProtocol:
    """One session of one robot over any number of connections. `clock` and `rng` are arguments for the tests."""

    def __init__(
        self,
        *,
        fps: int = 60,
        meta_info: dict[str, Any] | None = None,
        max_held_frames: int = 100_000,
        max_held_bytes: int = 64 << 20,
        delays: Delays = DEFAULT_DELAYS,
        on_ack: Callable[[list[float]], None] | None = None,
        on_error: Callable[[TeleopError], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.session_id: int | None = None
        self.frame_count: int | None = None
        self.error: Fatal | None = None
        self.greeted = False
        self._buffer = FrameBuffer(max_held_frames, max_held_bytes)
        self._start = encode_control({"type": "start", "fps": fps} | ({"meta_info": meta_info} if meta_info else {}))
        self._end: bytes | None = None
        self._delays = delays
        self._on_ack = on_ack
        self._on_error = on_error
        self._clock = clock
        self._rng = rng or random.Random()
        self._acked = self._refused = self._lost = self._connections = self._failures = 0
        self._last_error: str | None = None
        self._last_stored = -1
        self._careful_through = -1
        self._batch_bytes = MAX_MESSAGE_BYTES - 64
        self._max_unacked = 0
        self._connected_at = 0.0
        self._messages = 0
        self._start_sent = self._end_sent = False

    # The robot's side

    def send(self, observation: Any, action: Any, timestamp: float, extra: dict[str, Any]) -> int | None:
        """Hold a frame for sending; its index, or None if it was dropped. Any one thread may call this."""
        if self._end is not None:
            raise ClientClosed("the session has been ended")
        data = encode_data(observation, action, timestamp, extra)
        return self._buffer.add(data, self._clock())

    def end(self, meta_info: dict[str, Any] | None = None) -> None:
        """Ask for the session's end, after everything held has been sent."""
        if self._end is None:
            self._end = encode_control({"type": "end"} | ({"meta_info": meta_info} if meta_info else {}))

    @property
    def done(self) -> bool:
        return self.error is not None or self.frame_count is not None

    @property
    def pending(self) -> int:
        return len(self._buffer)

    @property
    def stats(self) -> Stats:
        buffer = self._buffer
        return Stats(
            sent=buffer.added,
            acked=self._acked,
            refused=self._refused,
            dropped=buffer.dropped,
            pending=len(buffer),
            lost=self._lost,
            reconnects=max(self._connections - 1, 0),
            last_error=self._last_error,
        )

    # The connection's side

    def connected(self) -> None:
        self.greeted = self._start_sent = self._end_sent = False
        self._messages = 0
        self._connected_at = self._clock()

    def next_message(self) -> bytes | None:
        """The next message to write on this connection, as UTF-8, or None if there is nothing to write now."""
        if not self.greeted or self.done:
            return None
        message = self._next_control() or self._next_frames()
        if message is not None:
            self._messages += 1
        return message

    def _next_control(self) -> bytes | None:
        if not self._start_sent:
            self._start_sent = True
            return self._start
        if self._end is not None and not self._end_sent and not self._buffer.unsent:
            self._end_sent = True
            return self._end
        return None

    def _next_frames(self) -> bytes | None:
        buffer = self._buffer
        room = min(self._max_unacked - buffer.in_flight, buffer.unsent)
        if self._end_sent or room <= 0:
            return None
        if buffer.next_unsent_index <= self._careful_through:
            room = 0 if buffer.in_flight else 1
        count = min(room, MAX_BATCH_FRAMES) if room >= BATCH_FROM_FRAMES else min(room, 1)
        frames = buffer.take(count, self._batch_bytes, self._messages + 1)
        encoded = [frame_message(frame.index, frame.data) for frame in frames]
        return batch_message(encoded) if len(encoded) > 1 else encoded[0] if encoded else None

    def receive(self, text: str | bytes) -> None:
        """A message from the server. One that makes no sense is logged and left: the protocol may grow."""
        try:
            message = json.loads(text)
            match message["type"]:
                case "session":
                    self._on_session(message)
                case "ack":
                    self._acknowledge(self._buffer.pop_through(message["frame_index"]))
                case "error":
                    self._on_refusal(message)
                case "ended":
                    self._on_ended(message["frame_count"])
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("message from the server not understood: %.200s (%r)", text, error)

    def _on_session(self, message: dict[str, Any]) -> None:
        next_frame_index, self._max_unacked = int(message["next_frame_index"]), max(int(message["max_unacked"]), 1)
        self.session_id = message["session_id"]
        if not self._connections:
            # Frames of this process can only be new, whatever numbers an earlier one has used in this session.
            self._buffer.shift(next_frame_index)
            self._last_stored = next_frame_index - 1
        elif next_frame_index <= self._last_stored:
            self._alarm(self._last_stored + 1 - next_frame_index, next_frame_index)
        self._connections += 1
        self.greeted = True
        self._acknowledge(self._buffer.pop_stored(next_frame_index))

    def _alarm(self, lost: int, next_frame_index: int) -> None:
        self._lost += lost
        text = f"the server lost {lost} acknowledged frames: it had {self._last_stored}, now expects {next_frame_index}"
        self._last_stored = next_frame_index - 1
        self._report(AcknowledgedFramesLost(text), logging.CRITICAL)

    def _acknowledge(self, frames: list[Frame]) -> None:
        if not frames:
            return
        self._acked += len(frames)
        self._last_stored = frames[-1].index
        self._failures = 0
        now = self._clock()
        self._call(self._on_ack, [now - frame.queued_at for frame in frames])

    def _on_refusal(self, message: dict[str, Any]) -> None:
        code, detail = str(message["code"]), str(message.get("detail", ""))
        frames = self._buffer.pop_matching(message.get("frame_index"), message.get("message"))
        self._refuse(frames, code, detail)
        if not frames:
            self._report(MessageRefused(f"message {message.get('message')} refused: {code}: {detail}"))
        if code == "invalid_end" and self._end_sent:
            # The session shall end all the same: without what was wrong in it.
            self._end, self._end_sent = encode_control({"type": "end"}), False

    def _refuse(self, frames: list[Frame], code: str, detail: str) -> None:
        self._refused += len(frames)
        for frame in frames:
            self._report(FrameRefused(frame.index, code, detail))

    def _on_ended(self, frame_count: int) -> None:
        if self._end_sent:
            # It comes after the last commit, so it acknowledges what was sent before `end`.
            self._acknowledge(self._buffer.pop_through(1 << 31))
        self.frame_count = frame_count
        if self.pending or self._end is None:
            self._stop(SessionEnded(f"the server ended the session, {self.pending} frames were not acknowledged"))

    def closed(self, code: int, reason: str = "") -> float | None:
        """The connection is gone, or was not made (1006)."""
        if self.greeted and self._clock() - self._connected_at > self._delays.most:
            self._failures = 0
        if code in CODES_AT_FAULT:
            self._find_fault(code, reason)
        self.greeted = False
        self._buffer.rewind()
        if code in STOP_CODES and not self.done:
            error, text = STOP_CODES[code]
            self._stop(error(f"{text} ({code} {reason})"))
        if self.done:
            return None
        if code in CODES_AT_FAULT:
            return self._jitter(self._delays.slow)
        if code == CODE_STAFF:
            self._report(DisconnectedByStaff(f"disconnected by staff, coming back in {self._delays.staff:g} s"))
            return self._delays.staff
        return self._back_off(f"connection closed: {code} {reason}")

    def refused(self, status: int) -> float | None:
        """The handshake was answered with an HTTP error."""
        if status >= 500 or status in STATUS_LATER:
            return self._back_off(f"HTTP {status} at the handshake")
        error = HandshakeRefused(f"HTTP {status} at the handshake: check the key, the robot's id and the address")
        if self._connections:
            # It was right once, so someone may put it right again while the frames are still held here.
            self._report(error)
            return self._jitter(self._delays.slow)
        self._stop(error)
        return None

    def _find_fault(self, code: int, reason: str) -> None:
        """Which of the messages in flight was at fault, the code does not say: send them again one by one, and see."""
        flying = self._buffer.in_flight_range
        if code == CODE_TOO_BIG:
            self._batch_bytes = max(self._batch_bytes // 2, MAX_FRAME_BYTES)
        if flying and flying[0] <= self._careful_through:
            self._refuse(self._buffer.pop_through(flying[1]), f"closed_{code}", reason)
            return
        if flying:
            self._careful_through = flying[1]
        self._report(MessageRefused(f"connection closed for an unusable message: {code} {reason}"))

    def _back_off(self, why: str) -> float:
        self._last_error = why
        delay = min(self._delays.first * 2 ** min(self._failures, 30), self._delays.most)
        self._failures += 1
        delay = self._jitter(delay)
        logger.warning("%s; %d frames held, again in %.1f s", why, self.pending, delay)
        return delay

    def _jitter(self, delay: float) -> float:
        return delay * self._rng.uniform(0.5, 1.0)

    # What the robot's people hear

    def _report(self, error: TeleopError, level: int = logging.ERROR) -> None:
        logger.log(level, "%s", error)
        self._last_error = str(error)
        self._call(self._on_error, error)

    def _stop(self, error: Fatal) -> None:
        self.error = error
        self._buffer.close()
        self._report(error)

    @staticmethod
    def _call(callback: Callable[[Any], None] | None, argument: Any) -> None:
        """A fault in the robot's code must not cost it the connection."""
        try:
            if callback:
                callback(argument)
        except Exception:
            logger.exception("error in %r", callback)
