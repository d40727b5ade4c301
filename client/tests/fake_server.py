"""A server for the tests: it speaks the protocol over real sockets, stores in dicts, and has switches for faults."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed


class FakeServer:
    """A server with data that outlives `stop`, as in a database; `start` uses the same port again."""

    def __init__(self, max_unacked: int = 6000) -> None:
        self.sessions: dict[str, dict[int, dict[str, Any]]] = {}
        self.messages: list[dict[str, Any]] = []
        self.received: dict[str, list[dict[str, Any]]] = {}  # the same by session
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.max_unacked = max_unacked
        self.accepts = ["event"]
        self.previews: list[bytes] = []
        self.preview_code: int | None = None  # with which a preview is answered
        self.session_id = 17
        self.refuse: set[int] = set()  # indexes of frames that are refused
        self.time: float | None = None  # of the greeting
        self.port = 0
        self.status: int | None = None  # the HTTP status with which to answer the handshake
        self.body = ""  # of that answer
        self.greet = True
        self.ack = True
        self.end = True
        self.read = True
        self.cut_every: int | None = None  # drop the connection after so many messages, the last one not stored
        self.duplicates = 0
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> "FakeServer":
        self._server = await serve(
            self._robot,
            "127.0.0.1",
            self.port,
            subprotocols=["teleop.v1"],
            process_request=self._door,
            compression=None,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self, code: int = 1012) -> None:
        assert self._server
        for connection in self.connections:
            if not connection.transport.is_reading():  # close() would wait for an answer that it does not read
                connection.transport.abort()
        self._server.close(code=code)
        await self._server.wait_closed()

    def kill(self) -> None:
        """Stop like kill -9: no close frame, and no listening socket any more."""
        assert self._server
        self._server.close(close_connections=False)
        for connection in self.connections:
            connection.transport.abort()

    @property
    def connections(self) -> list[ServerConnection]:
        return list(self._server.connections) if self._server else []

    def read_on(self) -> None:
        for connection in self.connections:
            connection.transport.resume_reading()

    async def __aenter__(self) -> "FakeServer":
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def close_robots(self, code: int, reason: str = "") -> None:
        for connection in self.connections:
            await connection.close(code, reason)

    def _door(self, connection: ServerConnection, request: Any) -> Any:
        self.headers.append(dict(request.headers.raw_items()))
        self.paths.append(request.path)
        return connection.respond(HTTPStatus(self.status), self.body) if self.status else None

    async def _robot(self, connection: ServerConnection) -> None:
        if connection.request and "/ws/preview/" in connection.request.path:
            await self._preview(connection)
            return
        key = _key(connection)
        stored = self.sessions.setdefault(key, {})
        if not self.greet:
            await connection.wait_closed()
        if not self.read:
            connection.transport.pause_reading()
        greeting = {"session_id": self.session_id, "session": key, "next_frame_index": max(stored, default=-1) + 1}
        greeting["last_timestamp"] = stored[max(stored)].get("timestamp") if stored else None
        greeting |= {"max_unacked": self.max_unacked, "accepts": self.accepts, "time": self.time}
        await self._say(connection, {"type": "session"} | greeting)
        try:
            async for number, text in _numbered(connection):
                if await self._message(connection, stored, number, text):
                    return
        except ConnectionClosed:
            pass

    async def _preview(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in connection:
                self.previews.append(bytes(message))
                if self.preview_code:
                    await connection.close(self.preview_code)

    async def _message(self, connection: ServerConnection, stored: dict[int, Any], number: int, text: str) -> bool:
        message = json.loads(text)
        self.messages.append(message)
        self.received.setdefault(_key(connection), []).append(message)
        if message.get("type") == "event":
            await self._say(connection, {"type": "event_ack", "id": message["id"]})
        if self.cut_every and number > self.cut_every:
            connection.transport.abort()
            return True
        if message.get("type") == "end" and self.end:
            await self._say(connection, {"type": "ended", "session_id": self.session_id, "frame_count": len(stored)})
            return True
        for frame in message.get("frames") or ([message] if "frame_index" in message else []):
            if frame["frame_index"] in self.refuse:
                refusal = {"frame_index": frame["frame_index"], "message": number, "detail": "refused by the test"}
                await self._say(connection, {"type": "error", "code": "invalid_frame"} | refusal)
                continue
            self.duplicates += frame["frame_index"] in stored
            stored.setdefault(frame["frame_index"], frame)
            last = frame["frame_index"]
        if self.ack and "type" not in message:
            await self._say(connection, {"type": "ack", "frame_index": last})
        return False

    async def _say(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        await connection.send(json.dumps(message))


def _key(connection: ServerConnection) -> str:
    assert connection.request
    return parse_qs(urlsplit(connection.request.path).query)["session"][0]


async def _numbered(connection: ServerConnection) -> AsyncIterator[tuple[int, str]]:
    number = 0
    async for text in connection:
        number += 1
        yield number, text


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait for a condition that no event signals."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
