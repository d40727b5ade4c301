"""Send messages about robots to all ingest workers through the channel layer, as any worker may hold a connection."""

import logging

from asgiref.sync import async_to_sync

from robots import channel_layer

logger = logging.getLogger(__name__)

GROUP = "ingest"


async def notify_workers(**notice) -> None:
    await channel_layer.send(GROUP, {"type": "close", **notice})


async def watch_robots(robot_ids: list[str], fleet: bool) -> None:
    """Ask the workers for these robots' frames, and with `fleet` for a summary of every robot.

    The request lasts until the lease ends (teleop/ingest/live_tap.py).
    """
    await channel_layer.send(GROUP, {"type": "watch", "robot_ids": robot_ids, "fleet": fleet})


async def watch_previews(pages: list[str], tiles: list[str]) -> None:
    """Ask the workers for pictures of all cameras of the robots in `pages`, and of one camera of those in `tiles`.

    The request lasts until the lease ends (teleop/ingest/previews.py).
    """
    await channel_layer.send(GROUP, {"type": "preview", "pages": pages, "tiles": tiles})


def close_connections(code: int, **of) -> None:
    """Ask all workers to close the connections that have the given robot_id, session_id, holder and key_hash.

    This is best effort: if the layer is unreachable, a worker detects a replaced key or holder itself, at its next
    heartbeat.
    """
    try:
        async_to_sync(notify_workers)(code=code, **of)
    except Exception as error:  # redis-py, sockets and the layer raise different errors; each is an outage
        logger.warning("could not send a message through the channel layer: %s", error)
