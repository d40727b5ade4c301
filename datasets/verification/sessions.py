"""Compare sessions with their entries in the manifest: an export of a session that has changed since is none of it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from datasets.types import SessionEntry
from datasets.verification.findings import Findings
from teleop.models import TeleopSession
from videos.models import VideoChunk

NAMES = ("key", "robot_id", "fps", "frame_count", "end_time")
BATCH = 500  # sessions a query


def check_sessions(entries: Sequence[SessionEntry], findings: Findings) -> None:
    """Add a finding if a session was deleted or resumed, or if a film of it was deleted; labels may differ."""
    for batch in (entries[begin : begin + BATCH] for begin in range(0, len(entries), BATCH)):
        ids = [entry.session_id for entry in batch]
        found = {row.pop("pk"): row for row in TeleopSession.objects.filter(pk__in=ids).values("pk", *NAMES)}
        stored = dict(VideoChunk.objects.filter(session__in=ids).values_list("pk", "sha256"))
        for entry in batch:
            _check(entry, found.get(entry.session_id), stored, findings)


def _check(entry: SessionEntry, found: dict | None, stored: dict[int, str], findings: Findings) -> None:
    where = f"session {entry.session_id} ({entry.robot}, {entry.start_time})"
    if found is None:
        findings.add(f"{where} was deleted since it was selected")
        return
    expected = dict(zip(NAMES, (entry.key, entry.robot, entry.fps, entry.frame_count, entry.end_time), strict=True))
    for name, value in (found | {"end_time": _iso(found["end_time"])}).items():
        if value != expected[name]:
            findings.add(
                f"{where} was resumed or replaced since it was selected: {name} is {value}; {expected[name]} expected"
            )
    for film in entry.films:
        if stored.get(film.video_id) != film.sha256:
            findings.add(f"{where}: video {film.video_id} of camera {film.camera} was deleted since it was selected")


def _iso(moment: datetime | None) -> str | None:
    return moment and moment.astimezone(UTC).isoformat(timespec="microseconds")
