"""Send one film to the server over HTTP: streamed from the disk, through a proxy, at a limited rate, and abortable."""

import contextlib
import http.client
import json
import re
import secrets
import socket
import ssl as tls
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import parse_uri

from ..network import ProxyOption

CONNECT_S = 10.0
TIMEOUT_S = 60.0  # without a byte; the server may wait for 20 s before it checks a film
BLOCK_BYTES = 64 << 10
LIMITED_S = 0.1  # of a limited rate, in one block
MAX_ANSWER_BYTES = 64 << 10


class Stopped(Exception):
    """The upload was stopped."""


@dataclass(frozen=True)
class Answer:
    """The server's answer: its status, the text of its body, its `code`, and the seconds of Retry-After."""

    status: int
    text: str
    code: str | None
    retry_after_s: float | None


class FilmRequest:
    """POST a form with one film. `stop` may be called from another thread, and ends it at once.

    `wait` waits for some seconds, and returns whether the upload shall stop.
    """

    def __init__(
        self,
        url: str,
        *,
        wait: Callable[[float], bool],
        ssl: tls.SSLContext | None = None,
        proxy: ProxyOption = True,
        kbit_s: float | None = None,
    ) -> None:
        self._wait = wait
        self._bytes_s = kbit_s and kbit_s * 125
        self._path = urlsplit(url).path or "/"
        self._connection = _connection(url, ssl, proxy)

    def post(self, headers: Mapping[str, str], fields: Mapping[str, str], film: Path) -> Answer:
        """Send the form; return the answer. Raise OSError, HTTPException or Stopped."""
        boundary = secrets.token_hex(16)
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{film.stem}.mp4"\r\n'
            "Content-Type: video/mp4\r\n\r\n"
        )
        parts = head.encode(), f"\r\n--{boundary}--\r\n".encode()
        connection = self._connection
        with open(film, "rb") as file, contextlib.closing(connection):
            connection.connect()
            connection.sock.settimeout(TIMEOUT_S)
            connection.putrequest("POST", self._path)
            length = sum(map(len, parts)) + film.stat().st_size
            own = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
            for name, value in {**headers, **own}.items():
                connection.putheader(name, value)
            connection.endheaders()
            # A server that refuses the film may close the connection before it has read all of it.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for block in self._paced(_blocks(parts[0], file, parts[1], self._block_bytes)):
                    connection.send(block)
            return _answer(connection.getresponse())

    def stop(self) -> None:
        with contextlib.suppress(Exception):  # it may not be open yet, or any more
            socket.socket.shutdown(self._connection.sock, socket.SHUT_RDWR)  # that of TLS is not for two threads

    @property
    def _block_bytes(self) -> int:
        return min(max(int(self._bytes_s * LIMITED_S), 1), BLOCK_BYTES) if self._bytes_s else BLOCK_BYTES

    def _paced(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        begin_s, sent = time.monotonic(), 0
        for block in blocks:
            due_s = begin_s + sent / self._bytes_s if self._bytes_s else 0.0
            if self._wait(max(due_s - time.monotonic(), 0.0)):
                raise Stopped
            yield block
            sent += len(block)


def _connection(url: str, ssl: tls.SSLContext | None, proxy: ProxyOption) -> http.client.HTTPConnection:
    """Return a connection that is not open yet. Raise OSError for a proxy that cannot be used."""
    uri = parse_uri(re.sub("^http", "ws", url))
    proxy_url = get_proxy(uri) if proxy is True else proxy
    host, port, headers = uri.host, uri.port, {}
    if proxy_url is not None:
        found = parse_proxy(proxy_url)
        if found.scheme != "http":
            raise OSError(f"films cannot be uploaded through a proxy of the kind {found.scheme}; http:// expected")
        host, port = found.host, found.port
        if found.user_info:
            headers["Proxy-Authorization"] = "Basic " + b64encode(":".join(found.user_info).encode()).decode()
    connection: http.client.HTTPConnection
    if uri.secure:
        context = ssl or tls.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=CONNECT_S)
    if proxy_url is not None:
        connection.set_tunnel(uri.host, uri.port, headers)
    return connection


def _blocks(head: bytes, file: Any, tail: bytes, size: int) -> Iterator[bytes]:
    yield head
    while block := file.read(size):
        yield block
    yield tail


def _answer(response: http.client.HTTPResponse) -> Answer:
    text = response.read(MAX_ANSWER_BYTES).decode(errors="replace")
    code = None
    with contextlib.suppress(ValueError):
        body = json.loads(text)
        code = body.get("code") if isinstance(body, dict) else None
    retry_after = response.getheader("Retry-After") or ""
    return Answer(response.status, text, code, float(retry_after) if retry_after.isdecimal() else None)
