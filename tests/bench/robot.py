"""One robot of the load: it connects like a client, sends frames on a fixed schedule and times each frame's ack."""

import asyncio
import random
import time
from array import array
from collections import Counter

import orjson
from picows import WSHandshakeError, WSListener, WSMsgType, ws_connect

from loadtest.generator import frames
from loadtest.generator.frames import FPS
from teleop.protocol import MAX_UNACKED, SUBPROTOCOL

CONNECT_S = 20
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30  # the back-off of docs/protocol.md
META_INFO = {"task": "Fold the towel", "robot_type": "so101_follower", "operator": "bench"}
START = orjson.dumps({"type": "start", "fps": FPS, "meta_info": META_INFO})
END = b'{"type":"end"}'


class Robot(WSListener):
    """One robot and its session: its frames, and the time from the send of each frame to its ack."""

    def __init__(self, robot_id: str, key: str = "", session: str = ""):
        self.robot_id = robot_id
        self.path = f"/ws/log/{robot_id}" + (f"?session={session}" if session else "")
        self.headers = [("Sec-WebSocket-Protocol", SUBPROTOCOL)]
        if key:
            self.headers.append(("Authorization", f"Bearer {key}"))
        self.transport = None
        self.is_closing = False
        self.session_id = 0
        self.next_index = self.next_unacked = 0
        self.greeted_at = self.ended_at = 0.0
        self.pending: dict[int, float] = {}  # send time by frame_index
        self.sent_at, self.took_s = array("d"), array("d")  # of the acknowledged frames
        self.due_at, self.late_s = array("d"), array("d")  # of each send: its scheduled time and its delay
        self.refusals: Counter[str] = Counter()  # handshakes by answer
        self.errors = self.sent = self.disconnects = 0

    async def connect(self, port: int, within_s: float = CONNECT_S, until_http: int = 0) -> bool:
        """Connect like a client, with back-off; return False if not greeted in time, or answered with `until_http`."""
        deadline, pause_s = time.perf_counter() + within_s, FIRST_PAUSE_S
        while (left_s := deadline - time.perf_counter()) > 0:
            answer = await self._handshake(port, left_s)
            if not answer:
                return True
            self.refusals[answer] += 1
            if answer == f"HTTP {until_http}":
                return False
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return False

    async def _handshake(self, port: int, timeout_s: float) -> str:
        """Return the refusal, or an empty string after the greeting."""
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        url = f"ws://127.0.0.1:{port}{self.path}"
        try:
            async with asyncio.timeout(timeout_s):
                await ws_connect(lambda: self, url, extra_headers=self.headers, websocket_handshake_timeout=timeout_s)
                return await self.answer
        except WSHandshakeError as error:
            return f"HTTP {error.response.status}" if error.response else "no answer"
        except (OSError, TimeoutError):
            if self.transport is not None:
                self.transport.disconnect()
            return "no answer"

    def on_ws_connected(self, transport):
        self.transport = transport

    def on_ws_frame(self, transport, message):
        if message.msg_type == WSMsgType.CLOSE:
            self._answered(str(message.get_close_code()))
            transport.disconnect()
        elif message.msg_type == WSMsgType.TEXT:
            self.receive(orjson.loads(message.get_payload_as_bytes()))

    def receive(self, message: dict) -> None:
        match message["type"]:
            case "ack":
                now = time.perf_counter()
                for frame_index in range(self.next_unacked, message["frame_index"] + 1):
                    sent_at = self.pending.pop(frame_index)
                    self.sent_at.append(sent_at)
                    self.took_s.append(now - sent_at)
                self.next_unacked = message["frame_index"] + 1
            case "session":
                self.session_id = message["session_id"]
                self.next_index = self.next_unacked = message["next_frame_index"]
                self.greeted_at = time.perf_counter()
                self._answered("")
            case "ended":
                self.ended_at = time.perf_counter()
            case "error":
                self.errors += 1

    def on_ws_disconnected(self, transport):
        self.transport = None
        if self.answer.done():
            self.disconnects += not self.is_closing
        self._answered("no answer")

    def _answered(self, refusal: str) -> None:
        if not self.answer.done():
            self.answer.set_result(refusal)

    def send(self, message: bytes) -> None:
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, message)

    async def stream(self, over: asyncio.Event, per_message: int = 1) -> None:
        """Send frames on the schedule until `over`, or until the server has closed the connection."""
        frame, interval_s = frames.template(random.Random()), per_message / FPS
        await asyncio.sleep(random.random() * interval_s)
        due = time.perf_counter()
        while not over.is_set() and self.transport is not None:
            if len(self.pending) > MAX_UNACKED - per_message:
                await asyncio.sleep(interval_s)  # without a connection a client holds its frames, and sends them later
                continue
            now = time.perf_counter()
            self.due_at.append(due)
            self.late_s.append(now - due)
            indexes = range(self.next_index, self.next_index + per_message)
            self.pending.update(dict.fromkeys(indexes, now))
            self.send(frames.message(frame, self.next_index, per_message, time.time()))
            self.next_index += per_message
            self.sent += per_message
            due += interval_s
            await asyncio.sleep(max(0, due - time.perf_counter()))

    def hang_up(self) -> None:
        self.is_closing = True
        if self.transport is not None:
            self.transport.send_close(1000)
