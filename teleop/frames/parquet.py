"""Stream a whole session as Parquet, one column per number, while the file is being written."""

import io
from collections.abc import AsyncGenerator, Iterable

import pyarrow as pa
import pyarrow.parquet as pq
from channels.db import database_sync_to_async

from teleop.frames.columns import HEAD, check_count, session_tables, tables
from teleop.frames.export import converted, working
from teleop.frames.sql import BLOCK_FRAMES, FrameRange, read_block, release_connection

GROUP_FRAMES, GROUP_CELLS = 2**16, 2**21  # a row group: 13 MB of doubles with 24 columns, 16 MB with more


def check_columns(frames: FrameRange, fields: Iterable[str]) -> None:
    """Check the first and the last frames; raise TooManyColumns while the response can still be an error."""
    last = frames._replace(start=max(frames.start, frames.stop - BLOCK_FRAMES))
    for _ in session_tables(filter(None, map(_read_and_release, dict.fromkeys([frames, last]))), fields):
        pass


def _read_and_release(frames: FrameRange) -> bytes:
    """Read a block, and give the connection to other requests while the block is converted."""
    block = read_block(frames)
    release_connection()
    return block


async def parquet(frames: FrameRange, fields: Iterable[str] = ()) -> AsyncGenerator[bytes, None]:
    """Read the frames twice, first for the columns: a file has one schema, and joints may differ between frames."""
    columns: dict[str, pa.DataType] = dict(HEAD)
    async for schemas in converted(frames, lambda block: [table.schema for table in tables(block, fields)]):
        for schema in schemas:
            columns |= dict(zip(schema.names, schema.types, strict=True))
            check_count(columns)
    file = ParquetStream(pa.schema(columns))
    async for part in converted(frames, lambda block: b"".join(map(file.write, tables(block, fields)))):
        if part:
            yield part
    yield await database_sync_to_async(file.finish)()


class ChunkBuffer(io.RawIOBase):
    """A file that keeps only the bytes written since the last `take`."""

    def __init__(self):
        self._buffer: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece) -> int:
        self._buffer.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._buffer)
        self._buffer.clear()
        return taken


class ParquetStream:
    """A Parquet file, returned in parts while it is written; a column is null for frames without its number."""

    def __init__(self, schema: pa.Schema):
        self._empty = schema.empty_table()
        self._waiting: list[pa.Table] = []
        self._buffer = ChunkBuffer()
        # Angles seldom repeat: a dictionary of them costs time and saves nothing.
        self._writer = pq.ParquetWriter(self._buffer, schema, use_dictionary=False)

    def write(self, part: pa.Table) -> bytes:
        self._waiting.append(part)
        rows = sum(waiting.num_rows for waiting in self._waiting)
        if rows >= GROUP_FRAMES or rows * self._empty.num_columns >= GROUP_CELLS:
            self._write_group()
        return self._buffer.take()

    def finish(self) -> bytes:
        with working:
            self._write_group()
            self._writer.close()
        return self._buffer.take()

    def _write_group(self) -> None:
        self._writer.write_table(pa.concat_tables([self._empty, *self._waiting], promote_options="default"))
        self._waiting.clear()
