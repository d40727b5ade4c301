"""The robot's half of teleop.v1 under gevent, without Locust: it keeps unacknowledged frames, reconnects after a lost
connection, and reports each event to its `listener`. Real robots use `client/` instead.
"""

import json
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple, Protocol

import gevent
import websocket

CONNECT_TIMEOUT_S = 10
RETRY_S = 0.5
FINAL_CLOSES = (1000, 4401, 4403, 4409)


class Unacked(NamedTuple):
    last_index: int
    frames: int
    sent_at: float
    message: bytes


class Listener(Protocol):
    def acked(self, message: Unacked, response_ms: float) -> None: ...
    def failed(self, what: str) -> None: ...


class Robot:
    """One session of one robot."""

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
        for message in list(self.unacked):
            opened.send(message.message)
        if self._is_ending:
            opened.send('{"type":"end"}')
        self._socket = opened
        if self._reader is None:
            self._reader = gevent.spawn(self._read)

    def send(self, message: bytes, first_index: int, frames: int) -> float:
        """Send a message; return the seconds in send(). If disconnected, the message waits for the next connection."""
        began = time.perf_counter()
        self.unacked.append(Unacked(first_index + frames - 1, frames, began, message))
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
        while self.frame_count is None:
            try:
                opcode, payload = self._socket.recv_data()
            except (OSError, websocket.WebSocketException) as error:
                opcode, payload = None, str(error)
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self._heard(json.loads(payload), time.perf_counter())
            elif not self._lost(opcode, payload):
                return

    def _heard(self, message: dict, now: float) -> None:
        kind = message["type"]
        if kind == "ack":
            self._acknowledge(message["frame_index"], now)
        elif kind == "ended":
            self._acknowledge(self.unacked[-1].last_index if self.unacked else -1, now)
            self.frame_count = message["frame_count"]
        elif kind == "error":
            self.refused += 1
            self._listener.failed(f"refused: {message['code']}")

    def _acknowledge(self, frame_index: int, now: float) -> None:
        self._acked_index = max(self._acked_index, frame_index)
        while self.unacked and self.unacked[0].last_index <= frame_index:
            message = self.unacked.popleft()
            self.acked += message.frames
            self._listener.acked(message, (now - message.sent_at) * 1000)

    def _lost(self, opcode: int | None, payload: bytes | str) -> bool:
        """Reconnect; return whether the robot is connected again."""
        code = int.from_bytes(payload[:2], "big") if opcode == websocket.ABNF.OPCODE_CLOSE else 1006
        self._socket.shutdown()
        self._socket = None
        self._listener.failed(f"connection lost ({code})")
        while code not in FINAL_CLOSES:
            gevent.sleep(RETRY_S)
            with suppress(OSError, websocket.WebSocketException, ValueError):
                self.connect()
                return True
        return False


class MuteRobot:
    """The report's robot: it asks for no subprotocol, so the server sends it nothing and it has no acks."""

    def __init__(self, url: str, listener: Listener) -> None:
        self.url = url
        self.sent = 0
        self._listener = listener
        self._socket: websocket.WebSocket | None = None
        self._reader: gevent.Greenlet | None = None

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
