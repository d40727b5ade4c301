"""Previews of cameras: only on request, on a connection of their own, and never in the way of a frame."""

import asyncio
import struct

import numpy as np
import pytest
from fake_server import FakeServer, until
from teleop_client import aio
from test_client_sockets import on_loop
from test_client_spool import client

REQUEST = {"type": "preview", "cameras": ["front"], "interval_s": 0.5, "lease_s": 15}
RED = np.full((480, 640, 3), (255, 0, 0), np.uint8)

pytest.importorskip("av")


@pytest.fixture(autouse=True)
def _no_wait_for_films(monkeypatch):
    """Wait for no film at the end: the server of these tests takes none."""
    monkeypatch.setattr(aio, "FILMS_S", 0.0)


async def ask(server, **fields):
    for connection in server.connections:
        if "/ws/log/" in connection.request.path:
            await server._say(connection, REQUEST | fields)


def previews(server):
    """Return the name, the time and the JPEG of each picture."""
    found = []
    for message in server.previews:
        end = 1 + message[0]
        found.append((message[1:end].decode(), struct.unpack_from(">d", message, end)[0], message[end + 8 :]))
    return found


@on_loop
async def test_it_sends_the_wanted_camera_on_request_with_its_time():
    async with FakeServer() as server, client(server.url) as robot:
        await robot.wait_connected(5)
        robot.send({"a": 1.0, "front": RED, "wrist": RED}, timestamp=1.8e9)
        await ask(server)
        await until(lambda: server.previews)
        (name, time_s, jpeg) = previews(server)[0]
        assert (name, time_s) == ("front", 1.8e9)
        assert (jpeg[:3], jpeg[-2:]) == (b"\xff\xd8\xff", b"\xff\xd9")
        assert {path for path in server.paths if "preview" in path} == {"/ws/preview/robot_A"}


@on_loop
async def test_without_a_request_it_opens_no_connection():
    async with FakeServer() as server, client(server.url) as robot:
        robot.send({"a": 1.0, "front": RED})
        await robot.flush(5)
        assert len(server.paths) == 1


@on_loop
async def test_it_sends_each_picture_once_and_stops_when_the_lease_ends():
    async with FakeServer() as server, client(server.url) as robot:
        await robot.wait_connected(5)
        robot.send({"a": 1.0, "front": RED})
        await ask(server, cameras=None, lease_s=1.2)
        await until(lambda: server.previews)
        await until(lambda: not any("preview" in connection.request.path for connection in server.connections))
        assert len(server.previews) == 1


@pytest.mark.parametrize("fields", [{"cameras": 7}, {"lease_s": "x"}, {"interval_s": None}])
@on_loop
async def test_an_unusable_request_disturbs_nothing(fields):
    async with FakeServer() as server, client(server.url) as robot:
        await robot.wait_connected(5)
        await ask(server, **fields)
        robot.send({"a": 1.0, "front": RED})
        await robot.flush(5)
        assert not server.previews


@on_loop
async def test_it_waits_after_the_server_has_refused_a_picture():
    async with FakeServer() as server, client(server.url) as robot:
        server.preview_code = 4400
        await robot.wait_connected(5)
        for _ in range(2):
            robot.send({"a": 1.0, "front": RED})
            await ask(server)
            await until(lambda: server.previews)
            await asyncio.sleep(0)
        await until(lambda: robot._cameras.previews._not_before_s)
        paths = len(server.paths)
        await ask(server)
        robot.send({"a": 1.0})
        await robot.flush(5)
        assert len(server.paths) == paths


@on_loop
async def test_it_waits_for_the_last_films_after_the_server_has_closed_the_connection(monkeypatch):
    monkeypatch.setattr(aio, "FILMS_S", 3.0)
    waited = []
    async with FakeServer() as server:
        robot = client(server.url).start()
        monkeypatch.setattr(robot._cameras, "finish", lambda connection, timeout_s: waited.append(timeout_s))
        robot.send({"a": 1.0})
        robot.protocol.end(b'{"type":"end"}')
        robot.wake()
        await until(lambda: robot.protocol.frame_count is not None and not robot.protocol.greeted)
        await robot.close()
    assert waited == [3.0]
