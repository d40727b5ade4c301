"""Types of the values that the steps of the ingest path pass to each other."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from teleop.clock_steps import ClockStep
from teleop.ingest.parse import Event
from teleop.protocol import DEFAULT_FPS, Code

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ANY_ID = 0  # no session has this id


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
    """Row that was refused for good, with the reason."""

    row: Row
    code: Code
    detail: str


class Outcome(NamedTuple):
    """Result of storing a group of rows; rows that it does not name were stored by this group.

    `stored_before` counts by session the rows that an earlier commit had stored. `waiting` are rows that could not be
    stored for now; `reason` is the cause, for the log.
    """

    refused: Sequence[Refused] = ()
    stored_before: Mapping[int, int] = {}
    waiting: Sequence[Row] = ()
    reason: str = ""


class SessionEvents(NamedTuple):
    """Events of one session on their way into the table."""

    session_id: int
    events: Sequence[Event]


class EventsOutcome(NamedTuple):
    """Result of storing events of one session: those that are new, and how many more than a session may have.

    All others were stored before, or `is_deleted`: there is no such session.
    """

    new: Sequence[Event] = ()
    dropped: int = 0
    is_deleted: bool = False


class Handshake(NamedTuple):
    """Request of a robot that connects; `holder` names the connection.

    Without `takes_over` it is refused if a live connection holds the session. With `expected_id` it is refused if the
    session was deleted, or has another id; ANY_ID is every id.
    """

    robot_id: str
    key: str | None
    session_key: str
    holder: str
    address: str | None
    takes_over: bool = True
    expected_id: int | None = None


class SessionLease(NamedTuple):
    """Session that a connection, `holder`, holds."""

    session_id: int
    session_key: str
    robot_id: str
    key_hash: str  # of the robot's accepted key; empty if no key is required
    holder: str
    frame_count: int
    is_counted: bool = True  # False: its last worker may have been killed before it wrote frame_count
    last_frame: tuple[int, int] | None = None  # frame_index, timestamp in unix microseconds; None: no frames
    fps: int = DEFAULT_FPS

    @property
    def next_frame_index(self) -> int:
        return self.last_frame[0] + 1 if self.last_frame else 0

    @property
    def last_timestamp(self) -> float | None:
        return self.last_frame[1] / 10**6 if self.last_frame else None


class Claim(NamedTuple):
    """Session that a handshake has just taken, and its state before that."""

    lease: SessionLease
    is_new: bool
    was_live: bool
    previous: str  # the holder before; empty if the session is new or was released


class Heartbeat(NamedTuple):
    """State of one of a worker's connections since the last heartbeat."""

    session_id: int
    robot_id: str
    holder: str
    frame_count: int
    first_timestamp: datetime | None  # of a session that had no frames when it was opened
    fps: int | None  # None: not sent, or written already; likewise with meta_info and error
    meta_info: dict[str, Any]
    error: tuple[str, str] | None
    refusals: int
    clock_steps: Sequence[ClockStep] = ()

    @property
    def is_failing(self) -> bool:
        return self.refusals > 0


class HeartbeatResult(NamedTuple):
    """Result of a heartbeat of all connections.

    `saved` are holders with a written heartbeat; `lost` are holders that lost their session to another. The rows of
    all other holders were locked, so the next turn writes their heartbeats. `key_hashes` is by robot. `refused` gives
    by holder the reason why its meta_info was refused. `disabled` are robots.
    """

    saved: set[str]
    lost: set[str]
    key_hashes: dict[str, str]
    refused: dict[str, str]
    disabled: set[str]


class Release(NamedTuple):
    """Last heartbeat of a connection; `failed`: the connection was closed for the robot's own fault."""

    last: Heartbeat
    failed: bool
