"""The protocol without network I/O: events in, messages and delays out. It writes to the spool, if there is one.

A front-end calls `connected`, feeds `receive`, writes the messages of `next_message` until it returns None, and calls
`closed` or `refused` when the connection is lost or was not made. These two return the seconds to wait before the
next connection, or None if there shall be no other.
"""

import json
import logging
import operator
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import encoding, errors, reconnect
from .buffer import Frame, FrameBuffer
from .camera.film_file import FOLDER, has_waiting
from .clock import Clock, TimeBase
from .reconnect import DEFAULT_DELAYS, Backoff, Delays
from .reporting import Reporter, Stats
from .spool.session_spool import Event, Spool

logger = logging.getLogger("teleop_client")

# 100 ms at 60 FPS: fewer waiting frames mean a late timer, not a client that is behind.
BATCH_FROM_FRAMES = 6
BARE_END = encoding.control_message("end")
MAX_EVENTS = 1000  # of a session; the server stores no more
MAX_NOTE = 500
SYNC_TIMEOUT_S = 20
# After these errors a robot with a spool goes on recording: the key may be put right, and nothing else is lost.
KEY_ERRORS = (errors.HandshakeRefused, errors.KeyRevoked)


class ClientProtocol:
    """State machine of one session of one robot, over any number of connections. Tests pass the clocks and `rng`."""

    def __init__(
        self,
        *,
        fps: int = 60,
        meta_info: dict[str, Any] | None = None,
        max_held_frames: int = 100_000,
        max_held_bytes: int = 64 << 20,
        strict: bool = False,
        delays: Delays = DEFAULT_DELAYS,
        batch_from: int = BATCH_FROM_FRAMES,
        on_ack: Callable[[list[float]], None] | None = None,
        on_error: Callable[[errors.TeleopError], None] | None = None,
        reporter: Reporter | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.session_id: int | None = None
        self.last_timestamp: float | None = None  # of the last frame that was stored when the client connected
        self.frame_count: int | None = None
        self.error: errors.Fatal | None = None
        self.greeted = False
        self.is_disabled = False  # by staff, and reported
        self.on_preview: Callable[[dict[str, Any]], None] | None = None  # of a client with cameras
        self.must_sync = False  # the spool, before frames are written: their times and indexes have just been settled
        self._buffer = FrameBuffer(max_held_frames, max_held_bytes)
        self._start = encoding.start_message(fps, meta_info)
        self._end: bytes | None = None
        self._backoff = Backoff(delays, rng or random.Random())
        self._reporter = reporter or Reporter(on_ack, on_error)
        self._clock = clock
        self._wall = wall or Clock()
        self._strict = strict
        self._batch_from = batch_from
        self._spool: Spool | None = None
        self._is_drain = False
        self._damaged = 0  # segments that were reported
        self._problem: str | None = None  # of the spool, as it was reported
        self._restart: dict[str, Any] | None = None  # an event that is due with the next frame
        self._events: dict[str, Event] = {}
        self._events_sent: set[str] = set()
        self._events_added = 0
        self._accepts: list[str] = []
        self._joints: dict[str, list[str]] = {}
        self._connections = 0
        self._dropping = False
        self._last_stored = -1
        self._careful_through = -1
        self._batch_bytes = encoding.MAX_MESSAGE_BYTES - 64
        self._max_unacked = 0
        self._messages = 0
        self._start_sent = self._end_sent = False
        self._explicit = False  # the program numbers the frames

    def attach(self, spool: Spool, *, is_drain: bool = False, url: str | None = None) -> None:
        """Continue the session of this spool, and keep everything in it from now on.

        With `is_drain` only what is in the spool is sent, with its own `start` and `end`.
        """
        self._spool, self._is_drain = spool, is_drain
        self._buffer.attach(spool)
        self._last_stored, self._explicit = spool.state["acked"], spool.state["is_explicit"]
        self.session_id = spool.state["session_id"]
        if is_drain:
            spool.start()
            self._events = dict(spool.events)
            self._start = (spool.state["start"] or "").encode() or self._start
            self._end = spool.state["end"].encode() if spool.state["end"] else None
            return
        before = spool.base
        if before is not None:
            self._wall = self._wall.resumed(before)
        self._start = encoding.merged_start(self._start, spool.state["start"], spool.state["end"])
        spool.state |= {"start": self._start.decode(), "end": None, "url": url}
        rebooted = before is not None and self._wall.base is not before
        if spool.was_used and (spool.jump or rebooted):
            first, end = spool.jump or (spool.first_index, spool.first_index)
            self._restart = {"from_index": first, "to_index": end, "rebooted": rebooted}
            spool.forget_restart(first)  # of a process that was killed before its first frame: this jump includes it
        if self._wall.base is not before:
            spool.begin_base(self._wall.base)
        spool.start()
        self._events = dict(spool.events)
        self.check_clock()

    # Calls of the robot's program

    def send(
        self,
        observation: Any,
        action: Any,
        timestamp: float | None,
        extra: dict[str, Any],
        frame_index: int | None = None,
        moment: tuple[float, TimeBase] | None = None,
    ) -> int | None:
        """Hold a frame of this moment or of now; return its index, or None if it was dropped. Any thread may call this.

        Raises nothing, except with `strict`: FrameInvalid and ClientClosed.
        """
        try:
            return self._send(observation, action, timestamp, extra, frame_index, moment or self.moment())
        except Exception as error:  # objects of the caller raise anything, and must not stop the robot's loop
            if self._strict:
                raise
            fault = ("error", f"frame raised {type(error).__name__}")
            self._reporter.invalid({"frame": fault}, self._clock())
            return None

    def _send(
        self,
        observation: Any,
        action: Any,
        timestamp: float | None,
        extra: dict[str, Any],
        frame_index: int | None,
        moment: tuple[float, TimeBase],
    ) -> int | None:
        if self._end is not None:
            self.reject("the session has been ended")
            return None
        frame = encoding.encode_frame(observation, action, timestamp, extra)
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
        if frame.time_s is None:
            index = self._add(*moment, frame.data, now, frame_index)
        else:
            index = self._add(frame.time_s, None, frame.data, now, frame_index)
        if self._dropping is not (index is None):
            self._dropping = index is None
            why = f"dropped: {self._why_full()}" if self._dropping else "held again"
            self._reporter.log(logging.ERROR, "frames are %s", why)
        return index

    def _add(self, time_s: float, base: TimeBase | None, data: bytes, now: float, index: int | None) -> int | None:
        try:
            if index is not None:
                index = operator.index(index)
                if not self._explicit:
                    self._explicit = True
                    if self._spool:
                        self._spool.note(is_explicit=True)
            elif self._restart:
                restart, self._restart = self._restart, None
                self.add_event("restart", restart)
            return self._buffer.add(time_s, base, data, now, index)
        except (TypeError, ValueError) as error:
            text = str(error) if isinstance(error, ValueError) else f"frame_index is {index!r:.40}; an integer expected"
            if self._strict:
                raise errors.FrameInvalid("frame_index", "order", text) from None
            self._reporter.invalid({"frame_index": ("order", text)}, now)
            return None

    def _why_full(self) -> str:
        return str(self.error or (self._spool and self._spool.log.problem) or "memory is full")

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

    def mark(self, note: str, timestamp: float | None = None) -> str | None:
        """Mark a moment of the session, or now; return the id of the mark, or None if it was dropped."""
        faults, moment = {}, None if timestamp is None else encoding.unix_seconds(timestamp)
        if timestamp is not None and moment is None:
            faults["timestamp"] = ("time", "the timestamp of a mark is no unix time; the time of the call is used")
        try:
            text = str(note)[:MAX_NOTE]
        except Exception as error:  # a method of the caller's object may raise anything
            text, faults["mark"] = "", ("object", f"the note of a mark raised {type(error).__name__}")
        if faults:
            self._reporter.invalid(faults, self._clock())
        return self.add_event("mark", {"note": text}, moment)

    def add_event(self, kind: str, detail: dict[str, Any], moment_s: float | None = None) -> str | None:
        """Hold an event for sending; return its id, or None if it was dropped. Any thread may call this."""
        event_id, event = uuid.uuid4().hex, Event(kind, self._wall.since_s(), self._wall.base, detail)
        if moment_s is not None:
            event.time_s, event.base = moment_s, None
        try:
            encoding.check_detail(detail)
        except ValueError as error:
            self._reporter.invalid({kind: ("event", f"{kind}: {error}")}, self._clock())
            return None
        self._events_added += 1
        if self._events_added > MAX_EVENTS or (self.done and not self.records_on):
            self._reporter.events_dropped += 1
            return None
        self._events[event_id] = event
        if self._spool:
            self._spool.add_event(event_id, event)
        return event_id

    def check_clock(self) -> None:
        """Note a step of the wall clock as an event; the client's thread calls this every second."""
        step_s = self._wall.find_step()
        if step_s and not self._is_drain:  # of this process; the recording was made by another one
            self._note_step(step_s)

    def _note_step(self, step_s: float) -> None:
        waits = not self._wall.base.is_fixed
        if self._spool:
            self._spool.note_bases()
        applied = {"applied": True} if waits else {}
        self.add_event("clock_step", {"step_s": round(step_s, 6)} | applied)
        effect = "frames that wait got the right time" if waits else "the times of the frames go on as before"
        error = errors.ClockStepped(f"the robot's clock was set by {step_s:+.3f} s; {effect}")
        self._reporter.report(error, logging.WARNING)

    def note_state(self) -> None:
        """Write down how far the server has the frames, and report a spool that takes no more; called every second."""
        if self._spool:
            if (problem := self._spool.log.problem) and problem != self._problem:
                why = f"{problem}: {self._spool.log.bound}" if self._spool.log.is_full else problem
                self._reporter.report(errors.SpoolUnusable(f"the spool {self._spool.folder} takes no frames: {why}"))
            self._problem = problem
            if (damaged := self._spool.log.damaged_segments) > self._damaged:
                text = f"{damaged} segments of the spool {self._spool.folder} are damaged: frames in them may be lost"
                self._reporter.report(errors.SpoolUnusable(text), logging.CRITICAL)
            self._damaged = damaged
            self._spool.note_holes()
            found = {"acked": self._last_stored, "settled": self._buffer.settled, "session_id": self.session_id}
            if any(self._spool.state[name] != value for name, value in found.items()):
                self._spool.note(**found)

    def leave(self, is_done: bool | None = None) -> None:
        """Close the spool: the next process continues it, or it is deleted if the session is complete (`is_done`)."""
        if self._spool:
            spool, self._spool = self._spool, None
            self._buffer.close()
            state = {"acked": self._last_stored, "settled": self._buffer.settled, "session_id": self.session_id}
            if not self._is_drain:
                state |= {"last": self._buffer.next_index - 1, "is_clean": True, "holes": spool.state["holes"]}
            if is_done is None:
                is_unused = not (spool.was_used or self._buffer.next_index or spool.events)
                is_done = is_unused or (self.frame_count is not None and not self.pending)
            if is_done:
                state |= {"end": None}
            # Films that wait need the spool: it names the server.
            spool.close(is_done and not has_waiting(spool.folder / FOLDER), **state)

    def end(self, message: bytes = BARE_END) -> None:
        """Request the session's end, after all held frames are sent, by this message `end`."""
        if self._end is None:
            self._end = message
            if self._spool:
                self._spool.note(end=message.decode())

    @property
    def done(self) -> bool:
        return self.error is not None or self.frame_count is not None

    @property
    def records_on(self) -> bool:
        """Return whether frames are kept though none is sent any more: another process may have a better key."""
        return self._spool is not None and isinstance(self.error, KEY_ERRORS)

    @property
    def acked(self) -> int:
        return self._reporter.acked

    @property
    def was_spooled(self) -> bool:
        """Return whether the frames are or were kept on disk."""
        return self._buffer.is_spooled

    @property
    def is_spooled(self) -> bool:
        return self._spool is not None

    @property
    def is_drained(self) -> bool:
        """Return whether everything in the spool is sent, and the session shall stay as it is."""
        waiting = self.pending or self._end or (self._events and "event" in self._accepts)
        return bool(self._connections) and not waiting

    @property
    def was_greeted(self) -> bool:
        return bool(self._connections)

    @property
    def pending(self) -> int:
        return len(self._buffer)

    @property
    def folder(self) -> Path | None:
        """Return the folder of the spool, or None without one."""
        return self._spool.folder if self._spool else None

    def moment(self) -> tuple[float, TimeBase]:
        """Return the present time, in seconds since a time base."""
        base = self._wall.base
        return self._wall.elapsed_s() - base.elapsed_s, base

    def time_of(self, since_s: float, base: dict[str, Any]) -> float | None:
        """Return the unix time of a moment of this session, or None as long as its time base is not fixed."""
        for _, each in self._spool.state["bases"] if self._spool else ():
            if each.key == (base["boot"], base["elapsed_s"]) and each.is_fixed:
                return float(each.time_s(since_s))
        return None

    def has_room(self, film_bytes: int, share: float) -> bool:
        """Return whether films, which have so many bytes, and frames use less than this share of the quota.

        Raises OSError with the bound in numbers if the spool takes no frames either.
        """
        if self._spool is None:
            return False
        log = self._spool.log
        log.other_bytes = film_bytes
        if log.is_full:
            raise OSError(f"{log.problem}: {log.bound}")
        return log.used_bytes + film_bytes < share * log.quota_bytes

    @property
    def next_frame_index(self) -> int:
        """Return the index that the next frame gets; before the first greeting it may still grow."""
        return self._buffer.next_index

    @property
    def stats(self) -> Stats:
        return self._reporter.stats([self])

    def counts(self) -> dict[str, int]:
        """Return the counts of this session's frames for `stats`."""
        buffer = self._buffer
        return {
            "sent": buffer.added,
            "dropped": buffer.dropped,
            "recovered": buffer.recovered,
            "unspooled": buffer.unspooled,
            "pending": len(buffer),
            "reconnects": max(self._connections - 1, 0),
            "events_pending": len(self._events),
        }

    # Calls of the connection

    def connected(self) -> None:
        self.greeted = self._start_sent = self._end_sent = False
        self._events_sent.clear()
        self._messages = 0

    def next_message(self) -> bytes | None:
        """Return the next message to write on this connection, as UTF-8, or None if there is nothing to write now."""
        if not self.greeted or self.done or self.must_sync:
            return None
        message = self._next_control() or self._next_frames()
        if message is not None:
            self._messages += 1
        return message

    @property
    def next_is_small(self) -> bool:
        """Return whether the next message, if there is one, has frames only, and is small."""
        is_control = not self._start_sent or self._end is not None or len(self._events) > len(self._events_sent)
        return not is_control and self._buffer.is_small

    def _next_control(self) -> bytes | None:
        if not self._start_sent:
            self._start_sent = True
            return self._start
        if len(self._events) > len(self._events_sent) and (event := self._next_event()):
            return event
        if self._end is not None and not self._end_sent and not self._buffer.unsent:
            self._time_is_set()  # of a session without frames, for its films
            if self.must_sync:
                return None
            self._end_sent = True
            return self._end
        return None

    def _next_frames(self) -> bytes | None:
        buffer = self._buffer
        buffer.load(self._clock())
        room = min(self._max_unacked - buffer.in_flight, buffer.unsent)
        if self._end_sent or room <= 0 or buffer.first_in_flight <= self._careful_through or not self._time_is_set():
            return None
        if room < self._batch_from or buffer.first_unsent <= self._careful_through:
            room = 1
        frames = buffer.take(min(room, encoding.MAX_BATCH_FRAMES), self._batch_bytes, self._messages + 1)
        encoded = [encoding.frame_message(frame.index, frame.time, frame.data) for frame in frames]
        if not encoded:
            return None
        return encoded[0] if len(encoded) == 1 else encoding.batch_message(encoded)

    def _next_event(self) -> bytes | None:
        """Return the first event whose time is final: the program gave it, or a frame was written, or the end comes."""
        is_final = self._wall.base.is_fixed or (self._end is not None and not self._buffer.unsent)
        is_final = is_final and self._time_is_set()
        for event_id, event in list(self._events.items()) if "event" in self._accepts else ():
            if event_id not in self._events_sent and (is_final or event.base is None):
                self._events_sent.add(event_id)
                return encoding.event_message(event_id, event.kind, event.unix_s, event.detail)
        return None

    def _time_is_set(self) -> bool:
        """Fix the times before the first frame is written. While the clock shows a time before 2000, frames wait."""
        if not self._wall.base.is_fixed:
            self.check_clock()
            if encoding.unix_seconds(self._wall.now_s()) is None:
                return False
            self._wall.base.is_fixed = True
            if self._spool:
                self._spool.fix_bases(self._wall.base)
                self.must_sync = True
        return not self.must_sync

    @property
    def waits_for_answer(self) -> bool:
        """Return whether an answer of the server allows to write at once: there is a backlog, or the end comes."""
        return self._end is not None or self._buffer.unsent >= encoding.MAX_BATCH_FRAMES or self._careful_through >= 0

    def sync(self) -> None:
        """Put the spool on disk, which may take long; then frames can be written."""
        if self._spool and not self._spool.log.sync(SYNC_TIMEOUT_S):
            logger.warning("the spool could not be synced within %d s: %s", SYNC_TIMEOUT_S, self._spool.log.problem)
        self.must_sync = False

    def receive(self, text: str | bytes) -> None:
        """Handle a message from the server. An unusable message is logged and ignored: the protocol may grow."""
        try:
            message = json.loads(text)
            match message["type"]:
                case "session":
                    self._on_session(message)
                case "ack":
                    self._acknowledge(self._buffer.pop_through(message["frame_index"]))
                case "preview" if self.on_preview:
                    self.on_preview(message)
                case "event_ack":
                    self._forget_event(message["id"])
                case "error" if message["code"] == "invalid_event":
                    if message.get("id") in self._events:
                        self._forget_event(message["id"])
                        self._reporter.report(errors.EventRefused(f"event refused: {message.get('detail')}"))
                case "error":
                    self._on_refusal(message)
                case "ended":
                    self._on_ended(message["frame_count"])
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("invalid message from the server: %.200s (%r)", text, error)

    def _on_session(self, message: dict[str, Any]) -> None:
        next_frame_index, self._max_unacked = int(message["next_frame_index"]), max(int(message["max_unacked"]), 1)
        if self._is_drain and self.session_id not in (None, message["session_id"]):
            self._stop(errors.SessionDeleted(f"session {self.session_id} was deleted on the server"))
            return
        self.session_id = message["session_id"]
        self.last_timestamp = encoding.unix_seconds(message.get("last_timestamp"))
        self._accepts = list(message.get("accepts") or ())
        if next_frame_index <= self._last_stored:
            self._alarm(self._last_stored + 1 - next_frame_index, next_frame_index)
        if not self._connections:
            self._first_greeting(next_frame_index, encoding.unix_seconds(message.get("time")))
        self._connections += 1
        self.greeted = True
        self.is_disabled = False
        self._acknowledge(self._buffer.pop_stored(next_frame_index))

    def _first_greeting(self, next_frame_index: int, server_time_s: float | None) -> None:
        if not self._explicit and (by := self._buffer.shift(next_frame_index)):
            for event in self._events.values():
                if event.kind == "restart":
                    event.detail["to_index"] += by
        if self._spool:
            self._spool.note(session_id=self.session_id, unsent_from=None)
            self.must_sync = True
        self._last_stored = max(self._last_stored, next_frame_index - 1)
        step_s = 0.0 if self._wall.base.is_fixed else self._wall.correct_impossible_time(server_time_s)
        if step_s and not self._is_drain:
            self._note_step(step_s)

    def _forget_event(self, event_id: str) -> None:
        self._events.pop(event_id, None)
        self._events_sent.discard(event_id)
        if self._spool:
            self._spool.forget_event(event_id)

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
        if self._events:
            self._reporter.log(logging.WARNING, "the server takes no events: %d were left out", len(self._events))
        if self.pending or self._end is None:
            self._stop(
                errors.SessionEnded(f"the server ended the session, {self.pending} frames were not acknowledged")
            )

    def closed(self, code: int, reason: str = "", is_local: bool = False) -> float | None:
        """Handle a connection that was lost, or was not made (1006); `is_local` if the robot's own network is down."""
        if code in reconnect.CODES_AT_FAULT:
            self._find_fault(code, reason)
        self.greeted = False
        self._buffer.rewind()
        if code in reconnect.CODES_STOP and not self.done:
            error, text = reconnect.CODES_STOP[code]
            self._stop(error(f"{text} ({reconnect.in_words(code, reason)})"))
        if self.done:
            return None
        if code in reconnect.CODES_AT_FAULT:
            return self._backoff.slow()
        if code == reconnect.CODE_STAFF:
            self._reporter.report(errors.DisconnectedByStaff("disconnected by staff; reconnecting later"))
            return self._backoff.staff()
        if code == reconnect.CODE_DISABLED:
            return self._wait_until_enabled()
        return self._back_off(f"connection closed: {reconnect.in_words(code, reason)}", is_local)

    def not_connected(self, why: str, is_local: bool) -> float | None:
        """Handle a connection that was not made, for this reason in words."""
        if not self._connections and why != self._reporter.last_error:
            self._reporter.report(errors.NotConnected(why), logging.WARNING)
        self._reporter.last_error = why
        return None if self.done else self._back_off(why, is_local)

    def refused(self, status: int, body: bytes | bytearray | None = None) -> float | None:
        """Handle a handshake that was answered with an HTTP error."""
        if reconnect.is_disabled(status, body):
            return self._wait_until_enabled()
        if status in reconnect.STATUSES_STOP:
            kind, text = reconnect.STATUSES_STOP[status]
            self._stop(kind(f"{text} (HTTP {status})"))
            return None
        if status >= 500 or status in reconnect.STATUS_LATER:
            return self._back_off(reconnect.reason(status, body))
        error = errors.HandshakeRefused(
            f"{reconnect.reason(status, body)}: check the key, the robot's id and the address"
        )
        if self._connections:
            # An earlier handshake succeeded, so the setup may be repaired while this client still holds the frames.
            self._reporter.report(error)
            return self._backoff.slow()
        self._stop(error)
        return None

    def _wait_until_enabled(self) -> float:
        """Report once that staff disabled the robot; return the long delay. The frames stay in the spool."""
        if not self.is_disabled:
            self.is_disabled = True
            text = "staff have disabled this robot on the server; the client keeps its frames and asks every 10 minutes"
            self._reporter.report(errors.RobotDisabled(text))
        return self._backoff.disabled()

    def _find_fault(self, code: int, reason: str) -> None:
        """Find the message in flight that was at fault, which the code does not name: send them again one by one."""
        if code == reconnect.CODE_TOO_BIG:
            self._batch_bytes = max(self._batch_bytes // 2, encoding.MAX_FRAME_BYTES)
        if self._buffer.first_in_flight <= self._careful_through:
            self._refuse(self._buffer.pop_through(self._careful_through), f"closed_{code}", reason)
            return
        self._careful_through = max(self._careful_through, self._buffer.last_in_flight)
        why = reconnect.in_words(code, reason)
        self._reporter.report(errors.MessageRefused(f"connection closed for an unusable message: {why}"))

    def _back_off(self, why: str, is_local: bool = False) -> float:
        self._reporter.last_error = why
        delay = self._backoff.next(is_local)
        logger.warning("%s; %d frames held, reconnecting in %.1f s", why, self.pending, delay)
        return delay

    def _stop(self, error: errors.Fatal) -> None:
        self.error = error
        if not self.records_on:
            self._buffer.close()
        self._reporter.report(error)
