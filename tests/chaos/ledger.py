"""Record at the robots' end of the wire the frames sent and the acks received, and compare the database with this."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Sent(NamedTuple):
    """A frame at the robot's end: its timestamp is between two times, in microseconds."""

    earliest_us: int
    latest_us: int
    digest: bytes


class StoredFrame(NamedTuple):
    """A row of the frames' table; `timestamp` and `data` are text as converted by the database."""

    robot_id: str
    session_key: str
    frame_index: int
    timestamp: str
    data: str


class StoredSession(NamedTuple):
    robot_id: str
    key: str
    frame_count: int
    start_time: str
    end_time: str | None
    robot_status: str
    meta_info: str | None = None
    skipped_frames: int = 0


@dataclass
class SessionRecord:
    """One session, as its client saw it."""

    robot_id: str
    session_key: str
    sent: dict[int, Sent] = field(default_factory=dict)  # by index
    unreturned: set[bytes] = field(
        default_factory=set
    )  # digests of frames that may be stored, or not: killed in `send`
    dropped: int | None = None  # frames without an index: exactly so many indexes are missing; None: not checked
    begun_at: int | None = None  # the first greeting's next_frame_index
    acked_through: int = -1  # every frame sent up to here was acknowledged
    ended: int | None = None  # the frame_count in the server's answer to `end`
    meta_info: dict | None = None  # the meta_info of its `start`; None if the client sends none
    faults: list[str] = field(default_factory=list)

    @property
    def has_session(self) -> bool:
        return self.begun_at is not None or self.acked_through >= 0

    def note_sent(self, frame_index: int, timestamp: float, data: dict, latest: float | None = None) -> None:
        """Record a frame; with `latest` the client gave it a timestamp from `timestamp` to `latest`."""
        times = timestamp, timestamp if latest is None else latest
        self.sent[frame_index] = Sent(*(round(time * 1_000_000) for time in times), digest(data))

    def note_received(self, message: dict) -> None:
        """Record a raw message from the server, independently of the client's own bookkeeping."""
        match message:
            case {"type": "ack", "frame_index": index}:
                self.acked_through = max(self.acked_through, index)
            case {"type": "session", "next_frame_index": index}:
                if self.begun_at is None:
                    self.begun_at = index
                if index <= self.acked_through:
                    self.add_fault(f"greeted with {index} after the ack of {self.acked_through}")
                self.acked_through = max(self.acked_through, index - 1)  # the client forgets all lower indexes
            case {"type": "ended", "frame_count": count}:
                self.ended = count
                self.acked_through = max(self.sent, default=-1)
            case {"type": "error"}:
                self.add_fault(f"refused: {message}")

    def add_frames_of(self, older: "SessionRecord") -> None:
        """Add the frames that the session's previous client sent."""
        self.sent |= {index: sent for index, sent in older.sent.items() if index < (self.begun_at or 0)}

    def add_fault(self, fault: str) -> None:
        self.faults.append(fault)


class Ledger:
    """All records of a run. A run has a database of its own, so rows of sessions without a record are found too."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], SessionRecord] = {}

    def record(self, robot_id: str, session_key: str) -> SessionRecord:
        return self.records.setdefault((robot_id, session_key), SessionRecord(robot_id, session_key))

    @property
    def sent(self) -> int:
        return sum(len(record.sent) for record in self.records.values())

    def faults(self, sessions: Iterable[StoredSession], frames: Iterable[StoredFrame]) -> list[str]:
        """Return the differences between this and the database, a line each; none if all is stored as acknowledged."""
        counted: dict[tuple[str, str], _Found] = {name: _Found() for name in self.records}
        faults = [f"{record.robot_id}: {fault}" for record in self.records.values() for fault in record.faults]
        for frame in frames:
            name = frame.robot_id, frame.session_key
            if name not in counted:
                faults.append(f"{name}: frame {frame.frame_index} is of no known session")
            elif fault := counted[name].take(frame, self.records[name]):
                faults.append(f"{frame.robot_id}: frame {frame.frame_index} {fault}")
        for name, record in self.records.items():
            faults += _missing(record, counted[name].indexes)
        faults += self._faults_of_sessions(list(sessions), counted)
        return faults

    def _faults_of_sessions(self, sessions: list[StoredSession], counted: "dict[tuple[str, str], _Found]") -> list[str]:
        names = [(session.robot_id, session.key) for session in sessions]
        faults = [f"{name}: the session is unknown" for name in names if name not in self.records]
        # A robot that was refused (1013) and received no greeting or ack has no session.
        faults += [
            f"{name}: no session" for name, record in self.records.items() if record.has_session and name not in names
        ]
        for session, name in zip(sessions, names, strict=True):
            if session.robot_status != "offline":
                faults.append(f"{session.robot_id}: left {session.robot_status}")
            if session.end_time is None:
                faults.append(f"{name}: its session is left live")
            elif name in self.records and counted[name].indexes:
                faults += _faults_of_ends(session, counted[name], self.records[name].ended)
                faults += _faults_of_start(session, self.records[name])
                faults += _faults_of_gaps(session, self.records[name], counted[name].indexes)
        return faults


class _Found:
    """Check the rows of one session."""

    def __init__(self) -> None:
        self.indexes: set[int] = set()
        self.first_us = self.last_us = 0

    def take(self, frame: StoredFrame, record: SessionRecord) -> str:
        """Return the fault of the row, or an empty string. Rows come in the order of their indexes."""
        timestamp_us = microseconds(frame.timestamp)
        if not self.indexes:
            self.first_us = timestamp_us
        self.last_us = timestamp_us
        if frame.frame_index in self.indexes:
            return "is stored twice"
        self.indexes.add(frame.frame_index)
        sent, found = record.sent.get(frame.frame_index), digest(json.loads(frame.data))
        if sent is None:
            if found not in record.unreturned:
                return "was never sent"
            record.unreturned.remove(found)
            return ""
        if not sent.earliest_us <= timestamp_us <= sent.latest_us:
            return f"has the timestamp {timestamp_us}, sent was {sent.earliest_us} to {sent.latest_us}"
        return "" if found == sent.digest else "has other data than was sent"


def _missing(record: SessionRecord, stored: set[int]) -> Iterator[str]:
    missing = sorted(record.sent.keys() - stored)
    if acked := [index for index in missing if index <= record.acked_through]:
        yield f"{record.robot_id}: {len(acked)} acknowledged frames are not stored, the first is {acked[0]}"
    elif missing and record.ended is not None:
        yield f"{record.robot_id}: {len(missing)} frames were sent and are not stored, the first is {missing[0]}"


def _faults_of_ends(session: StoredSession, found: _Found, ended: int | None) -> Iterator[str]:
    count = len(found.indexes)
    for name, value in (("frame_count", session.frame_count), ("ended", count if ended is None else ended)):
        if value != count:
            yield f"{session.robot_id}: {name} says {value}, stored are {count}"
    ends = microseconds(session.start_time), microseconds(session.end_time or "")
    if ends != (found.first_us, found.last_us):
        yield f"{session.robot_id}: from {ends[0]} to {ends[1]}, its frames {found.first_us} to {found.last_us}"


def _faults_of_start(session: StoredSession, record: SessionRecord) -> Iterator[str]:
    """Check meta_info. Each connection sends `start` first, so after `ended` the server has processed `start` too."""
    stored = json.loads(session.meta_info or "null")
    # Staff may have added keys.
    if (
        record.ended is not None
        and record.meta_info is not None
        and not record.meta_info.items() <= (stored or {}).items()
    ):
        yield f"{session.robot_id}: meta_info is {stored}, sent was {record.meta_info}"


def _faults_of_gaps(session: StoredSession, record: SessionRecord, stored: set[int]) -> Iterator[str]:
    missing = max(stored) - min(stored) + 1 - len(stored) - session.skipped_frames
    if record.dropped not in (None, missing):
        yield f"{session.robot_id}: {missing} indexes are missing and not skipped, {record.dropped} frames were dropped"


def digest(data: dict) -> bytes:
    """Return a digest of the value, with any JSON formatting, but in its key order."""
    return hashlib.blake2b(json.dumps(data).encode(), digest_size=12).digest()


def microseconds(text: str) -> int:
    """Parse a timestamp as either database writes it; SQLite's have no zone."""
    time = datetime.fromisoformat(text)
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)


SESSIONS = """
    SELECT s.robot_id, s.key, s.frame_count, CAST(s.start_time AS text), CAST(s.end_time AS text), r.status,
        CAST(s.meta_info AS text), s.skipped_frames
    FROM teleop_teleopsession s JOIN robots_robot r ON r.id = s.robot_id
"""
FRAMES = """
    SELECT f.robot_id, s.key, f.frame_index, CAST(f.timestamp AS text), CAST(f.data AS text)
    FROM teleop_teleopframe f LEFT JOIN teleop_teleopsession s ON s.id = f.session_id
    ORDER BY f.session_id, f.frame_index
"""


EVENTS = """
    SELECT s.robot_id, e.kind, CAST(e.detail AS text)
    FROM teleop_teleopevent e JOIN teleop_teleopsession s ON s.id = e.session_id ORDER BY e.id
"""


def faults_in(database_url: str, ledger: Ledger) -> list[str]:
    """Read the database directly, without the product's code."""
    if database_url.startswith("sqlite:///"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=20)) as file:
            sessions = list(map(StoredSession._make, file.execute(SESSIONS)))
            return ledger.faults(sessions, map(StoredFrame._make, file.execute(FRAMES)))
    with psycopg.connect(database_url) as database, database.cursor("frames") as frames:
        sessions = list(map(StoredSession._make, database.execute(SESSIONS)))
        frames.execute(FRAMES)
        return ledger.faults(sessions, map(StoredFrame._make, frames))


def events_in(database_url: str, kind: str) -> list[tuple[str, dict]]:
    """Return the robot and the detail of each event of this kind."""
    if database_url.startswith("sqlite:///"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=20)) as file:
            rows = file.execute(EVENTS).fetchall()
    else:
        with psycopg.connect(database_url) as database:
            rows = database.execute(EVENTS).fetchall()
    return [(robot_id, json.loads(detail)) for robot_id, found, detail in rows if found == kind]
