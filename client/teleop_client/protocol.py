"""The protocol without I/O: events in, messages and delays out.

A front-end calls `connected`, feeds `receive`, writes the messages of `next_message` until it returns None, and calls
`closed` or `refused` when the connection is lost or was not made. These two return the seconds to wait before the
next connection, or None if there shall be no other.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from . import encoding, errors, reconnect
from .buffer import Frame, FrameBuffer
from .reconnect import DEFAULT_DELAYS, Backoff, Delays
from .reporting import Reporter, Stats

logger = logging.getLogger("teleop_client")

# 100 ms at 60 FPS: fewer waiting frames mean a late timer, not a client that is behind.
BATCH_FROM_FRAMES = 6
BARE_END = encoding.control_message("end")


class ClientProtocol:
    """State machine of one session of one robot, over any number of connections. Tests pass `clock` and `rng`."""

    def __init__(
        self,
        *,
        fps: int = 60,
        meta_info: dict[str, Any] | None = None,
        max_held_frames: int = 100_000,
        max_held_bytes: int = 64 << 20,
        strict: bool = False,
        delays: Delays = DEFAULT_DELAYS,
        on_ack: Callable[[list[float]], None] | None = None,
        on_error: Callable[[errors.TeleopError], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.session_id: int | None = None
        self.frame_count: int | None = None
        self.error: errors.Fatal | None = None
        self.greeted = False
        self._buffer = FrameBuffer(max_held_frames, max_held_bytes)
        self._start = encoding.start_message(fps, meta_info)
        self._end: bytes | None = None
        self._backoff = Backoff(delays, rng or random.Random())
        self._reporter = Reporter(on_ack, on_error)
        self._clock = clock
        self._wall_clock = wall_clock
        self._strict = strict
        self._joints: dict[str, list[str]] = {}
        self._connections = 0
        self._dropping = False
        self._last_stored = -1
        self._careful_through = -1
        self._batch_bytes = encoding.MAX_MESSAGE_BYTES - 64
        self._max_unacked = 0
        self._messages = 0
        self._start_sent = self._end_sent = False

    # Calls of the robot's program

    def send(self, observation: Any, action: Any, timestamp: float | None, extra: dict[str, Any]) -> int | None:
        """Hold a frame for sending; return its index, or None if it was dropped. Any thread may call this.

        Raises nothing, except with `strict`: FrameInvalid and ClientClosed.
        """
        try:
            return self._send(observation, action, timestamp, extra)
        except Exception as error:  # objects of the caller raise anything, and must not stop the robot's loop
            if self._strict:
                raise
            fault = ("error", f"frame raised {type(error).__name__}")
            self._reporter.invalid({"frame": fault}, self._clock())
            return None

    def _send(self, observation: Any, action: Any, timestamp: float | None, extra: dict[str, Any]) -> int | None:
        if self._end is not None:
            self.reject("the session has been ended")
            return None
        frame = encoding.encode_frame(observation, action, timestamp, extra, self._wall_clock())
        now = self._clock()
        if frame.faults:
            if self._strict:
                key, (kind, detail) = next(iter(frame.faults.items()))
                raise errors.FrameInvalid(key, kind, detail)
            self._reporter.invalid(frame.faults, now)
        if frame.data is None:
            return None
        if frame.joints != self._joints:
            self._compare_joints(frame.joints, now)
        index = self._buffer.add(frame.data, now)
        if self._dropping is not (index is None):
            self._dropping = index is None
            why = f"dropped: {self.error or 'memory is full'}" if self._dropping else "held again"
            self._reporter.log(logging.ERROR, "frames are %s", why)
        return index

    def _compare_joints(self, joints: dict[str, list[str]], now: float) -> None:
        """Report joints that appear or vanish. A frame may have only an observation, or only an action."""
        changes = []
        for part, names in joints.items():
            names, known = list(map(str, names)), list(map(str, self._joints.get(part, names)))
            changes += [f"{part}: {name} is new" for name in names if name not in known]
            changes += [f"{part}: {name} is missing" for name in known if name not in names]
        self._joints = self._joints | joints
        if changes:
            self._reporter.joints_changed(errors.JointsChanged("the joints changed: " + ", ".join(changes[:10])), now)

    def reject(self, reason: str) -> None:
        """Count and report a frame that was given to a client that does not run. Raises ClientClosed if `strict`."""
        if self._strict:
            raise errors.ClientClosed(reason)
        self._reporter.unusable(reason)

    def report_waiting(self) -> None:
        """Report what `send` found; the client's thread calls this."""
        self._reporter.flush()

    def end(self, meta_info: dict[str, Any] | None = None) -> None:
        """Request the session's end, after all held frames are sent."""
        if self._end is None:
            self._end = encoding.control_message("end", meta_info)

    @property
    def done(self) -> bool:
        return self.error is not None or self.frame_count is not None

    @property
    def pending(self) -> int:
        return len(self._buffer)

    @property
    def stats(self) -> Stats:
        return self._reporter.stats(
            sent=self._buffer.added,
            dropped=self._buffer.dropped,
            pending=len(self._buffer),
            reconnects=max(self._connections - 1, 0),
        )

    # Calls of the connection

    def connected(self) -> None:
        self.greeted = self._start_sent = self._end_sent = False
        self._messages = 0

    def next_message(self) -> bytes | None:
        """Return the next message to write on this connection, as UTF-8, or None if there is nothing to write now."""
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
        if self._end_sent or room <= 0 or buffer.first_in_flight <= self._careful_through:
            return None
        if room < BATCH_FROM_FRAMES or buffer.first_unsent <= self._careful_through:
            room = 1
        frames = buffer.take(min(room, encoding.MAX_BATCH_FRAMES), self._batch_bytes, self._messages + 1)
        encoded = [encoding.frame_message(frame.index, frame.data) for frame in frames]
        return encoded[0] if len(encoded) == 1 else encoding.batch_message(encoded)

    def receive(self, text: str | bytes) -> None:
        """Handle a message from the server. An unusable message is logged and ignored: the protocol may grow."""
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
            logger.warning("invalid message from the server: %.200s (%r)", text, error)

    def _on_session(self, message: dict[str, Any]) -> None:
        next_frame_index, self._max_unacked = int(message["next_frame_index"]), max(int(message["max_unacked"]), 1)
        self.session_id = message["session_id"]
        if not self._connections:
            # Frames of this process are always new, whichever indexes an earlier process has used in this session.
            self._buffer.shift(next_frame_index)
            self._last_stored = next_frame_index - 1
        elif next_frame_index <= self._last_stored:
            self._alarm(self._last_stored + 1 - next_frame_index, next_frame_index)
        self._connections += 1
        self.greeted = True
        self._acknowledge(self._buffer.pop_stored(next_frame_index))

    def _alarm(self, lost: int, next_frame_index: int) -> None:
        self._reporter.lost += lost
        text = f"the server lost {lost} acknowledged frames: it had {self._last_stored}, now expects {next_frame_index}"
        self._last_stored = next_frame_index - 1
        self._reporter.report(errors.AcknowledgedFramesLost(text), logging.CRITICAL)

    def _acknowledge(self, frames: list[Frame]) -> None:
        if not frames:
            return
        self._last_stored = frames[-1].index
        self._backoff.reset()
        now = self._clock()
        self._reporter.acknowledged([now - frame.queued_at for frame in frames])

    def _on_refusal(self, message: dict[str, Any]) -> None:
        code, detail = str(message["code"]), str(message.get("detail", ""))
        frames = self._buffer.pop_matching(message.get("frame_index"), message.get("message"))
        self._refuse(frames, code, detail)
        if not frames:
            self._reporter.report(errors.MessageRefused(f"message {message.get('message')} refused: {code}: {detail}"))
        if code == "invalid_end" and self._end not in (None, BARE_END):
            # The session shall still end: send `end` again without the invalid part.
            self._end, self._end_sent = BARE_END, False

    def _refuse(self, frames: list[Frame], code: str, detail: str) -> None:
        self._reporter.refused += len(frames)
        for frame in frames:
            self._reporter.report(errors.FrameRefused(frame.index, code, detail))

    def _on_ended(self, frame_count: int) -> None:
        """Handle `ended`. It acknowledges nothing: staff may end a session with frames, and our `end`, in flight."""
        self.frame_count = frame_count
        if self.pending or self._end is None:
            self._stop(
                errors.SessionEnded(f"the server ended the session, {self.pending} frames were not acknowledged")
            )

    def closed(self, code: int, reason: str = "") -> float | None:
        """Handle a connection that was lost, or was not made (1006)."""
        if code in reconnect.CODES_AT_FAULT:
            self._find_fault(code, reason)
        self.greeted = False
        self._buffer.rewind()
        if code in reconnect.CODES_STOP and not self.done:
            error, text = reconnect.CODES_STOP[code]
            self._stop(error(f"{text} ({code} {reason})"))
        if self.done:
            return None
        if code in reconnect.CODES_AT_FAULT:
            return self._backoff.slow()
        if code == reconnect.CODE_STAFF:
            self._reporter.report(errors.DisconnectedByStaff("disconnected by staff; reconnecting later"))
            return self._backoff.staff()
        return self._back_off(f"connection closed: {code} {reason}")

    def refused(self, status: int) -> float | None:
        """Handle a handshake that was answered with an HTTP error."""
        if status >= 500 or status in reconnect.STATUS_LATER:
            return self._back_off(f"HTTP {status} at the handshake")
        error = errors.HandshakeRefused(
            f"HTTP {status} at the handshake: check the key, the robot's id and the address"
        )
        if self._connections:
            # An earlier handshake succeeded, so the setup may be repaired while this client still holds the frames.
            self._reporter.report(error)
            return self._backoff.slow()
        self._stop(error)
        return None

    def _find_fault(self, code: int, reason: str) -> None:
        """Find the message in flight that was at fault, which the code does not name: send them again one by one."""
        if code == reconnect.CODE_TOO_BIG:
            self._batch_bytes = max(self._batch_bytes // 2, encoding.MAX_FRAME_BYTES)
        if self._buffer.first_in_flight <= self._careful_through:
            self._refuse(self._buffer.pop_through(self._careful_through), f"closed_{code}", reason)
            return
        self._careful_through = max(self._careful_through, self._buffer.last_in_flight)
        self._reporter.report(errors.MessageRefused(f"connection closed for an unusable message: {code} {reason}"))

    def _back_off(self, why: str) -> float:
        self._reporter.last_error = why
        delay = self._backoff.next()
        logger.warning("%s; %d frames held, reconnecting in %.1f s", why, self.pending, delay)
        return delay

    def _stop(self, error: errors.Fatal) -> None:
        self.error = error
        self._buffer.close()
        self._reporter.report(error)
