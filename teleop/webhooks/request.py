"""Send one request of a webhook, within bounds of time and of memory, to an address that was checked."""

import socket
import ssl
from collections.abc import Mapping, Sequence
from functools import cache
from http.client import HTTPConnection, HTTPException
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

from teleop.webhooks.addresses import AddressRefused, resolve
from teleop.webhooks.target import Target, parse_url

TIMEOUT_S = 10
MAX_ANSWER_BYTES = 64 * 2**10
MAX_EXCERPT = 500


class Attempt(NamedTuple):
    """The result of a request. `status` is None without an answer; `error` is empty if the receiver accepted it."""

    status: int | None
    error: str
    answer: str = ""  # the beginning of the answer, if the receiver did not accept the request


class CheckedConnection(HTTPConnection):
    """Connection to one of the checked addresses of a host. The certificate has to be valid for the host's name."""

    def __init__(self, target: Target, addresses: Sequence[str]):
        super().__init__(target.host, target.port, timeout=TIMEOUT_S)
        self._target, self._addresses = target, addresses

    def connect(self) -> None:
        self.sock = self._connected()
        if self._target.scheme == "https":
            self.sock = tls_context().wrap_socket(self.sock, server_hostname=self._target.host)

    def _connected(self) -> socket.socket:
        error: OSError | None = None
        for address in self._addresses:
            try:
                return socket.create_connection((address, self._target.port), TIMEOUT_S)
            except OSError as refused:
                error = refused
        raise error or OSError("the host has no address")


@cache
def tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
    """Send the body; return the result after at most TIMEOUT_S.

    A thread sends it: a timeout of the socket ends no receiver that sends one byte a second, and none ends the
    resolution of a name. A thread that has not ended in time ends with its process, which does one webhook's work.
    """
    results = SimpleQueue[Attempt]()
    Thread(target=lambda: results.put(_attempt(url, body, headers)), daemon=True).start()
    try:
        return results.get(timeout=TIMEOUT_S)
    except Empty:
        return _timed_out()


def _timed_out() -> Attempt:
    return Attempt(None, f"no complete answer within {TIMEOUT_S} s")


def _attempt(url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
    try:
        target = parse_url(url)
        return _exchange(target, resolve(target.host, target.port), body, headers)
    except AddressRefused as error:
        return Attempt(None, str(error))
    except TimeoutError:
        return _timed_out()
    except (OSError, HTTPException, ValueError) as error:  # of the network, of HTTP, and of names that cannot exist
        return Attempt(None, _printable(f"{type(error).__name__}: {error}"))


def _exchange(target: Target, addresses: Sequence[str], body: bytes, headers: Mapping[str, str]) -> Attempt:
    connection = CheckedConnection(target, addresses)
    try:
        own = {"Host": target.host_header, "Content-Type": "application/json", "Connection": "close"}
        connection.request("POST", target.path, body, own | dict(headers))
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES)
        return _judged(response.status, response.getheader("Location"), answer)
    finally:
        connection.close()


def _judged(status: int, location: str | None, answer: bytes) -> Attempt:
    if 200 <= status < 300:
        return Attempt(status, "")
    error = f"the receiver answered {status}; 200 to 299 expected"
    if 300 <= status < 400:
        error = f"the receiver answered {status} (Location: {location}); redirects are not followed"
    return Attempt(status, _printable(error), _printable(answer.decode(errors="replace")))


def _printable(text: str) -> str:
    """Return the beginning of the text without control characters, of which PostgreSQL refuses NUL."""
    return "".join(character if character.isprintable() else " " for character in text[:MAX_EXCERPT])
