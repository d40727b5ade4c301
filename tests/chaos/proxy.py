"""A TCP proxy with network faults: it cuts a connection in the middle of a message, or stops forwarding."""

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from contextlib import suppress

from tests.chaos.loop_thread import LoopThread

CHUNK = 1500  # about a packet, so that a cut is inside a message


class Link:
    """A robot's connection: two sockets, forwarded both ways."""

    def __init__(self, robot: tuple[StreamReader, StreamWriter], server: tuple[StreamReader, StreamWriter]) -> None:
        self.ends = robot, server
        self.is_to_be_cut = self.is_stalled = False
        self.is_closed = False  # closed by at least one end

    async def forward(self) -> None:
        (robot, to_robot), (server, to_server) = self.ends
        ways = [asyncio.create_task(self._forward(*way)) for way in ((robot, to_server), (server, to_robot))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            self.is_closed = True
            if self.is_stalled:
                await asyncio.Event().wait()  # one end has closed; the proxy does not close the other
        finally:
            for way in ways:
                way.cancel()
            for writer in (to_robot, to_server):
                writer.transport.abort()  # a reset

    async def _forward(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.is_stalled:
                    continue
                if self.is_to_be_cut:
                    writer.write(data[: random.randrange(len(data))])
                    await asyncio.sleep(0.01)  # so that the other end receives the part before the reset
                    return
                writer.write(data)
                await writer.drain()


class Proxy(LoopThread):
    """Proxy between robots and the server, in a separate thread."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._server_port = port
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task] = set()
        self.refuses_connections = False  # new connections are reset at once; existing ones continue
        self.url = ""

    def cut(self) -> list[Link]:
        """Reset half of the connections, each in the middle of its next packet."""
        return self.call(self._mark("is_to_be_cut"))

    def stop_forwarding(self) -> list[Link]:
        """Stop forwarding on half of the connections without closing either end: they are half-open."""
        return self.call(self._mark("is_stalled"))

    async def _start(self) -> None:
        self._listener = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _mark(self, fault: str) -> list[Link]:
        forwarding = [link for link in self._links if not link.is_stalled]
        marked = random.sample(forwarding, len(forwarding) // 2)
        for link in marked:
            setattr(link, fault, True)
        return marked

    async def _join(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        with suppress(OSError, asyncio.CancelledError):  # the server is unreachable, or the test has ended
            if self.refuses_connections:
                raise ConnectionRefusedError
            link = Link((reader, writer), await asyncio.open_connection("127.0.0.1", self._server_port))
            self._links.add(link)
            try:
                await link.forward()
            finally:
                self._links.discard(link)
        writer.transport.abort()
        self._tasks.discard(task)
