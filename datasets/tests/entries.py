"""Sessions with any frames, and their entries in a manifest, for the tests that read them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from datasets.manifest import freeze
from datasets.options import Options
from datasets.types import SessionEntry
from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession

BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
BEGIN_S, BEGIN_US = 1767600000, 1767600000 * 10**6


def session_of(frames: list[dict[str, Any]], robot="arm", fps=30, times_us=None, **fields: Any) -> TeleopSession:
    """Store an ended session with these frames, 1/fps apart or at `times_us` after BEGIN."""
    owner, _ = Robot.objects.get_or_create(pk=robot, defaults={"robot_type": "so_follower"})
    times_us = times_us if times_us is not None else [round(index * 1e6 / fps) for index in range(len(frames))]
    ends = [BEGIN + timedelta(microseconds=at) for at in (min(times_us, default=0), max(times_us, default=0))]
    given = {"start_time": ends[0], "end_time": ends[1], "key": f"session-{TeleopSession.objects.count():04}"} | fields
    session = TeleopSession.objects.create(robot=owner, fps=fps, frame_count=len(frames), **given)
    TeleopFrame.objects.bulk_create(
        TeleopFrame(
            session=session,
            robot=owner,
            frame_index=index,
            timestamp=BEGIN + timedelta(microseconds=at),
            data=data,
        )
        for index, (data, at) in enumerate(zip(frames, times_us, strict=True))
    )
    return session


def entry_of(session: TeleopSession, **options: Any) -> SessionEntry:
    return freeze("test", [session], Options(**options)).sessions[0]


def entry(**changes: Any) -> SessionEntry:
    """Return an entry of a session that is not in the database."""
    values = {
        "session_id": 17,
        "key": "morning-run",
        "robot": "arm",
        "robot_type": "so_follower",
        "fps": 30,
        "frame_count": 4,
        "start_time": "2026-01-05T08:00:00.000000+00:00",
        "end_time": "2026-01-05T08:00:00.100000+00:00",
        "task": "Fold the towel",
        "success": None,
        "tags": (),
        "operator": None,
        "note": None,
        "quality": {},
        "clock_steps": (),
        "marks": (),
        "films": (),
    }
    return SessionEntry(**values | changes)
