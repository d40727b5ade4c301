"""Read frames as JSON text, one line each, as their robot sent them, by handwritten SQL."""

from collections.abc import Generator
from contextlib import closing
from datetime import datetime
from typing import NamedTuple

from django.db import close_old_connections, connection

from teleop.protocol import MAX_FRAME_INDEX

BLOCK_FRAMES = 4096
BLOCK_BYTES = 4 * 2**20  # a frame may have 64 KiB, so that 4096 could be 256 MiB; a stream holds two blocks
LINE_BEGINS = b'{"frame_index":'

# The unix seconds and `data` of a line. A control character, which JSON never contains unescaped, marks the brace to
# remove: substr() counts characters, and takes longer than all the rest of a line (1.5 us of 2.9).
LINES = {
    "postgresql": "date_part('epoch', timestamp) || E',\\x01' || data::text",
    # strftime rounds to milliseconds, so it is given the timestamp without its fraction.
    "sqlite": "strftime('%%s', substr(timestamp, 1, 19)) || substr(timestamp || '.000000', 20, 7) || ',\x01' || data",
}


class FrameRange(NamedTuple):
    """Frames of one session: indexes from `start` to before `stop`, at times from `begin` to before `end`.

    With a stride of n it is the first frame at or after start, start + n, start + 2n...; times are ignored then.
    """

    session_id: int
    start: int = 0
    stop: int = MAX_FRAME_INDEX + 1
    stride: int = 1
    begin: datetime | None = None
    end: datetime | None = None

    def after(self, block: bytes):
        """Return the rest of the range after this block."""
        return self._replace(start=self.following(last_index(block)))

    def following(self, index: int) -> int:
        """Return the index at which reading continues after this frame."""
        return self.start + ((index - self.start) // self.stride + 1) * self.stride


def read_block(frames: FrameRange, limit: int = BLOCK_FRAMES) -> bytes:
    """Read the first `limit` frames, or as many as fill 4 MiB: `{"frame_index":0,"timestamp":1703318400.0,...`.

    Keyset paging: the unique key finds the next frames, so a client that reads for an hour holds neither a connection
    nor a snapshot meanwhile.
    """
    lines, size = [], 0
    with closing(_lines(*_query(frames, limit))) as found:
        for line in found:
            # Line by line: replacing in a whole block takes 2 us a frame, as the block exceeds the processor's cache.
            lines.append(line.replace(b"\x01{", b"", 1))
            size += len(line)
            if size >= BLOCK_BYTES:
                break
    return b"".join(lines)


def read_lines(frames: FrameRange, limit: int) -> list[bytes]:
    return read_block(frames, limit).split(b"\n")[:-1]


def blocks(frames: FrameRange) -> Generator[bytes, None, None]:
    """Yield all blocks of the range; between two blocks the connection is back in the pool."""
    while block := read_block(frames):
        release_connection()
        yield block
        frames = frames.after(block)


def release_connection() -> None:
    """Return this thread's connection to the pool; Django would keep it until the request has ended."""
    if not connection.in_atomic_block:
        close_old_connections()


def first_index(block: bytes) -> int:
    return _index_at(block, 0)


def last_index(block: bytes) -> int:
    return _index_at(block, block.rfind(b"\n", 0, -1) + 1)


def _index_at(block: bytes, line: int) -> int:
    begin = line + len(LINE_BEGINS)
    return int(block[begin : block.index(b",", begin)])


def _query(frames: FrameRange, limit: int) -> tuple[str, list]:
    line = f"""'{LINE_BEGINS.decode()}' || frame_index || ',"timestamp":' || {LINES[connection.vendor]}"""
    source, parameters = _contiguous(frames) if frames.stride == 1 else _strided(frames, limit)
    return f"SELECT {line} FROM {source} ORDER BY frame_index LIMIT %s", [*parameters, limit]  # nosec B608 # constants


def _contiguous(frames: FrameRange) -> tuple[str, list]:
    adapt = connection.ops.adapt_datetimefield_value
    conditions = {
        "session_id = %s": frames.session_id,
        "frame_index >= %s": frames.start,
        "frame_index < %s": frames.stop,
        "timestamp >= %s": frames.begin and adapt(frames.begin),
        "timestamp < %s": frames.end and adapt(frames.end),
    }
    given = {condition: value for condition, value in conditions.items() if value is not None}
    return f"teleop_teleopframe WHERE {' AND '.join(given)}", list(given.values())


def _strided(frames: FrameRange, limit: int) -> tuple[str, list]:
    """Build a query that steps from index entry to index entry.

    `frame_index % stride = 0` would read all skipped frames too. PostgreSQL estimates that this condition is rarely
    true, so it would sort the session instead of following the index: 300 ms a block, in place of 20.
    """
    start, stride = frames.start, frames.stride
    among = f"SELECT min(frame_index) FROM teleop_teleopframe WHERE session_id = %s AND frame_index < {frames.stop:d}"  # nosec B608
    step = f"((picked_index - {start:d}) / {stride:d} + 1) * CAST({stride:d} AS bigint)"
    source = f"""(
        WITH RECURSIVE picked(picked_index) AS (
            {among} AND frame_index >= {start:d}
            UNION ALL
            SELECT ({among} AND frame_index >= {start:d} + {step}) FROM picked WHERE picked_index IS NOT NULL
        ) SELECT picked_index FROM picked LIMIT %s
    ) AS chosen JOIN teleop_teleopframe ON frame_index = picked_index AND session_id = %s"""  # nosec B608 # integers only
    return source, [frames.session_id, frames.session_id, limit, frames.session_id]


def _lines(sql: str, parameters: list) -> Generator[bytes, None, None]:
    return (_copy if connection.vendor == "postgresql" else _select)(sql, parameters)


def _copy(sql: str, parameters: list) -> Generator[bytes, None, None]:
    """Read by COPY: 1.3 us a frame, where fetching rows takes 2.6. Closing the iterator cancels the rest.

    COPY doubles backslashes, and JSON text contains no other character that COPY escapes.
    """
    statement = f"COPY ({connection.ops.compose_sql(sql, parameters)}) TO STDOUT"
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for line in map(bytes, copy):
            yield line.replace(b"\\\\", b"\\") if b"\\" in line else line


def _select(sql: str, parameters: list) -> Generator[bytes, None, None]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        for (line,) in cursor:
            yield line.encode() + b"\n"
