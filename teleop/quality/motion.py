"""Read a session's joints as columns, and count what its motors report."""

import numpy as np

from teleop.frames.columns import session_tables
from teleop.frames.data import joints_of
from teleop.frames.sql import FrameRange, blocks
from teleop.models import TeleopSession
from teleop.quality.scores import Motion
from teleop.quality.servo_health import ServoHealth

MAX_NUMBERS = 2**24  # 128 MB of doubles: 16 joints of a million frames; of more joints only the first are read


def read_motion(session: TeleopSession) -> Motion:
    """Return the joints that the first frame names, of its observation or, if it has none, its action.

    A value is NaN where a later frame has other joints. `session` has ended, so its frame_count is known. Raises
    TooManyColumns if its frames have more names than are made columns, joints or not.
    """
    names = _joints(session)[: MAX_NUMBERS // max(1, session.frame_count)]
    indexes = np.empty(session.frame_count, np.int64)
    timestamps = np.empty(session.frame_count)
    positions = np.full((session.frame_count, len(names)), np.nan, order="F")
    servo_health = ServoHealth(session)
    read = 0
    for frames in session_tables(blocks(FrameRange(session.pk))):
        columns = frames.slice(0, session.frame_count - read)
        part = slice(read, read + columns.num_rows)
        indexes[part] = columns["frame_index"].to_numpy()
        timestamps[part] = columns["timestamp"].to_numpy()
        for number, name in enumerate(names):
            if name in columns.column_names:
                positions[part, number] = columns[name].to_numpy()
        servo_health.add(columns)
        read = part.stop
    return Motion(indexes[:read], timestamps[:read], positions[:read], servo_health.scores())


def _joints(session: TeleopSession) -> list[str]:
    joints = joints_of(session)
    part = "observation" if joints["observation"] else "action"
    return [f"{part}.{name}" for name in joints[part]]
