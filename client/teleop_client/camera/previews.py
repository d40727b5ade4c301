"""Send small pictures of the cameras while a user of the server watches the robot: docs/protocol.md, previews."""

import asyncio
import logging
import struct
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .. import network
from ..connection import Link

if TYPE_CHECKING:
    from .camera import Camera

logger = logging.getLogger("teleop_client")

MAX_BYTES = 64 << 10
FAULT_PAUSE_S = 30.0
CODES_AT_FAULT = {1009, 4400}


class Previews:
    """The previews of a client's cameras. Nothing happens before `request`, and after its lease has ended."""

    def __init__(self, link: Link, cameras: Mapping[str, "Camera"], is_connected: Callable[[], bool]) -> None:
        self._link, self._cameras, self._is_connected = link, cameras, is_connected
        self._wanted: list[str] | None = None  # None: all cameras
        self._interval_s = 1.0
        self._until_s = self._not_before_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def request(self, message: Mapping[str, Any]) -> None:
        """Handle a message `preview`, in the event loop. Raises LookupError, TypeError or ValueError."""
        wanted, now = message["cameras"], time.monotonic()
        self._wanted = None if wanted is None else [str(name) for name in wanted]
        self._interval_s = max(float(message["interval_s"]), 0.5)
        self._until_s = now + float(message["lease_s"])
        if self._cameras and now >= self._not_before_s and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Send pictures over one connection, until the lease ends or the connection does."""
        try:
            async with self._link.connect(self._link.preview_address()) as connection:
                await self._send(connection)
        except ConnectionClosed as error:
            if error.rcvd and error.rcvd.code in CODES_AT_FAULT:
                self._not_before_s = time.monotonic() + FAULT_PAUSE_S
                logger.error("the server refused a preview: %s", error)
        except InvalidStatus as error:
            logger.warning("previews: HTTP %d at the handshake", error.response.status_code)
        except network.ERRORS as error:
            logger.info("previews: %s", network.explain(error, self._link.url, self._link.proxy)[0])
        except Exception:  # previews are not worth a recording
            logger.exception("previews")

    async def _send(self, connection: ClientConnection) -> None:
        while time.monotonic() < self._until_s and self._is_connected():
            begin_s = time.monotonic()
            for name, camera in list(self._cameras.items()):
                if self._wanted is None or name in self._wanted:
                    picture = await asyncio.to_thread(camera.preview)
                    if picture and len(picture[1]) <= MAX_BYTES - len(name) - 9:
                        await connection.send(_message(name, *picture))
            await asyncio.sleep(max(0.0, begin_s + self._interval_s - time.monotonic()))


def _message(name: str, unix_s: float, jpeg: bytes) -> bytes:
    return bytes([len(name)]) + name.encode("ascii") + struct.pack(">d", unix_s) + jpeg
