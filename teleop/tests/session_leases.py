"""A robot's session in the database: opened, saved by heartbeats, filled with frames and released."""

from datetime import UTC, datetime, timedelta

from django.db.models.functions import Now

from robots.models import Robot
from teleop.ingest import admission, presence, store
from teleop.ingest.types import Claim, Handshake, Heartbeat, HeartbeatResult, Outcome, Release, Row, SessionLease
from teleop.models import TeleopSession

T0 = datetime(2023, 12, 23, 8, tzinfo=UTC)


def claims(holder="worker.1", key="morning-run", robot="arm", secret=None, takes_over=True) -> Claim | Exception | None:
    """Return the answer to one handshake; None: the row of its session is locked."""
    handshakes = [Handshake(robot, secret, key, holder, "10.0.0.7", takes_over)]
    (key_hash,) = admission.authenticate(handshakes)
    return key_hash if isinstance(key_hash, Exception) else admission.claim(handshakes, [key_hash])[0]


def opens(holder="worker.1", key="morning-run", robot="arm") -> SessionLease:
    lease = claims(holder, key, robot).lease
    return lease._replace(last_frame=admission.last_frames([lease.session_id])[0])


def heartbeat_of(lease: SessionLease, **changes) -> Heartbeat:
    heartbeat = Heartbeat(lease.session_id, lease.robot_id, lease.holder, lease.frame_count, None, None, {}, None, 0)
    return heartbeat._replace(**changes)


def beats(lease: SessionLease, **changes) -> HeartbeatResult:
    return presence.heartbeat([heartbeat_of(lease, **changes)])


def release_all(*releases: Release) -> list[int | None]:
    return presence.release(releases, presence.frame_bounds([each.last.session_id for each in releases]))


def releases(lease: SessionLease, failed=False, **changes) -> int | None:
    """Return the session's frame_count; None: its row is locked."""
    return release_all(Release(heartbeat_of(lease, **changes), failed))[0]


def sweeps() -> int:
    return presence.sweep(presence.frame_bounds(presence.stale_sessions()))


def stores(lease: SessionLease, *indexes, times=None) -> None:
    """Store frames with these indexes, one a second, or at these `times`, in seconds."""
    begin = int(T0.timestamp())
    frames = zip(indexes, times or indexes, strict=True)
    rows = [Row(lease.session_id, lease.robot_id, index, (begin + at) * 10**6, b"{}") for index, at in frames]
    assert store.write(rows) == Outcome()


def falls_silent(*leases: SessionLease) -> None:
    """Make the last heartbeats 31 s old, as if the worker had been killed then."""
    ago = Now() - timedelta(seconds=31)
    TeleopSession.objects.filter(pk__in=[each.session_id for each in leases]).update(updated_at=ago)
    Robot.objects.filter(pk__in=[each.robot_id for each in leases]).update(last_heartbeat=ago)
