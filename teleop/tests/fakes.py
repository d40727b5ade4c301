"""Fakes of a connection's transport and writer, and of the channel layer."""

import asyncio
from contextlib import suppress

import orjson

from robots.close_codes import Close
from teleop.ingest.connection import RobotConnection
from teleop.ingest.parse import Event
from teleop.ingest.types import Row, SessionLease


class Transport:
    """Transport that keeps the answers in the order in which the connection sent them."""

    def __init__(self, is_mute=False):
        self.is_mute = is_mute
        self.answers = []

    def send(self, message):
        self.answers.append(orjson.loads(message))

    def send_ack(self, frame_index):
        self.answers.append({"type": "ack", "frame_index": frame_index})

    def close(self, code):
        self.answers.append(code)

    @property
    def codes(self):
        return [answer.get("code", answer["type"]) for answer in self.answers if isinstance(answer, dict)]

    @property
    def closed(self):
        return [answer for answer in self.answers if isinstance(answer, Close)]


class Robot:
    """A connection with its fakes: `taken` holds the rows that the writer accepted, at most `room`."""

    def __init__(self, room=10_000, frame_count=0, is_mute=False):
        self.transport = Transport(is_mute)
        self.taken: list[Row] = []
        self.ends = 0
        self.room = room
        last_frame = (39, round(frame(39)["timestamp"] * 1e6))
        lease = SessionLease(17, "session-key", "arm", "hash", "worker.1", frame_count, last_frame=last_frame)
        self.events: list[Event] = []
        self.connection = RobotConnection(lease, self.transport, self.offer, self.end, self.offer_event)

    def offer(self, _connection, row):
        if len(self.taken) < self.room:
            self.taken.append(row)
            return True
        return False

    def offer_event(self, _connection, event):
        if len(self.events) < self.room:
            self.events.append(event)
            return True
        return False

    def end(self, _connection):
        self.ends += 1

    def sends_message(self, **message):
        self.connection.receive(orjson.dumps(message))

    def sends(self, *indexes):
        for index in indexes:
            self.sends_message(**frame(index))

    @property
    def taken_indexes(self):
        return [row.frame_index for row in self.taken]


def frame(index):
    return {"frame_index": index, "timestamp": 1703318400 + index / 60, "observation": {"x.pos": 0.5}}


class ChannelLayer:
    """Fake of the channel layer of a module: counts listeners, and records requests to the workers.

    `request` is the module's function that sends them. The next `fails` requests fail.
    """

    def __init__(self, monkeypatch, module, request: str):
        self.listening = 0
        self.fails = 0
        self.asked: asyncio.Queue = asyncio.Queue()
        monkeypatch.setattr(module.channel_layer, "listen", self.listen)
        monkeypatch.setattr(module, request, self.request)

    async def listen(self, group, hear, wanted):
        self.listening += 1
        while wanted():
            with suppress(asyncio.CancelledError):  # as redis-py does
                await asyncio.sleep(0)
        self.listening -= 1

    async def request(self, *arguments):
        self.asked.put_nowait(arguments)
        if self.fails:
            self.fails -= 1
            raise ConnectionError("gone")
