"""A server of films for the tests: it takes forms at /videos, and has switches for faults. It is a proxy too."""

import json
import re
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeVideos:
    """A server in threads, as a context manager. `films` maps (session, camera, start) to the bytes of its film."""

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.films: dict[tuple[str, str, str], bytes] = {}
        self.forms: list[dict[str, str]] = []  # of all uploads, also of refused ones
        self.headers: list[dict[str, str]] = []
        self.tunnels: list[tuple[str, dict[str, str]]] = []  # that were asked of the proxy
        self.answers: list[
            tuple[int, dict[str, str], dict[str, str]]
        ] = []  # for the next uploads: status, headers, body
        self.sessions: set[str] | None = None  # those that are known; None: all
        self.read_bytes: int | None = None  # answer after so many bytes of the body, and close
        self.discard = False  # do not keep the body
        self.entered, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner.post(self)

            def do_CONNECT(self) -> None:
                owner.connect(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]

    def __enter__(self) -> "FakeVideos":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()

    def post(self, request: BaseHTTPRequestHandler) -> None:
        self.headers.append(dict(request.headers))
        length = int(request.headers["Content-Length"])
        if self.read_bytes is not None:
            request.rfile.read(self.read_bytes)
            request.close_connection = True
            self._answer(request, *self.answers.pop(0))
            return
        if self.discard:
            while length and (block := request.rfile.read(min(length, 1 << 20))):
                length -= len(block)
            self._answer(request, 201, {}, {})
            return
        boundary = request.headers["Content-Type"].partition("boundary=")[2]
        if len(body := request.rfile.read(length)) < length:
            request.close_connection = True
            return
        form, film = _parse(body, boundary.encode())
        self.forms.append(form | {"path": request.path})
        self.entered.set()
        self.may_answer.wait(30)
        if self.answers:
            self._answer(request, *self.answers.pop(0))
        elif self.sessions is not None and form["session_key"] not in self.sessions:
            self._answer(request, 409, {}, {"detail": "no such session yet", "code": "session_unknown"})
        else:
            place = form["session_key"], form["camera_key"], form["start_timestamp"]
            is_new = self.films.setdefault(place, film) is film
            is_same = self.films[place] == film
            self._answer(request, 201 if is_new else 200 if is_same else 409, {}, {})

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data)

    def connect(self, request: BaseHTTPRequestHandler) -> None:
        """Be a proxy: connect to the port that was asked for, whatever the host's name."""
        self.tunnels.append((request.path, dict(request.headers)))
        request.send_response(200)
        request.end_headers()
        with socket.create_connection(("127.0.0.1", int(request.path.rpartition(":")[2]))) as server:
            back = threading.Thread(target=_copy, args=(server, request.connection), daemon=True)
            back.start()
            _copy(request.connection, server)
            back.join(5)
        request.close_connection = True


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _parse(body: bytes, boundary: bytes) -> tuple[dict[str, str], bytes]:
    """Return the fields of a form, and its file."""
    form, film = {}, b""
    *parts, end = body.split(b"--" + boundary)
    assert (parts[0], end) == (b"", b"--\r\n")
    for part in parts[1:]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        (name,) = re.findall(rb' name="(\w+)"', head)
        if name == b"file":
            assert b"Content-Type: video/mp4" in head
            film = value.removesuffix(b"\r\n")
        else:
            form[name.decode()] = value.removesuffix(b"\r\n").decode()
    return form, film
