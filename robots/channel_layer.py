"""The channel layer as it is used here: what is sent is bounded in time, and who listens outlives an outage."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

SEND_S = 2
RETRY_S = 1
MAX_PAUSE_S = 30


async def send(group: str, message: dict) -> None:
    """Bounded, as a frozen Redis takes a message for as long as it is frozen."""
    async with asyncio.timeout(SEND_S):
        await get_channel_layer().group_send(group, message)


async def listen(group: str, hear: Callable[[dict], object], wanted: Callable[[], bool] = lambda: True) -> None:
    """Hands on what the group is sent; goes on by itself when the layer has been away.

    Returns with the first message that is not wanted any more. To cancel it would not do: redis-py swallows that
    while it subscribes, and who listens twice hears everything twice.
    """
    layer = get_channel_layer()
    pause_s = RETRY_S
    while wanted():
        channel = None
        try:
            channel = await layer.new_channel()
            await layer.group_add(group, channel)
            pause_s = RETRY_S
            while wanted():
                _hear(hear, await layer.receive(channel))
            return
        except Exception as error:  # redis-py, sockets and the layer each have errors of their own
            logger.warning("the channel layer is unreachable: %s", error)
        finally:
            if channel is not None:  # a member that nobody reads would be sent to, and remembered, for ever
                with suppress(Exception):
                    async with asyncio.timeout(SEND_S):
                        await layer.group_discard(group, channel)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, MAX_PAUSE_S)  # the layer remembers each channel that it could not make


def _hear(hear: Callable[[dict], object], message: dict) -> None:
    try:
        hear(message)
    except Exception:  # as from a process of another version
        logger.exception("could not process a message of the channel layer")
