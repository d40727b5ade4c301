"""Let a robot stream what its methods return."""

import functools
from typing import Any

from lerobot.robots import Robot

from .stream import Stream


def tap(robot: Robot, stream: Stream) -> Robot:
    """Stream each pair of an observation and the action that answers it; return the same robot.

    The methods are replaced on the object. A subclass would need the robot's class, which only lerobot's factory knows
    and shows only by making a robot; and that robot's hardware cannot be opened a second time by another object.
    The robot's own errors are raised as before. The stream raises none.
    """
    connect, disconnect = robot.connect, robot.disconnect
    get_observation, send_action = robot.get_observation, robot.send_action

    @functools.wraps(connect)
    def connect_and_open(*args: Any, **kwargs: Any) -> None:
        connect(*args, **kwargs)
        stream.open(robot)

    @functools.wraps(get_observation)
    def get_and_keep_observation() -> dict[str, Any]:
        observation: dict[str, Any] = get_observation()
        stream.observe(observation)
        return observation

    @functools.wraps(send_action)
    def send_and_stream_action(action: dict[str, Any]) -> dict[str, Any] | None:
        sent: dict[str, Any] | None = send_action(action)
        stream.send(action if sent is None else sent)
        return sent

    @functools.wraps(disconnect)
    def disconnect_and_close() -> None:
        try:
            disconnect()
        finally:  # after it: the arm is safe before the stream waits for the server
            stream.close()

    robot.connect, robot.disconnect = connect_and_open, disconnect_and_close
    robot.get_observation, robot.send_action = get_and_keep_observation, send_and_stream_action
    return robot
