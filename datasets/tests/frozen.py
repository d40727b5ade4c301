"""Sessions of the database as a manifest has them, for tests of formats that keep frames as they are."""

from types import SimpleNamespace

from datasets.options import Options
from datasets.types import SessionEntry
from teleop.models import TeleopSession


def entry_of(session: TeleopSession, **changes) -> SessionEntry:
    values = {
        "session_id": session.pk,
        "key": session.key,
        "robot": session.robot_id,
        "robot_type": None,
        "fps": session.fps,
        "frame_count": session.frames.count(),
        "start_time": session.start_time.isoformat(timespec="microseconds"),
        "end_time": session.end_time.isoformat(timespec="microseconds"),
        "task": "Fold the towel",
        "success": True,
        "tags": ("night",),
        "operator": "ada",
        "note": None,
        "quality": {"idle_share": 0.25},
        "clock_steps": (),
        "marks": (),
        "films": (),
    }
    return SessionEntry(**values | changes)


def manifest_of(entries, **options) -> SimpleNamespace:
    return SimpleNamespace(sessions=tuple(entries), options=Options(**options))
