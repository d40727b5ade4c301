"""Read the `data` of single frames as Python values, and its size; sql.py reads a session's frames."""

from typing import Any

from django.db import connection

from teleop.joints import joint_names, part_of
from teleop.models import TeleopFrame, TeleopSession

# By the primary key: all frames are never read.
NEWEST = "(SELECT data FROM teleop_teleopframe ORDER BY id DESC LIMIT 500) AS newest"
DATA_BYTES = {"postgresql": "pg_column_size(data)", "sqlite": "length(CAST(data AS BLOB))"}


def data_of(frame: TeleopFrame) -> dict[str, Any]:
    """Return the robot's frame without frame_index and timestamp, in its key order."""
    return frame.data


def joints_of(session: TeleopSession) -> dict[str, list[str]]:
    """Return the joints that the first frame names, of its observation and of its action; none without frames."""
    first = TeleopFrame.objects.of_session(session.pk).first_frame()
    data = data_of(first) if first else {}
    return {part: joint_names(part_of(data, part)) for part in ("observation", "action")}


def newest_data_bytes() -> float:
    """Return the mean size of `data` as it is stored, of the newest frames; 0 without frames."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT avg({DATA_BYTES[connection.vendor]}) FROM {NEWEST}")  # nosec B608 # constants
        return float(cursor.fetchone()[0] or 0)
