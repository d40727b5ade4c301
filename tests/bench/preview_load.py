"""Send pictures of cameras and watch them: usage: -m tests.bench.preview_load PORT SESSIONID PAGES CAMERAS.

It runs until its input is closed. Each page watches a robot of its own; with 0 cameras it watches only frames.
"""

import asyncio
import json
import os
import struct
import sys
import time
from fractions import Fraction
from itertools import count as numbers

import av
import numpy as np

from tests.bench.watch import WatchingPage, count

PICTURES_PER_S = 2
WIDTH, HEIGHT = 320, 240


def picture() -> bytes:
    """Return a JPEG of about 10 KB."""
    shade = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH))[..., None] % 256
    noise = np.random.default_rng(0).normal(0, 16, (HEIGHT, WIDTH, 3))
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = WIDTH, HEIGHT, "yuvj420p", Fraction(1, 2)
    encoder.options = {"qmin": "9", "qmax": "9"}
    image = av.VideoFrame.from_ndarray((shade + noise).clip(0, 255).astype("uint8"))
    (packet,) = encoder.encode(image.reformat(format="yuvj420p"))
    return bytes(packet)


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a WebSocket frame, masked with zeros."""
    size = len(payload)
    length = bytes((opcode, 128 + size)) if size < 126 else bytes((opcode, 254)) + size.to_bytes(2)
    return length + bytes(4) + payload


async def send_pictures(robot: WatchingPage, cameras: int, jpeg: bytes) -> None:
    for number in numbers():
        name = f"camera_{number % cameras}".encode()
        robot.writer.write(frame(0x82, bytes([len(name)]) + name + struct.pack(">d", time.time()) + jpeg))
        count["pictures_sent"] += 1
        await asyncio.sleep(1 / PICTURES_PER_S / cameras)


async def main(port: int, sessionid: str, pages: int, cameras: int) -> None:
    jpeg, tasks = picture(), []
    for number in range(pages):
        page = WatchingPage(f"/ws/live/robot_{number}")
        await page.connect(port, sessionid)
        if cameras:
            page.writer.write(frame(0x81, json.dumps({"type": "previews", "robots": [f"robot_{number}"]}).encode()))
            robot = WatchingPage(f"/ws/preview/robot_{number}")
            await robot.connect(port, sessionid)
            tasks.append(asyncio.create_task(send_pictures(robot, cameras, jpeg)))
        await page.next()
        tasks.append(asyncio.create_task(page.read()))
    print("all have been answered", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    count["gone"] = sum(task.done() for task in tasks)
    print(json.dumps({**count, "jpeg_bytes": len(jpeg)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
