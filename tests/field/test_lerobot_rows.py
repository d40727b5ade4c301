"""Frames in the words of robots' programs: rows of LeRobot's data sets, and NaN as Python's json module writes it."""

import io
import json
import math

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.management import call_command
from rest_framework.test import APIClient
from teleop_client import RobotClient

from robots.models import Robot
from teleop.frames.columns import portable_tables, tables
from teleop.models import TeleopFrame, TeleopSession
from teleop.tests.recordings import T0_S, make_session
from tests.robot_socket import T0, register, robot_socket, stored
from tests.services import Server, wait_until

NAN = float("nan")


def position(index: int) -> float:
    return 50 * math.sin(math.pi * index / 60)


def row(index: int) -> dict:
    return {"observation.state": [position(index), 2.5], "action": [position(index), 1], "task": "fold"}


def prefixed(index: int) -> dict:
    return {"observation.pan.pos": position(index), "action.pan.pos": position(index), "next.done": False}


SHAPES = {
    row: (["state.0", "state.1"], ["0", "1"]),
    prefixed: (["pan.pos"], ["pan.pos"]),
}
each_shape = pytest.mark.parametrize("shape", SHAPES)


def line(index: int, **data) -> str:
    return json.dumps({"frame_index": index, "timestamp": T0 + index / 60} | data)


@pytest.mark.once
def test_the_server_stores_the_rows_that_the_client_sends(server: Server):
    key = Robot.objects.create(pk="arm").issue_key()
    with RobotClient(server.ws_url, "arm", key=key, cameras=False) as client:
        for index in range(60):
            values = {"observation.state": np.array([position(index), 2.5]), "action": np.array([1.5, 1])}
            assert client.send(**values, timestamp=T0 + index / 60, task="fold") == index
        assert client.send(**{"observation.images.front": np.zeros((480, 640, 3), np.uint8)}) is None
        assert client.stats.invalid == {"observation.images.front": 1, "frame": 1}
        assert client.end() == 60
        assert client.stats.refused == 0
    data = TeleopFrame.objects.get(frame_index=30).data
    assert json.dumps(data) == '{"action": [1.5, 1.0], "observation.state": [50.0, 2.5], "task": "fold"}'


@pytest.mark.once
def test_the_server_refuses_only_the_frames_with_nan(server: Server):
    register("arm")
    with robot_socket(server) as robot:
        for index in range(150):  # 100 unusable messages in a row would close the connection
            robot.send(line(index, observation={"pan.pos": NAN}, action={"pan.pos": 1.5}))
        errors = [robot.receive() for _ in range(150)]
        assert [error["frame_index"] for error in errors] == list(range(150))
        assert {error["detail"] for error in errors} == {"observation.pan.pos is NaN; a finite number expected"}
        frames = [line(index, **row(index)) for index in range(150, 250)]
        frames[40] = line(190, **row(190) | {"action": [1.5, -math.inf]})
        robot.send(f'{{"frames":[{",".join(frames)}]}}')
        (error,) = robot.receive_until_ack(249)
    assert (error["code"], error["frame_index"]) == ("invalid_frame", 190)
    assert error["detail"] == "frames[40]: action.1 is -Infinity; a finite number expected"
    assert stored() == [index for index in range(150, 250) if index != 190]
    wait_until(lambda: Robot.objects.get().last_error_detail == error["detail"], what="the robot's last error")


@async_to_sync
async def download(client: APIClient, url: str) -> bytes:
    answer = await sync_to_async(client.get)(url)
    return b"".join([part async for part in answer.streaming_content])


@pytest.mark.django_db(transaction=True)
@each_shape
def test_rest_names_the_joints_and_returns_every_number(viewer: APIClient, shape):
    session = make_session(range(120), data=shape)
    url = f"/sessions/{session.pk}"
    observation, action = SHAPES[shape]
    assert viewer.get(url).json()["joints"] == {"observation": observation, "action": action}

    names = [f"observation.{name}" for name in observation] + [f"action.{name}" for name in action]
    table = pq.read_table(io.BytesIO(download(viewer, f"{url}/frames?format=parquet")))
    assert [name for name in table.column_names if name.startswith(("observation.", "action."))] == names
    assert table[names[0]].to_pylist() == [position(index) for index in range(120)]
    series = viewer.get(f"{url}/series?points=50&fields={','.join(names)}").json()["series"]
    assert [column["name"] for column in series] == names

    lines = download(viewer, f"{url}/frames?format=jsonl").splitlines()
    head = b'{"frame_index":7,"timestamp":%.6f,' % (T0_S + 7 / 60)
    assert lines[7] == head + orjson.dumps(shape(7))[1:]
    selected = viewer.get(f"{url}/frames?limit=1&fields=observation").json()["results"][0]
    assert list(selected)[2:] == [name for name in shape(0) if name.startswith("observation.")]


@pytest.mark.django_db
@each_shape
def test_quality_uses_the_joints_of_rows(shape):
    session = make_session(range(601), data=shape)
    TeleopSession.objects.filter(pk=session.pk).finish()
    call_command("quality")
    session.refresh_from_db()
    joints = len(SHAPES[shape][0])
    assert session.quality["jerk"] == pytest.approx(50 * math.pi**3 / math.sqrt(2 * joints), rel=0.01)


@each_shape
def test_arrow_and_python_read_the_same_columns(shape):
    block = b"".join(orjson.dumps({"frame_index": n, "timestamp": n / 60} | shape(n)) + b"\n" for n in range(100))
    (fast,), (portable,) = tables(block), portable_tables(block)
    assert fast.column_names == portable.column_names
    assert fast.to_pydict() == portable.to_pydict()
