"""The fastest Python server to compare with: C WebSockets (picows), one COPY every 20 ms, acks after the commit.

It has no checks, sessions or resume: the server's cost above this is the cost of its guarantees. It greets a robot
and ignores its `start`, so that one load generator serves both. usage: baseline.py PORT
"""

import asyncio
import datetime as dt
import os
import sys

import orjson
import psycopg
import uvloop
from picows import WSListener, WSMsgType, ws_create_server

TABLE = (
    "create table baseline_frame (id bigserial primary key, session_id int, robot_id text, ts timestamptz, "
    "frame_index int, data jsonb, unique (session_id, frame_index))"
)
COPY = "copy baseline_frame (session_id, robot_id, ts, frame_index, data) from stdin"
pending: list[tuple["Robot", tuple]] = []
offered = asyncio.Event()


class Robot(WSListener):
    connected = 0

    def __init__(self):
        Robot.connected += 1
        self.session_id = Robot.connected

    def on_ws_connected(self, transport):
        self.transport = transport
        transport.send(WSMsgType.TEXT, b'{"type":"session","session_id":%d,"next_frame_index":0}' % self.session_id)

    def on_ws_frame(self, transport, message):
        if message.msg_type == WSMsgType.CLOSE:
            transport.send_close(1000)
            transport.disconnect()
            return
        parsed = orjson.loads(message.get_payload_as_bytes())
        if "type" in parsed:
            return
        for frame in parsed.get("frames", (parsed,)):
            moment = dt.datetime.fromtimestamp(frame["timestamp"], dt.UTC)
            data = orjson.dumps({"o": frame["observation"], "a": frame["action"]}).decode()
            pending.append((self, (self.session_id, "r", moment, frame["frame_index"], data)))
        offered.set()


def store(connection, rows):
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for _, row in rows:
            copy.write_row(row)


async def write():
    connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    connection.execute("drop table if exists baseline_frame")
    connection.execute(TABLE)
    while True:
        await offered.wait()
        await asyncio.sleep(0.02)
        offered.clear()
        rows, pending[:] = pending[:], []
        await asyncio.get_running_loop().run_in_executor(None, store, connection, rows)
        for robot, frame_index in {robot: row[3] for robot, row in rows}.items():
            robot.transport.send(WSMsgType.TEXT, b'{"type":"ack","frame_index":%d}' % frame_index)


async def main():
    writing = asyncio.create_task(write())
    server = await ws_create_server(lambda _: Robot(), "127.0.0.1", int(sys.argv[1]))
    await asyncio.wait([writing, asyncio.ensure_future(server.serve_forever())], return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    uvloop.run(main())
