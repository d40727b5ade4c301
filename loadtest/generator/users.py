"""Define Locust's users, which are robots and API clients.

`manage.py loadtest` starts them, and Locust alone can do so too:

    locust -f loadtest/generator/users.py --host http://127.0.0.1:8000 RobotUser ApiUser

Locust patches the standard library when it is imported, so nothing that runs Django imports this.
"""

import argparse
import itertools
import math
import os
import random
import time
import uuid
from typing import Any

import gevent
from gevent.event import Event
from locust import FastHttpUser, User, between, constant, events, task
from locust.contrib.fasthttp import FastResponse
from locust.env import Environment
from locust.exception import StopUser

from loadtest.generator.frames import FPS, message, template
from loadtest.generator.robot import MuteRobot, Robot, Unacked

FRAME = "frame to ack"
SEND = "send() of a frame"
END_TIMEOUT_S = 15

numbers = itertools.count()
robots: list[Robot | MuteRobot] = []  # all robots that connected, in this process
robot_ids: list[str] = []
start: Event | None = None  # robots that have connected wait for it before they send; None: they do not wait
stream_until = math.inf  # by time.perf_counter()
slips_s: list[float] = []  # delay of each message behind its own schedule
sends_s: list[float] = []  # time that send() alone took


@events.init_command_line_parser.add_listener
def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames-per-message", type=int, default=1)
    parser.add_argument("--frames", type=int, default=0, help="of each robot; 0: until it is stopped")
    parser.add_argument("--token", default=os.environ.get("LOADTEST_TOKEN", ""), help="of the API clients")


class Streaming(User):
    """A robot that sends on a fixed schedule, however slow the server is: frame n is due n / 60 s after the first."""

    abstract = True
    wait_time = constant(0)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.options: Any = environment.parsed_options
        self.robot_id = f"loadtest_{next(numbers)}"
        self.robot: Robot | MuteRobot
        self._rng = random.Random(self.robot_id)

    def on_start(self) -> None:
        self.robot = self.connect(robot_url(self.host, self.robot_id))
        robots.append(self.robot)
        robot_ids.append(self.robot_id)
        wait_for_start()

    def connect(self, url: str) -> Robot | MuteRobot:
        raise NotImplementedError  # each kind of robot; Locust's metaclass excludes an abstract base class

    @task
    def stream(self) -> None:
        frame, count = template(self._rng), self.options.frames_per_message
        interval_s = count / FPS
        begin = time.perf_counter() + self._rng.random() * interval_s  # spread the starts
        most = self.options.frames // count if self.options.frames else None
        for n in range(most) if most else itertools.count():
            due = begin + n * interval_s
            gevent.sleep(max(0, due - time.perf_counter()))
            slips_s.append(time.perf_counter() - due)
            sends_s.append(self.send(message(frame, n * count, count, time.time()), n * count))
        self.robot.end(END_TIMEOUT_S)
        raise StopUser

    def send(self, content: bytes, first_index: int) -> float:
        return self.robot.send(content, first_index, self.options.frames_per_message)

    def on_stop(self) -> None:
        if hasattr(self, "robot"):  # else the robot never connected
            self.robot.close()

    def failed(self, reason: str) -> None:
        fire(self.environment, FRAME, 0, 0, ConnectionError(reason))


class RobotUser(Streaming):
    """A robot that speaks teleop.v1: a frame's response time is from send() to the ack, which follows the commit."""

    def connect(self, url: str) -> Robot:
        robot = Robot(f"{url}?session={uuid.uuid4()}", self)
        robot.connect()
        return robot

    def acked(self, message: Unacked, response_ms: float) -> None:
        fire(self.environment, FRAME, response_ms, len(message.message))


class ReportRobotUser(Streaming):
    """The report's robot: it reads nothing, so it can time only its own send()."""

    def connect(self, url: str) -> MuteRobot:
        robot = MuteRobot(url, self)
        robot.connect()
        return robot

    def send(self, content: bytes, first_index: int) -> float:
        took_s = super().send(content, first_index)
        fire(self.environment, SEND, took_s * 1000, len(content))
        return took_s


class Api(FastHttpUser):
    abstract = True

    def on_start(self) -> None:
        token = self.environment.parsed_options.token
        self.headers = {"Authorization": f"Token {token}"} if token else {}
        self.session_ids: list[int] = []

    def get(self, path: str, name: str | None = None) -> FastResponse:
        return self.client.get(path, name=name or path, headers=self.headers)

    def sessions(self) -> None:
        response = self.get("/sessions")
        if response.status_code == 200:
            self.session_ids = [session["id"] for session in response.json()["results"]]


class ApiUser(Api):
    """An API client like a dashboard; there is one for five robots."""

    wait_time = between(1, 3)

    @task(3)
    def health(self) -> None:
        self.get("/health")

    @task(2)
    def list_robots(self) -> None:
        self.get("/robots")

    @task(2)
    def list_sessions(self) -> None:
        self.sessions()

    @task(1)
    def robot_status(self) -> None:
        if robot_ids:
            self.get(f"/robots/{random.choice(robot_ids)}/status", "/robots/{id}/status")

    @task(1)
    def session_detail(self) -> None:
        if not self.session_ids:
            self.sessions()
        if self.session_ids:
            self.get(f"/sessions/{random.choice(self.session_ids)}", "/sessions/{id}")


class MixedUser(Api):
    """The published report's own user, for a like-for-like run: frames and requests in turn, 10-50 ms apart.

    Its load falls when the server is slower (a closed loop; the other users are open).
    """

    wait_time = between(0.01, 0.05)

    def on_start(self) -> None:
        super().on_start()
        self.robot = MuteRobot(robot_url(self.host, f"loadtest_{next(numbers)}"), self)
        self.robot.connect()
        robots.append(self.robot)
        self._frame = template(random.Random(self.robot.url))
        wait_for_start()

    @task(10)
    def frame(self) -> None:
        if time.perf_counter() > stream_until:
            self.robot.end(END_TIMEOUT_S)
            raise StopUser
        content = message(self._frame, self.robot.sent, 1, time.time())
        took_s = self.robot.send(content, self.robot.sent, 1)
        sends_s.append(took_s)
        fire(self.environment, SEND, took_s * 1000, len(content))

    @task(2)
    def health(self) -> None:
        self.get("/health")

    @task(1)
    def list_robots(self) -> None:
        self.get("/robots")

    @task(1)
    def list_sessions(self) -> None:
        self.get("/sessions")

    def failed(self, reason: str) -> None:
        fire(self.environment, SEND, 0, 0, ConnectionError(reason))


def robot_url(host: str | None, robot_id: str) -> str:
    return f"{(host or '').replace('http', 'ws', 1)}/ws/log/{robot_id}"


def wait_for_start() -> None:
    if start is not None:
        start.wait()


def fire(
    environment: Environment, name: str, response_ms: float, length: int, exception: Exception | None = None
) -> None:
    environment.events.request.fire(
        request_type="WS",
        name=name,
        response_time=response_ms,
        response_length=length,
        exception=exception,
        context={},
    )
