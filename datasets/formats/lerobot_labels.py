"""The columns that an episode has beside LeRobot's own: of which session it is, and how this session was labelled.

`episode_filter` of LeRobot's reader selects episodes by them.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from datasets.formats.lerobot_rows import task_of
from datasets.types import Episode, SessionEntry

QUALITY = ("idle_share", "jerk", "fps_jitter", "missing_frames")
LABEL_TYPES = {
    "session_id": pa.int64(),
    "session_key": pa.string(),
    "robot": pa.string(),
    "task": pa.string(),
    "success": pa.bool_(),
    "tags": pa.list_(pa.string()),
    "operator": pa.string(),
    "start_time": pa.string(),
    **{f"quality.{name}": pa.float64() for name in QUALITY},
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def labels_of(entry: SessionEntry, episode: Episode) -> dict[str, Any]:
    """Return the columns; an unknown value is null. `start_time` is that of the episode, not of its session."""
    return {
        "session_id": entry.session_id,
        "session_key": entry.key,
        "robot": entry.robot,
        "task": task_of(entry),
        "success": entry.success,
        "tags": list(entry.tags),
        "operator": entry.operator,
        "start_time": iso_time(episode.begin_us),
        **{f"quality.{name}": _number(entry.quality.get(name)) for name in QUALITY},
    }


def iso_time(time_us: int) -> str:
    """Return ISO 8601 in UTC with all six digits of the microseconds."""
    return (EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="microseconds")


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
