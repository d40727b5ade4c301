"""Transports: how a connection's messages, acks and close leave this process."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from robots.close_codes import Close
from teleop.ingest.connection import Transport


class DaphneTransport:
    """Transport that sends at once, by the object that our server puts into the scope (teleop/server/websocket.py)."""

    is_mute = False

    def __init__(self, protocol):
        self.send = protocol.serverSend
        self._protocol = protocol

    def send_ack(self, frame_index: int) -> None:
        self.send(ack(frame_index))

    def close(self, code: Close) -> None:
        self._protocol.serverClose(int(code))


class AsgiTransport:
    """Transport for any ASGI server: one task at a time sends in order, so that no caller waits for a slow reader.

    Acks are cumulative: the next ack replaces one that was not sent yet. No message overtakes an ack: a client takes
    frames that are unacknowledged at `ended` for not stored.
    """

    is_mute = False

    def __init__(self, send: Callable[[dict], Awaitable[None]]):
        self._asgi_send = send
        self._messages: deque[str] = deque()
        self._ack: int | None = None
        self._close: Close | None = None
        self._sending: asyncio.Task | None = None

    def send(self, message: str) -> None:
        if self._ack is not None:
            self._messages.append(ack(self._ack))
            self._ack = None
        self._messages.append(message)
        self._wake()

    def send_ack(self, frame_index: int) -> None:
        self._ack = frame_index
        self._wake()

    def close(self, code: Close) -> None:
        self._close = code
        self._wake()

    def _wake(self) -> None:
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._messages or self._ack is not None:
                if self._messages:
                    text = self._messages.popleft()
                elif self._ack is not None:
                    text, self._ack = ack(self._ack), None
                await self._asgi_send({"type": "websocket.send", "text": text})
            if self._close is not None:
                await self._asgi_send({"type": "websocket.close", "code": int(self._close)})
        finally:
            self._sending = None


class NullTransport:
    """Transport for a client that asked for no subprotocol and never reads: it sends only the close."""

    is_mute = True

    def __init__(self, transport: Transport):
        self.close = transport.close

    def send(self, message: str) -> None:
        pass

    def send_ack(self, frame_index: int) -> None:
        pass


def ack(frame_index: int) -> str:
    return f'{{"type":"ack","frame_index":{frame_index}}}'
