"""Open-loop load: robots that send on a fixed schedule, whatever the server does, and time each frame to its ack.

usage: load.py PORT ROBOTS SECONDS FRAMES_PER_MESSAGE; 0 seconds: until its input ends. Prints a line when all are
connected, and at the end one of JSON. Frames are ~500 bytes, as in the report.
"""

import asyncio
import json
import random
import sys
import time

import orjson
import uvloop
from picows import WSListener, WSMsgType, ws_connect

FPS = 60
CONNECT_S = 20  # for all; the library gives each 5, and then None in place of an error
DRAIN_S = 5
latencies: list[float] = []
count = {"sent": 0, "acked": 0, "errors": 0, "disconnects": 0}


class Robot(WSListener):
    def __init__(self):
        self.sent_at: dict[int, float] = {}
        self.next_unacked = 0
        self.is_closing = False
        self.greeted = asyncio.Event()
        self.gone = asyncio.Event()

    def on_ws_frame(self, transport, message):
        if message.msg_type == WSMsgType.PING:
            transport.send_pong(message.get_payload_as_bytes())
        elif message.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        elif message.msg_type == WSMsgType.TEXT:
            self.answered(orjson.loads(message.get_payload_as_bytes()))

    def answered(self, answer):
        self.greeted.set()
        count["errors"] += answer.get("type") == "error"
        acked = answer["frame_index"] if answer.get("type") == "ack" else answer.get("ack", -1)
        now = time.perf_counter()
        for frame_index in range(self.next_unacked, acked + 1):
            latencies.append(now - self.sent_at.pop(frame_index))
        count["acked"] += max(0, acked + 1 - self.next_unacked)
        self.next_unacked = max(self.next_unacked, acked + 1)

    def on_ws_disconnected(self, transport):
        count["disconnects"] += not self.is_closing
        self.gone.set()


def template() -> bytes:
    """A frame with %d and %.3f left for frame_index and timestamp."""

    def random_list(length, most):
        return [random.uniform(-most, most) for _ in range(length)]

    observation = {"joint_positions": random_list(6, 3.14), "joint_velocities": random_list(6, 1), "gripper": 0.5}
    action = {"joint_positions": random_list(6, 3.14), "gripper": random.random()}
    body = orjson.dumps({"observation": observation, "action": action})
    return b'{"frame_index":%d,"timestamp":%.3f,' + body[1:]


async def stream(number, port, per_message, up, go, over):
    robot = None
    while robot is None:  # the database was slow: the server sent it away (1013), and picows has forgotten who it was
        transport, robot = await ws_connect(
            Robot,
            f"ws://127.0.0.1:{port}/ws/log/robot_{number}",
            extra_headers=[("Sec-WebSocket-Protocol", "teleop.v1")],
            websocket_handshake_timeout=CONNECT_S,
        )
    up.release()
    await go.wait()
    frame, interval = template(), per_message / FPS
    await asyncio.sleep(random.random() * interval)
    began, messages = time.perf_counter(), 0
    while not over.is_set() and not robot.gone.is_set():
        now = time.perf_counter()
        indexes = range(messages * per_message, (messages + 1) * per_message)
        frames = [frame % (frame_index, time.time()) for frame_index in indexes]
        robot.sent_at.update(dict.fromkeys(indexes, now))
        count["sent"] += per_message
        transport.send(WSMsgType.TEXT, frames[0] if per_message == 1 else b'{"frames":[%s]}' % b",".join(frames))
        messages += 1
        await asyncio.sleep(max(0, began + messages * interval - time.perf_counter()))
    deadline = time.perf_counter() + DRAIN_S
    while robot.sent_at and time.perf_counter() < deadline and not robot.gone.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    robot.is_closing = True
    transport.send_close(1000)
    await asyncio.sleep(0.2)
    transport.disconnect()


async def main(port, robots, seconds, per_message):
    up, go, over = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()
    streams = [asyncio.create_task(stream(number, port, per_message, up, go, over)) for number in range(robots)]
    for _ in streams:
        await asyncio.wait_for(up.acquire(), CONNECT_S)
    went, began = time.process_time(), time.perf_counter()
    if seconds:
        asyncio.get_running_loop().call_later(seconds, over.set)
    else:
        asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    print("all are connected", flush=True)
    go.set()
    await over.wait()
    took = time.perf_counter() - began
    await asyncio.gather(*streams)
    latencies.sort()
    quantiles = {f"p{q}_ms": round(latencies[int(len(latencies) * q / 100)] * 1000, 1) for q in (50, 95, 99)}
    print(json.dumps({**count, **quantiles, "load_cpu": round((time.process_time() - went) / took, 2)}))


if __name__ == "__main__":
    uvloop.run(main(*(int(argument) for argument in sys.argv[1:])))
