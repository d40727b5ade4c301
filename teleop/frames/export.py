"""Stream a whole session in bounded memory: JSON lines here, Parquet in `parquet.py`."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

import orjson
from channels.db import database_sync_to_async

from teleop.frames.fields import HEAD, select
from teleop.frames.sql import FrameRange, first_index, read_block, release_connection
from teleop.models import TeleopFrame

T = TypeVar("T")

PIECE_BYTES = 2**16
# One thread works on frames at a time, however many downloads and plots there are: the event loop, which sends the
# robots' acks, shares the core and Python's lock with this thread.
working = threading.BoundedSemaphore(1)


class FramesGone(Exception):
    """The session was deleted while it was read: the response must be aborted, so that it does not look complete."""


async def json_lines(frames: FrameRange, fields: Iterable[str] = ()) -> AsyncGenerator[bytes, None]:
    """Yield the database's text unchanged, or the parts of it that the fields select."""
    async for block in converted(frames, lambda block: _selected(block, fields) if fields else block):
        yield block


async def converted(frames: FrameRange, convert: Callable[[bytes], T]) -> AsyncGenerator[T, None]:
    """Yield the result of `convert` for each block; `convert` runs in the request's own thread.

    The next block is read while the client receives this one. Then no thread or connection is held, however slowly the
    client reads.
    """

    def read_and_convert() -> tuple[bytes, T | None]:
        with working:
            block = read_block(frames)
            release_connection()  # before the slow conversion
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
        # If the client disconnected: the thread ends only with its block, and the event loop would block on it.
        await asyncio.gather(ahead, return_exceptions=True)
    # Deleting begins at the lowest index, so if the first frame is still stored, no frame was missed.
    is_stored = database_sync_to_async(TeleopFrame.objects.is_stored)
    if first is not None and not await is_stored(frames.session_id, first):
        raise FramesGone(f"session {frames.session_id} was deleted during the download")


async def chunked(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Split the content into pieces and yield to the event loop after each.

    The server sends a piece while it receives the next, and the robots' frames are not delayed. In whole blocks 500 MB
    took 9.6 s, most of it waiting for a socket whose buffer was already empty.
    """
    async with aclosing(content):
        async for part in content:
            for begin in range(0, len(part), PIECE_BYTES):
                yield part[begin : begin + PIECE_BYTES]
                await asyncio.sleep(0)


def _selected(block: bytes, fields: Iterable[str]) -> bytes:
    lines = (select(orjson.loads(line), (*HEAD, *fields)) for line in block.splitlines())
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
