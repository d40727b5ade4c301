"""A minimal client of the watch protocol: it requests an update and receives it, or does neither."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.services import Server

ORIGIN = "http://localhost"


class Watcher:
    def __init__(self, websocket: ClientConnection):
        self.websocket = websocket

    def send(self, **message: Any) -> None:
        self.websocket.send(json.dumps(message))

    def request_update(self) -> None:
        self.send(type="next")

    def receive(self, timeout: float = 30) -> dict[str, Any]:
        return json.loads(self.websocket.recv(timeout=timeout))

    def next(self) -> dict[str, Any]:
        self.request_update()
        return self.receive()

    def receive_until_close(self) -> int:
        """Return the close code."""
        try:
            while True:
                self.websocket.recv(timeout=30)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def frames(self) -> Iterator[tuple[int, float, dict]]:
        """Yield one frame after another, without end."""
        while True:
            yield from self.next()["frames"]


def login(user: User) -> dict[str, str]:
    """Return the header that a browser sends after the admin's login."""
    client = Client()
    client.force_login(user)
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


@contextmanager
def watching(server: Server, path: str, headers: dict[str, str], origin=ORIGIN, **options) -> Iterator[Watcher]:
    """Open a page's connection; `path` follows /ws/, `options` are those of websockets."""
    options = {"origin": origin, "additional_headers": headers, "compression": None, "close_timeout": 1} | options
    with connect(f"{server.ws_url}/ws/{path}", **options) as websocket:
        yield Watcher(websocket)
