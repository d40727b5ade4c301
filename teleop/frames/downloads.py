"""A whole session as a stream, in bounded memory: JSON lines, or Parquet with a column a number."""

import io
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from channels.db import database_sync_to_async

from teleop.frames.columns import HEAD, select, table
from teleop.frames.text import FrameRange, first_index, read_block, release_connection
from teleop.models import TeleopFrame

T = TypeVar("T")

GROUP_FRAMES = 2**16  # a row group: 13 MB of doubles with 24 columns


class FramesGone(Exception):
    """The session was deleted while it was read: the response must break off, not look complete."""


async def json_lines(frames: FrameRange, fields: Iterable[str] = ()) -> AsyncIterator[bytes]:
    """The database's text as it stands, or what the fields select of it."""
    async for block in _convert(frames, lambda block: _selected(block, fields) if fields else block):
        yield block


async def parquet(frames: FrameRange, fields: Iterable[str] = ()) -> AsyncIterator[bytes]:
    """Reads the frames twice: first for the columns, as a file has one schema and joints may come and go half-way."""
    columns: dict[str, pa.DataType] = dict(HEAD)
    async for schema in _convert(frames, lambda block: table(block, fields).schema):
        columns |= dict(zip(schema.names, schema.types, strict=True))
    file = ParquetStream(pa.schema(columns))
    async for part in _convert(frames, lambda block: file.write(table(block, fields))):
        if part:
            yield part
    yield await database_sync_to_async(file.finish)()


async def _convert(frames: FrameRange, convert: Callable[[bytes], T]) -> AsyncIterator[T]:
    """What `convert` makes of each block, in the request's own thread. While the reader takes it, nothing is held."""

    def read_and_convert() -> tuple[bytes, T | None]:
        block = read_block(frames)
        release_connection()  # before what takes time
        return block, convert(block) if block else None

    first = None
    while (found := await database_sync_to_async(read_and_convert)())[0]:
        block, converted = found
        first = first_index(block) if first is None else first
        frames = frames.after(block)
        yield converted
    # Deleting begins at the lowest index, so if the first frame is there, all that were read were all there were.
    stored = TeleopFrame.objects.filter(session_id=frames.session_id, frame_index=first)
    if first is not None and not await database_sync_to_async(stored.exists)():
        raise FramesGone(f"session {frames.session_id} was deleted while it was read")


def _selected(block: bytes, fields: Iterable[str]) -> bytes:
    lines = (select(orjson.loads(line), (*HEAD, *fields)) for line in block.splitlines())
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)


class Pieces(io.RawIOBase):
    """A file of which only what was written since the last `take` is kept."""

    def __init__(self):
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


class ParquetStream:
    """A Parquet file, handed out as it is written; columns that a part of the frames has not are null there."""

    def __init__(self, schema: pa.Schema):
        self._empty = schema.empty_table()
        self._waiting: list[pa.Table] = []
        self._pieces = Pieces()
        # Angles seldom repeat: a dictionary of them costs time and saves nothing.
        self._writer = pq.ParquetWriter(self._pieces, schema, use_dictionary=False)

    def write(self, part: pa.Table) -> bytes:
        self._waiting.append(part)
        if sum(waiting.num_rows for waiting in self._waiting) >= GROUP_FRAMES:
            self._write_group()
        return self._pieces.take()

    def finish(self) -> bytes:
        self._write_group()
        self._writer.close()
        return self._pieces.take()

    def _write_group(self) -> None:
        self._writer.write_table(pa.concat_tables([self._empty, *self._waiting], promote_options="default"))
        self._waiting.clear()
