"""Read a session's frames as columns, block by block: between two blocks no transaction and no connection is open."""

import hashlib

import numpy as np
import orjson

from datasets.recording.columns import Columns
from datasets.recording.names import name_of
from datasets.types import Recording, Refused, SessionEntry
from teleop.frames.columns import TooManyColumns
from teleop.frames.sql import FrameRange, blocks


def read(entry: SessionEntry) -> Recording:
    """Return all frames; raises Refused if they are not those of the manifest, or have too many values.

    Values take 8 bytes each, beside two blocks of 4 MiB.
    """
    columns = Columns(name_of(entry), entry.frame_count)
    try:
        for block in blocks(FrameRange(entry.session_id)):
            columns.add(block)
    except TooManyColumns as error:
        raise Refused(f"{name_of(entry)} has {error.count} names of values; at most {error.most} expected") from None
    if columns.count < entry.frame_count:
        raise Refused(
            f"{name_of(entry)} has {columns.count} frames, but {entry.frame_count} in the manifest; it was deleted"
        )
    return _sorted(Recording(entry.session_id, columns.indexes, columns.times_us, columns.take()))


def values_sha256(recording: Recording) -> str:
    """Hash the times and the values; the database that they are from makes no difference."""
    digest = hashlib.sha256()
    for name, values in (("frame_index", recording.indexes), ("timestamp_us", recording.times_us)):
        digest.update(f"{name} {values.dtype.str} {len(values)}\n".encode())
        digest.update(values)
    for name in sorted(recording.columns):
        values = recording.columns[name]
        digest.update(f"{name} {values.dtype.str} {len(values)}\n".encode())
        digest.update(orjson.dumps(values.tolist()) if values.dtype == object else values)
    return digest.hexdigest()


def _sorted(recording: Recording) -> Recording:
    """Sort by time, as a robot's clock may step back; frames of equal times stay in the order of their indexes."""
    if (np.diff(recording.times_us) >= 0).all():
        return recording
    order = np.argsort(recording.times_us, kind="stable")
    for name, values in recording.columns.items():
        recording.columns[name] = values[order]
    return recording._replace(indexes=recording.indexes[order], times_us=recording.times_us[order])
