"""Use the channel layer with a time limit for each send, and with listeners that survive an outage."""

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
    """Send a message with a time limit, as a send to a frozen Redis takes as long as Redis is frozen."""
    async with asyncio.timeout(SEND_S):
        await get_channel_layer().group_send(group, message)


async def listen(group: str, on_message: Callable[[dict], object], wanted: Callable[[], bool] = lambda: True) -> None:
    """Pass on the messages of a group; continue automatically after an outage of the layer.

    Returns after the first message that arrives when messages are not wanted any more. Cancelling is no alternative:
    redis-py swallows the cancellation while it subscribes, and a second listener receives every message a second time.
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
                _process(on_message, await layer.receive(channel))
            return
        except Exception as error:  # redis-py, sockets and the layer raise different errors; each is an outage
            logger.warning("the channel layer is unreachable: %s", error)
        finally:
            if channel is not None:  # the layer would send to an unread member, and remember it, for ever
                with suppress(Exception):
                    async with asyncio.timeout(SEND_S):
                        await layer.group_discard(group, channel)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, MAX_PAUSE_S)  # the layer remembers each channel that it could not create


def _process(on_message: Callable[[dict], object], message: dict) -> None:
    try:
        on_message(message)
    except Exception:  # a message from another version's process, for example, must not end the subscription
        logger.exception("could not process a message from the channel layer")
