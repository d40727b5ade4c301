"""A minimal robot of websockets and JSON that can misbehave, and a robot that behaves correctly."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from robots.models import Robot, hash_key
from teleop.models import TeleopFrame
from tests.services import Server, wait_until

KEY = "a robot's key"
T0 = 1703318400


class RobotSocket:
    """One connection; it has read the greeting unless it is mute."""

    def __init__(self, websocket: ClientConnection):
        self.websocket = websocket
        self.greeting = self.receive() if websocket.subprotocol else None

    def send(self, *messages: dict | str | bytes) -> None:
        for message in messages:
            self.websocket.send(json.dumps(message) if isinstance(message, dict) else message)

    def receive(self, kind: str = "") -> dict:
        """Return the next message; with `kind`, the next of that type.

        Requests for previews may come at any time, as somebody may watch this robot: without `kind` they are left out.
        """
        while True:
            message = json.loads(self.websocket.recv(timeout=10))
            if message["type"] == kind or (not kind and message["type"] != "preview"):
                return message

    def receive_until_ack(self, frame_index: int) -> list[dict]:
        """Return the messages before the ack of this index."""
        received = []
        while (message := self.receive()) != {"type": "ack", "frame_index": frame_index}:
            received.append(message)
        return received

    def receive_until_close(self) -> tuple[int, list[dict]]:
        """Return the close code and the messages before it."""
        received = []
        try:
            while True:
                received.append(self.receive())
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006, received


@contextmanager
def robot_socket(
    server: Server, path: str = "arm", key: str | None = KEY, mute: bool = False, **options
) -> Iterator[RobotSocket]:
    """Connect a robot; `path` follows /ws/log/, `options` are those of websockets."""
    options = {"additional_headers": {"Authorization": f"Bearer {key}"} if key else {}} | options
    subprotocols = None if mute else ["teleop.v1"]
    url = f"{server.ws_url}/ws/log/{path}"
    with connect(url, subprotocols=subprotocols, compression=None, close_timeout=1, **options) as websocket:
        yield RobotSocket(websocket)


def register(*robot_ids: str) -> None:
    Robot.objects.bulk_create(Robot(pk=robot_id, key_hash=hash_key(KEY)) for robot_id in robot_ids)


def frame(index: int, **changes) -> dict:
    return {"frame_index": index, "timestamp": T0 + index / 60, "observation": {"shoulder_pan.pos": 1.5}} | changes


def stored(robot_id: str = "arm") -> list[int]:
    return list(
        TeleopFrame.objects.filter(robot=robot_id).order_by("frame_index").values_list("frame_index", flat=True)
    )


@contextmanager
def bystander(server: Server) -> Iterator[None]:
    """Stream from another robot meanwhile, and check that each of its frames is acknowledged and stored."""
    stop = threading.Event()
    sent = acked = -1
    errors = []

    def listen(robot: RobotSocket) -> None:
        nonlocal acked
        with suppress(ConnectionClosed):
            while True:
                message = robot.receive()
                if message["type"] == "ack":
                    acked = message["frame_index"]
                else:
                    errors.append(message)

    def talk(robot: RobotSocket) -> None:
        nonlocal sent
        while not stop.wait(1 / 60):
            robot.send(frame(sent + 1))
            sent += 1

    with robot_socket(server, "bystander") as robot:
        listener, talker = (threading.Thread(target=task, args=[robot], daemon=True) for task in (listen, talk))
        listener.start()
        talker.start()
        wait_until(lambda: acked > 0, what="the bystander's first acks")
        try:
            yield
            after = sent + 2
            wait_until(lambda: acked >= after, what="the bystander's acks")
        finally:
            stop.set()
            talker.join()
        wait_until(lambda: acked == sent, what="the bystander's last ack")
    listener.join()
    assert errors == []
    assert stored("bystander") == list(range(sent + 1))
