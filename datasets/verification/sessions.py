"""Compare sessions with their entries in the manifest: an export of a session that has changed since is none of it."""

from datetime import UTC, datetime
from typing import Any

from datasets.types import SessionEntry
from datasets.verification.findings import Findings
from teleop.models import TeleopSession
from videos.models import VideoChunk


def check_session(entry: SessionEntry, findings: Findings) -> None:
    """Add a finding if the session was deleted or resumed, or if a film of it was deleted; labels may differ."""
    where = f"session {entry.session_id} ({entry.robot}, {entry.start_time})"
    names = ("key", "robot_id", "fps", "frame_count", "end_time")
    found = TeleopSession.objects.filter(pk=entry.session_id).values(*names).first()
    if found is None:
        findings.add(f"{where} was deleted since it was selected")
        return
    expected = dict(zip(names, (entry.key, entry.robot, entry.fps, entry.frame_count, entry.end_time), strict=True))
    for name, value in (found | {"end_time": _iso(found["end_time"])}).items():
        if value != expected[name]:
            findings.add(
                f"{where} was resumed or replaced since it was selected: {name} is {value}; {expected[name]} expected"
            )
    stored = dict(VideoChunk.objects.filter(session=entry.session_id).values_list("pk", "sha256"))
    for film in entry.films:
        if stored.get(film.video_id) != film.sha256:
            findings.add(f"{where}: video {film.video_id} of camera {film.camera} was deleted since it was selected")


def _iso(moment: datetime | None) -> Any:
    return moment and moment.astimezone(UTC).isoformat(timespec="microseconds")
