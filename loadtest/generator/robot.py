"""Speak the robot's half of teleop.v1 under gevent, without Locust; real robots use `client/`.

A robot keeps unacknowledged frames, reconnects after a lost connection, and reports each event to its `listener`.
"""

import json
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import gevent
import websocket

CONNECT_TIMEOUT_S = 10
RETRY_S = 0.5
FINAL_CLOSES = (1000, 4401, 4403, 4409)


class Unacked(NamedTuple):
    """A sent message with the indexes of its frames that are neither acknowledged nor refused."""

    indexes: Sequence[int]
    sent_at: float
    message: bytes


class FailureListener(Protocol):
    def failed(self, reason: str) -> None: ...


class Listener(FailureListener, Protocol):
    def acked(self, message: Unacked, response_ms: float) -> None: ...


class Robot:
    """One session of one robot. Only frames that an `ack` covers count as acknowledged."""

    def __init__(self, url: str, listener: Listener) -> None:
        self.url = url
        self.sent = self.acked = self.refused = 0
        self.frame_count: int | None = None  # the number of stored frames, from the server's answer to `end`
        self.unacked: deque[Unacked] = deque()
        self._listener = listener
        self._acked_index = -1
        self._socket: websocket.WebSocket | None = None  # None: not connected, or not yet greeted
        self._reader: gevent.Greenlet | None = None
        self._is_ending = False

    def connect(self) -> None:
        """Connect to the server. Raises OSError or websocket.WebSocketException."""
        opened = websocket.create_connection(self.url, timeout=CONNECT_TIMEOUT_S, subprotocols=["teleop.v1"])
        greeting = json.loads(opened.recv())
        opened.settimeout(None)
        if greeting["next_frame_index"] <= self._acked_index:
            lost = self._acked_index + 1 - greeting["next_frame_index"]
            self._listener.failed(f"the server lost {lost} acknowledged frames")
        resent = 0
        while resent < len(self.unacked):  # send() of another greenlet appends frames meanwhile
            opened.send(self.unacked[resent].message)
            resent += 1
        if self._is_ending:
            opened.send('{"type":"end"}')
        self._socket = opened
        if self._reader is None:
            self._reader = gevent.spawn(self._read)

    def send(self, message: bytes, first_index: int, frames: int) -> float:
        """Send a message; return the seconds in send(). If disconnected, the message waits for the next connection."""
        began = time.perf_counter()
        self.unacked.append(Unacked(range(first_index, first_index + frames), began, message))
        self.sent += frames
        if self._socket is not None:
            with suppress(OSError, websocket.WebSocketException):  # the reader notices it too, and reconnects
                self._socket.send(message)
        return time.perf_counter() - began

    def end(self, timeout_s: float) -> None:
        """Wait until the server has sent the number of frames that it stored."""
        self._is_ending = True
        if self._socket is not None:
            with suppress(OSError, websocket.WebSocketException):
                self._socket.send('{"type":"end"}')
        if self._reader is not None:
            self._reader.join(timeout_s)
        if self.frame_count is None:
            self._listener.failed(f"no `ended` within {timeout_s:g} s")
        self.close()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.kill()
        if self._socket is not None:
            self._socket.shutdown()

    def _read(self) -> None:
        while self.frame_count is None and self._socket is not None:
            try:
                opcode, payload = self._socket.recv_data()
            except (OSError, websocket.WebSocketException):
                opcode, payload = None, b""
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self._receive(json.loads(payload), time.perf_counter())
            else:
                self._reconnect(int.from_bytes(payload[:2], "big") if opcode == websocket.ABNF.OPCODE_CLOSE else 1006)

    def _receive(self, message: dict[str, Any], now: float) -> None:
        kind = message["type"]
        if kind == "ack":
            self._acknowledge(message["frame_index"], now)
        elif kind == "ended":  # acknowledges nothing: staff may end a session whose frames are under way
            self.frame_count = message["frame_count"]
        elif kind == "error":
            self._refuse(message["frame_index"])
            self._listener.failed(f"refused: {message['code']}")

    def _acknowledge(self, frame_index: int, now: float) -> None:
        self._acked_index = max(self._acked_index, frame_index)
        while self.unacked and self.unacked[0].indexes[-1] <= frame_index:
            message = self.unacked.popleft()
            self.acked += len(message.indexes)
            self._listener.acked(message, (now - message.sent_at) * 1000)

    def _refuse(self, frame_index: int | None) -> None:
        """Remove a refused frame, as a later ack would count it. A batch that is sent again is refused again."""
        for place, message in enumerate(self.unacked):
            if frame_index in message.indexes:
                self.refused += 1
                self.unacked[place] = message._replace(indexes=[n for n in message.indexes if n != frame_index])
                if not self.unacked[place].indexes:
                    del self.unacked[place]
                return

    def _reconnect(self, code: int) -> None:
        """Connect again, unless the server closed the last connection with a final code."""
        if self._socket is not None:
            self._socket.shutdown()
        self._socket = None
        self._listener.failed(f"connection lost ({code})")
        while code not in FINAL_CLOSES and self._socket is None:
            gevent.sleep(RETRY_S)
            with suppress(OSError, websocket.WebSocketException, ValueError):
                self.connect()


class MuteRobot:
    """The report's robot: it asks for no subprotocol, so the server sends it nothing and it has no acks."""

    def __init__(self, url: str, listener: FailureListener) -> None:
        self.url = url
        self.sent = 0
        self._listener = listener
        self._socket: websocket.WebSocket  # from connect() on, as `_reader` is
        self._reader: gevent.Greenlet

    def connect(self) -> None:
        self._socket = websocket.create_connection(self.url, timeout=CONNECT_TIMEOUT_S)
        self._socket.settimeout(None)
        self._reader = gevent.spawn(self._answer_pings)

    def send(self, message: bytes, first_index: int, frames: int) -> float:
        began = time.perf_counter()
        self.sent += frames
        try:
            self._socket.send(message)
        except (OSError, websocket.WebSocketException) as error:
            self._listener.failed(f"send() failed: {type(error).__name__}")
        return time.perf_counter() - began

    def end(self, timeout_s: float) -> None:
        """Wait for the close, which the server sends after the last commit; this robot receives nothing else."""
        with suppress(OSError, websocket.WebSocketException):
            self._socket.send('{"type":"end"}')
        self._reader.join(timeout_s)
        self.close()

    def close(self) -> None:
        self._reader.kill()
        self._socket.shutdown()

    def _answer_pings(self) -> None:
        with suppress(OSError, websocket.WebSocketException):
            while self._socket.connected:
                self._socket.recv()  # recv() answers pings by itself
