"""Clients other than robots: API clients and watching pages. Each runs in a thread of its own."""

import json
import random
import time
from contextlib import suppress
from itertools import cycle
from threading import Event, Thread
from typing import NamedTuple, Self

import requests
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException
from websockets.sync.client import connect

ORIGIN = "http://localhost"
FIRST_WAIT_S, LONGEST_WAIT_S, ANSWER_TIMEOUT_S = 0.5, 15, 10  # as in teleop/static/teleop/socket.js
FINAL = 4401, 4404


class Answer(NamedTuple):
    sent_at: float
    answered_at: float
    status: int  # 0: the connection broke
    request: str


class Observer(Thread):
    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.stopping = Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopping.set()
        self.join()


class ApiClient(Observer):
    """A client of REST that sends about one request a second, without retries."""

    def __init__(self, url: str, token: str, robot_id: str) -> None:
        super().__init__(url)
        self.robot_id = robot_id
        self.answers: list[Answer] = []
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Token {token}"

    def run(self) -> None:
        (session,) = self._http.get(f"{self.url}/sessions", params={"robot": self.robot_id}).json()["results"]
        path = f"/sessions/{session['id']}"
        calls = [
            ("GET", "/robots", None),
            ("GET", f"/robots/{self.robot_id}/status", None),
            ("GET", f"{path}/frames?limit=100", None),
            ("PATCH", path, {"meta_info": {"success": True}}),
            ("POST", f"{path}/marks", {"timestamp": time.time()}),
            ("GET", "/sessions?live=true&limit=20", None),
        ]
        random.shuffle(calls)
        for method, path, body in cycle(calls):
            if self.stopping.wait(random.uniform(0.5, 1.5)):
                return
            self._request(method, path, body)

    def _request(self, method: str, path: str, body: dict | None) -> None:
        sent_at = time.monotonic()
        try:
            status = self._http.request(method, self.url + path, json=body, timeout=60).status_code
        except requests.ConnectionError:
            status = 0
        self.answers.append(Answer(sent_at, time.monotonic(), status, f"{method} {path}"))


class WatchingPage(Observer):
    """A page that requests data, and reconnects by itself like the real pages."""

    def __init__(self, url: str, cookie: str, socket: str, page: str) -> None:
        super().__init__(url)
        self.received_at = 0.0  # last time it received data of a streaming robot
        self.rejection: str | int = ""
        self._socket, self._page = f"{url.replace('http', 'ws')}/ws/{socket}", f"{url}/{page}"
        self._headers = {"Cookie": f"sessionid={cookie}"}
        self._wait_s: float = FIRST_WAIT_S

    def run(self) -> None:
        while not self.rejection:
            try:
                self._watch()
            except InvalidHandshake:
                self._check_login()
            except ConnectionClosed as closed:
                self.rejection = closed.rcvd.code if closed.rcvd and closed.rcvd.code in FINAL else ""
            except (OSError, WebSocketException):
                pass  # TimeoutError too: no answer in time
            if self.stopping.wait(self._wait_s * random.uniform(0.75, 1.25)):
                return
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    def _watch(self) -> None:
        options = {"origin": ORIGIN, "additional_headers": self._headers, "open_timeout": 60, "close_timeout": 1}
        with connect(self._socket, **options) as websocket:
            while not self.stopping.is_set():
                websocket.send('{"type":"next"}')
                answer = json.loads(websocket.recv(timeout=ANSWER_TIMEOUT_S))
                self._wait_s = FIRST_WAIT_S
                if any(robot.get("rate_hz") for robot in answer.get("live", [answer])):
                    self.received_at = time.monotonic()

    def _check_login(self) -> None:
        """Request the page after a refused handshake; stop if it redirects to the login or is forbidden (403)."""
        with suppress(requests.ConnectionError):
            status = requests.head(self._page, headers=self._headers, timeout=60, allow_redirects=False).status_code
            self.rejection = status if status in (302, 403) else ""
