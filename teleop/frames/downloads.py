"""A whole session as a stream, in bounded memory: JSON lines here, Parquet in a module of its own."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

import orjson
from channels.db import database_sync_to_async

from teleop.frames.fields import HEAD, select
from teleop.frames.text import FrameRange, first_index, read_block, release_connection
from teleop.models import TeleopFrame

T = TypeVar("T")


class FramesGone(Exception):
    """The session was deleted while it was read: the response must break off, not look complete."""


async def json_lines(frames: FrameRange, fields: Iterable[str] = ()) -> AsyncIterator[bytes]:
    """The database's text as it stands, or what the fields select of it."""
    async for block in converted(frames, lambda block: _selected(block, fields) if fields else block):
        yield block


async def converted(frames: FrameRange, convert: Callable[[bytes], T]) -> AsyncIterator[T]:
    """What `convert` makes of each block, in the request's own thread. While the reader takes it, nothing is held."""

    def read_and_convert() -> tuple[bytes, T | None]:
        block = read_block(frames)
        release_connection()  # before what takes time
        return block, convert(block) if block else None

    first = None
    while (found := await database_sync_to_async(read_and_convert)())[0]:
        block, result = found
        first = first_index(block) if first is None else first
        frames = frames.after(block)
        yield result
    # Deleting begins at the lowest index, so if the first frame is there, all that were read were all there were.
    stored = TeleopFrame.objects.filter(session_id=frames.session_id, frame_index=first)
    if first is not None and not await database_sync_to_async(stored.exists)():
        raise FramesGone(f"session {frames.session_id} was deleted while it was read")


def _selected(block: bytes, fields: Iterable[str]) -> bytes:
    lines = (select(orjson.loads(line), (*HEAD, *fields)) for line in block.splitlines())
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
