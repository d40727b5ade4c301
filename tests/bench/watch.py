"""Send the requests of pages: usage: watch.py PORT SESSIONID WATCHERS ROBOTS read|deaf; until its input is closed.

Half are on live pages of robots, half on the fleet. `deaf` ones send twenty requests a second and read nothing.
"""

import asyncio
import base64
import json
import os
import sys
from collections import Counter

REQUEST = b"\x81\x8f\0\0\0\0" + b'{"type":"next"}'  # masked with zeros
count: Counter[str] = Counter()


class WatchingPage:
    """A WebSocket without a library, because a library would read ahead."""

    def __init__(self, path: str):
        self.path = path

    async def connect(self, port: int, sessionid: str) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {
            "Host": f"127.0.0.1:{port}",
            "Origin": f"http://127.0.0.1:{port}",
            "Cookie": f"sessionid={sessionid}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
        }
        lines = [f"GET {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.writer.write("\r\n".join(lines).encode())
        assert b" 101 " in await self.reader.readuntil(b"\r\n\r\n"), self.path

    async def next(self) -> dict:
        self.writer.write(REQUEST)
        while True:
            opcode, length = await self.reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8))
            payload = await self.reader.readexactly(length)
            if opcode == 0x81:
                return json.loads(payload)
            count["pictures"] += opcode == 0x82

    async def read(self) -> None:
        while True:
            answer = await self.next()
            count[answer["type"]] += 1
            count["missed"] += answer.get("missed", 0)

    async def send_requests(self) -> None:
        self.reader._transport.pause_reading()
        while True:
            self.writer.write(REQUEST)
            await asyncio.sleep(0.05)


async def main(port: int, sessionid: str, watchers: int, robots: int, how: str) -> None:
    paths = [f"/ws/live/robot_{number % robots}" if number % 2 else "/ws/fleet" for number in range(watchers)]
    pages = [WatchingPage(path) for path in paths]
    for page in pages:
        await page.connect(port, sessionid)
        await page.next()
    print("all have been answered", flush=True)
    tasks = [asyncio.create_task(page.read() if how == "read" else page.send_requests()) for page in pages]
    await asyncio.to_thread(sys.stdin.read)
    count["gone"] = sum(task.done() for task in tasks)
    print(json.dumps(count), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
