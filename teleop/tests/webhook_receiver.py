"""A receiver of webhooks: a real HTTP server on this machine, which answers as a test wants."""

import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import NamedTuple

import pytest

LOOPBACK = ip_network("127.0.0.1/32")  # a test may allow it; 127.0.0.2 stays a private address

Answer = Callable[["Handler"], None]


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver: Receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.requests.append(
            Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        )
        answer = receiver.answers.pop(0) if receiver.answers else answers(200)
        with suppress(OSError):  # the sender has closed the connection
            answer(self)

    def log_message(self, *args) -> None:
        """Write no log."""


class Receiver:
    """The server of one test. `answers` come in their order, then each request is answered with 200."""

    def __init__(self, address: str = "127.0.0.1", certificate: str | None = None):
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.is_over = threading.Event()
        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._server.receiver = self
        scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{scheme}://{address}:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._server.server_close()


def answers(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture(name="receiver")
def receiver_fixture(settings):
    """Yield a receiver on an address that the setting allows."""
    settings.WEBHOOK_PRIVATE_NETWORKS = [LOOPBACK]
    server = Receiver()
    yield server
    server.close()
