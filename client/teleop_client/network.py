"""The options of a connection (TLS, proxy, compression), and network errors in words."""

import errno
import re
import socket
import ssl as tls
import time
from os import PathLike
from typing import Any, Literal
from urllib.parse import urlsplit

from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import WebSocketURI, parse_uri

ProxyOption = str | Literal[True] | None

# Raised by `connect`, and explained below. The texts of some contain the proxy's password: do not log them. ValueError
# is for an impossible name of a host or a proxy, ImportError for a SOCKS proxy without python-socks.
ERRORS = (OSError, InvalidHandshake, InvalidProxy, InvalidURI, ValueError, ImportError)

# 4 KiB hold the ten frames before a frame of six joints. A window of 32 KiB makes them larger, by 4 %, and slower.
_DEFLATE = ClientPerMessageDeflateFactory(
    server_no_context_takeover=True,  # the server sends little: it needs no memory for it
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)

_PROXY_EXPECTED = "an address like http://user:password@host:port expected (in the password: %2F for /, %40 for @)"

# Numbers of errors; those above 63 and without a name here are Windows's.
_REFUSED = {errno.ECONNREFUSED, 1225}
_NO_ANSWER = {errno.ETIMEDOUT, 121}
_RESET = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, 64, 1236}
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, 1231, 1232}

# Codes of OpenSSL (X509_V_ERR_...).
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME = {62, 64}  # the host's name, its IP address
_UNTRUSTED = {2, 18, 19, 20, 21}


def connect_options(
    *,
    url: str,
    ca_file: str | PathLike[str] | None = None,
    ssl: tls.SSLContext | None = None,
    proxy: ProxyOption = True,
    compression: str | None = "deflate",
) -> dict[str, Any]:
    """Return keyword arguments for `websockets.asyncio.client.connect`. Raises ValueError, in words.

    `ca_file` is a PEM file with CAs that are trusted in addition to the system's; `ssl` replaces both. `proxy` is True
    for that of the environment, a URL, or None for a direct connection. The compression "deflate" is offered to the
    server, which decides.
    """
    if compression not in ("deflate", None):
        raise ValueError(f"compression is {compression!r}; 'deflate' or None expected")
    if proxy is not None and proxy is not True and _proxy_address(proxy) is None:
        raise ValueError(f"proxy cannot be used; True, None, or {_PROXY_EXPECTED}")
    if (ssl is not None or ca_file is not None) and urlsplit(url).scheme not in ("wss", "https"):
        raise ValueError("ssl and ca_file are for connections with TLS; wss:// or https:// expected in url")
    if ssl is not None and ca_file is not None:
        raise ValueError("ssl and ca_file are both given; one of the two expected")
    options: dict[str, Any] = {"proxy": proxy, "compression": None}
    if compression:
        options["extensions"] = [_DEFLATE]
    if ca_file is not None:
        ssl = _trusting(ca_file)
    if ssl is not None:
        options["ssl"] = ssl
    return options


def _trusting(ca_file: str | PathLike[str]) -> tls.SSLContext:
    context = tls.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        reason = "it has no certificate in PEM format" if isinstance(error, tls.SSLError) else error.strerror
        raise ValueError(f"ca_file {str(ca_file)!r} cannot be used: {reason}") from error
    return context


def explain(error: BaseException, url: str, proxy: ProxyOption) -> tuple[str, bool]:
    """Return why no connection could be made, for a person at the robot, and whether the cause is the robot's own.

    The causes of the robot are its network, its DNS and its clock. `url` and `proxy` are those of connect_options.
    The sentence contains no key and no password.
    """
    uri = parse_uri(re.sub("^http", "ws", url))
    server = _host_and_port(uri.host, uri.port)
    if (proxy_url := get_proxy(uri) if proxy is True else proxy) is None:
        return _explain(error, uri, server, server)
    if (address := _proxy_address(proxy_url)) is None:
        sentence, is_local = f"the proxy cannot be used: {_PROXY_EXPECTED}", False
    elif isinstance(error, ImportError):
        sentence, is_local = f"the proxy {address} needs the package python-socks", False
    elif isinstance(error, ProxyError):
        sentence, is_local = _explain_proxy(error, address, server), False
    else:
        reached = server if address.startswith("socks") and type(error) is socket.gaierror else f"the proxy {address}"
        sentence, is_local = _explain(error, uri, reached, f"{server}, through the proxy {address},")
    return (
        f"{sentence}; if {uri.host} needs no proxy, add it to NO_PROXY in the environment, or set proxy=None",
        is_local,
    )


def _explain(error: BaseException, uri: WebSocketURI, reached: str, server: str) -> tuple[str, bool]:
    """Explain all errors but those of a proxy. `reached` is the address to which this machine connects."""
    if isinstance(error, tls.SSLCertVerificationError):
        return _explain_certificate(error, server)
    if isinstance(error, tls.SSLError):
        reason = error.reason or "connection closed"
        return f"{server} does not answer with TLS ({reason}): if it has no certificate, use ws:// in url", False
    if isinstance(error, InvalidHandshake | InvalidURI):
        return _explain_answer(error, uri, server), False
    if isinstance(error, socket.gaierror | UnicodeError):  # UnicodeError: a name that no DNS can have
        return f"the name of {reached} was not found: check the name, and this robot's network and DNS", True
    if isinstance(error, OSError):
        return _explain_socket(error, reached, server)
    return f"the connection to {server} failed: {type(error).__name__}", False


def _explain_socket(error: OSError, reached: str, server: str) -> tuple[str, bool]:
    # If a name has several addresses, asyncio joins their errors to one text and leaves out errno.
    numbers = {int(number) for number in re.findall(r"\[(?:Errno|WinError) (-?\d+)\]", str(error))}
    if numbers & _REFUSED:
        return f"{reached} refused the connection: check the port, and whether the program there runs", False
    if numbers & _NO_ANSWER or isinstance(error, TimeoutError):
        return f"{server} did not answer in time: check the address, and the firewalls on the way", False
    if numbers & _RESET or isinstance(error, ConnectionError):
        return f"{server} closed the connection before it was open: a firewall, or another program on this port?", False
    if numbers and numbers <= _NO_ROUTE:
        return f"there is no route to {reached}: check this robot's network", True
    return f"the connection to {reached} failed: {error.strerror or error}", False


def _explain_certificate(error: tls.SSLCertVerificationError, server: str) -> tuple[str, bool]:
    code, reason = error.verify_code, error.verify_message
    today = time.strftime("%Y-%m-%d", time.gmtime())
    if code == _NOT_YET_VALID:
        return f"the certificate of {server} is not yet valid: this robot's date is {today}; is its clock set?", True
    if code == _EXPIRED:
        return f"the certificate of {server} has expired: this robot's date is {today}", False
    if code in _OTHER_NAME:
        return f"the certificate of {server} is for another name: {reason}", False
    if code in _UNTRUSTED:
        return f"the certificate of {server} is not trusted ({reason}): set ca_file= to your company's own CA", False
    return f"the certificate of {server} is invalid: {reason}", False


def _explain_answer(error: InvalidHandshake | InvalidURI, uri: WebSocketURI, server: str) -> str:
    if isinstance(error, InvalidURI):
        to = urlsplit(error.uri)
        return f"{server} redirects to {to.scheme}://{to.hostname}, which is no WebSocket: a login page of the network?"
    status = error.response.status_code if isinstance(error, InvalidStatus) else None
    if status and status >= 500:
        return f"{server} is not ready: it answered HTTP {status}"
    hint = "" if uri.secure or status not in (None, 400) else "; if it expects TLS, use wss:// in url"
    if status:
        return f"{server} answered HTTP {status} and opened no WebSocket: check the address and its path{hint}"
    if isinstance(error, InvalidMessage):
        did = "closed the connection" if isinstance(error.__cause__, EOFError) else "sent something that is not HTTP"
        return f"{server} {did} in place of an answer: check the address and the port{hint}"
    return f"{server} answered, but opened no WebSocket ({type(error).__name__}): check the address and its path"


def _explain_proxy(error: ProxyError, proxy: str, server: str) -> str:
    if isinstance(error, InvalidProxyStatus):
        status = error.response.status_code
        if status == 407:
            return f"the proxy {proxy} asks for another user name and password; {_PROXY_EXPECTED}"
        return f"the proxy {proxy} did not connect to {server}: it answered HTTP {status}"
    if isinstance(error, InvalidProxyMessage):
        did = "closed the connection" if isinstance(error.__cause__, EOFError) else "sent something that is not HTTP"
        return f"the proxy {proxy} {did} in place of an answer"
    # A UnicodeError would show a character of the password.
    reason = "its user name or password is not ASCII" if isinstance(error.__cause__, UnicodeError) else error.__cause__
    return f"the proxy {proxy} did not connect to {server}: {reason}"


def _proxy_address(url: str) -> str | None:
    """Return a proxy's address without its user name and password, or None if it is no such address."""
    try:
        proxy = parse_proxy(url)
    except (InvalidProxy, ValueError, TypeError, AttributeError):
        return None
    return f"{proxy.scheme}://{_host_and_port(proxy.host, proxy.port)}"


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
