"""What bench.py's robots connect to: the server of the tests, with permessage-deflate, and a link to it."""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from pathlib import Path
from typing import Self

from websockets.asyncio.server import serve

sys.path.insert(0, str(Path(__file__).parent / "tests"))

from fake_server import FakeServer

PACKET_BYTES, HEADER_BYTES = 1460, 40  # of TCP and IP


class Server(FakeServer):
    """The server of the tests. With `deflate` it accepts compressed messages."""

    def __init__(self, deflate: bool = False) -> None:
        super().__init__()
        self._compression = "deflate" if deflate else None

    async def start(self) -> "Server":
        options = {"subprotocols": ["teleop.v1"], "compression": self._compression}
        self._server = await serve(self._robot, "127.0.0.1", self.port, **options)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


class Link:
    """A TCP proxy with so many kbit/s, packets' headers included, and a delay, each way."""

    def __init__(self, server_port: int, kbit_s: float = 1e6, delay_s: float = 0.0) -> None:
        self._server_port, self._bytes_s, self._delay_s = server_port, kbit_s * 125, delay_s
        self._forwarding: set[asyncio.Task[None]] = set()
        self.bytes_to_server = 0  # without the packets' headers

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def _join(self, robot: StreamReader, to_robot: StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        await asyncio.gather(self._forward(robot, to_server, True), self._forward(server, to_robot, False))

    async def _forward(self, reader: StreamReader, writer: StreamWriter, is_counted: bool) -> None:
        loop = asyncio.get_running_loop()
        free_at = loop.time()
        with suppress(OSError):
            while data := await reader.read(PACKET_BYTES):
                self.bytes_to_server += len(data) * is_counted
                free_at = max(free_at, loop.time()) + (len(data) + HEADER_BYTES) / self._bytes_s
                loop.call_at(free_at + self._delay_s, writer.write, data)
                await asyncio.sleep(free_at - loop.time())
        loop.call_later(self._delay_s, writer.close)
