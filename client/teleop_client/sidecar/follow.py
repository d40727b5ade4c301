"""Follow lerobot's Foxglove server: connect, connect again, and begin a session for each run of lerobot."""

import asyncio
import logging
from collections.abc import Callable

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from .. import network
from .foxglove import SUBPROTOCOL, FoxgloveClient, FoxgloveError, ServerInfo
from .run import Run

logger = logging.getLogger("teleop_client")

RETRY_S = 0.5  # lerobot opens its server seconds before its loop, so the first frames are not missed
MAX_MESSAGE_BYTES = 32 << 20  # a picture of 3840x2160 pixels as rgb8 has 25 MB


class Sidecar:
    """Records all runs of lerobot until it is cancelled. Call `finish` then."""

    def __init__(self, host: str, port: int, new_run: Callable[[], Run]) -> None:
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._new_run = new_run
        self._run: Run | None = None
        self._session_id: str | None = None  # of the server of this run
        self._ending: set[asyncio.Task[bool]] = set()
        self._is_all_stored = True
        self._warned: str | None = None  # the last reason why there is no connection

    async def follow(self) -> None:
        """Connect to lerobot whenever it runs; a run ends when its server does not answer any more."""
        while True:
            try:
                await self._receive()
            except ConnectionClosed as error:
                self._on_closed(error)
            except (OSError, InvalidHandshake, FoxgloveError) as error:
                self._end_run()
                self._warn(self._explain(error))
            await asyncio.sleep(RETRY_S)

    async def finish(self) -> bool:
        """End the sessions that are left; return whether everything is stored on the server."""
        self._end_run()
        if self._ending:
            await asyncio.wait(self._ending)
        return self._is_all_stored

    async def _receive(self) -> None:
        """Record from one connection until the server closes it."""
        foxglove = FoxgloveClient(self._on_server)
        async with connect(
            f"ws://{self._address}",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            proxy=None,
        ) as socket:
            if socket.subprotocol != SUBPROTOCOL:
                raise FoxgloveError(f"it does not speak {SUBPROTOCOL}: is this the server of lerobot 0.6 or later?")
            async for message in socket:
                if answer := foxglove.receive(message):
                    await socket.send(answer)
                if self._run:
                    await self._run.catch_up()

    def _on_server(self, server: ServerInfo) -> Run:
        """Return the run of this server: after a lost connection it may be the one before."""
        if "playbackControl" in server.capabilities:
            raise FoxgloveError("it plays a recorded dataset, and no robot runs; `teleop push` sends datasets")
        self._warned = None
        if self._run is None or server.session_id is None or server.session_id != self._session_id:
            self._end_run()
            self._run, self._session_id = self._new_run(), server.session_id
            logger.info("connected to %s", self._address)
        return self._run

    def _on_closed(self, error: ConnectionClosed) -> None:
        if error.sent and error.sent.code == CloseCode.MESSAGE_TOO_BIG and self._run:
            self._run.leave_out_pictures()
            limit = f"a message of more than {MAX_MESSAGE_BYTES >> 20} MiB"
            self._warn(f"{self._address} sent {limit}: the rest of this run is recorded without pictures")

    def _end_run(self) -> None:
        """End the session in the background: lerobot may start again meanwhile."""
        if self._run:
            task = asyncio.create_task(self._run.end())
            self._ending.add(task)
            task.add_done_callback(self._on_ended)
            self._run = None

    def _on_ended(self, task: asyncio.Task[bool]) -> None:
        self._ending.discard(task)
        self._is_all_stored &= not task.cancelled() and task.result()

    def _warn(self, text: str) -> None:
        """Log why there is no connection, once until there was one or the reason changes."""
        if text != self._warned:
            self._warned = text
            logger.warning("%s", text)

    def _explain(self, error: Exception) -> str:
        if isinstance(error, FoxgloveError):
            return f"the server at {self._address} cannot be used: {error}"
        if isinstance(error, InvalidHandshake):
            status = f"HTTP {error.response.status_code}" if isinstance(error, InvalidStatus) else type(error).__name__
            return f"{self._address} is no Foxglove server ({status}): does another program have this port?"
        return f"waiting for lerobot: {network.explain(error, f'ws://{self._address}', None)[0]}"
