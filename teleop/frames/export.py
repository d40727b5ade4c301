"""A whole session as a stream, in bounded memory: JSON lines here, Parquet in a module of its own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

import orjson
from channels.db import database_sync_to_async

from teleop.frames.fields import HEAD, select
from teleop.frames.sql import FrameRange, first_index, read_block, release_connection
from teleop.models import TeleopFrame

T = TypeVar("T")

PIECE_BYTES = 2**16
# One thread works on frames at a time, for however many downloads and plots: the event loop, and so the robots' acks,
# share the core and Python's lock with it.
working = threading.BoundedSemaphore(1)


class FramesGone(Exception):
    """The session was deleted while it was read: the response must break off, not look complete."""


async def json_lines(frames: FrameRange, fields: Iterable[str] = ()) -> AsyncIterator[bytes]:
    """The database's text as it stands, or what the fields select of it."""
    async for block in converted(frames, lambda block: _selected(block, fields) if fields else block):
        yield block


async def converted(frames: FrameRange, convert: Callable[[bytes], T]) -> AsyncIterator[T]:
    """What `convert` makes of each block, in the request's own thread.

    The next block is read while the reader takes this one; after that nothing is held, however long that takes.
    """

    def read_and_convert() -> tuple[bytes, T | None]:
        with working:
            block = read_block(frames)
            release_connection()  # before what takes time
            return block, convert(block) if block else None

    first = None
    ahead = asyncio.ensure_future(database_sync_to_async(read_and_convert)())
    try:
        while (found := await ahead)[0]:
            block, result = found
            first = first_index(block) if first is None else first
            frames = frames.after(block)
            ahead = asyncio.ensure_future(database_sync_to_async(read_and_convert)())
            yield result
    finally:
        # Where the reader has gone: its thread ends with the block, and the event loop would stand still for it.
        await asyncio.gather(ahead, return_exceptions=True)
    # Deleting begins at the lowest index, so if the first frame is there, all that were read were all there were.
    is_stored = database_sync_to_async(TeleopFrame.objects.is_stored)
    if first is not None and not await is_stored(frames.session_id, first):
        raise FramesGone(f"session {frames.session_id} was deleted while it was read")


async def in_pieces(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """With a turn of the event loop after each: the server sends while it is given more, and the robots' frames are not
    held up. In whole blocks 500 MB took 9.6 s, most of it waiting for a socket that had long been empty.
    """
    async with aclosing(content):
        async for part in content:
            for begin in range(0, len(part), PIECE_BYTES):
                yield part[begin : begin + PIECE_BYTES]
                await asyncio.sleep(0)


def _selected(block: bytes, fields: Iterable[str]) -> bytes:
    lines = (select(orjson.loads(line), (*HEAD, *fields)) for line in block.splitlines())
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
