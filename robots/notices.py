"""What the ingest workers are told of robots, through the channel layer, whichever worker holds the connection."""

import asyncio
import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

GROUP = "ingest"
TIMEOUT_S = 2


async def tell_workers(**notice) -> None:
    """Bounded, as a frozen Redis takes a message for as long as it is frozen."""
    async with asyncio.timeout(TIMEOUT_S):
        await get_channel_layer().group_send(GROUP, {"type": "close", **notice})


def close_connections(code: int, **of) -> None:
    """Asks all workers to close the connections whose robot_id, session_id, holder, key_hash are those given.

    Best effort: with the layer away a worker finds a replaced key or holder by itself, at its next heartbeat.
    """
    try:
        async_to_sync(tell_workers)(code=code, **of)
    except Exception as error:  # redis-py, sockets and the layer each have errors of their own
        logger.warning("the channel layer did not take a notice: %s", error)
