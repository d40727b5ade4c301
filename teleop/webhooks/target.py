"""The address of a webhook, as an administrator enters it."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

MAX_URL = 500
PORTS = {"http": 80, "https": 443}


class Target(NamedTuple):
    """Where a request goes. `path` includes the query; `host` is a name, or an address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(url: str) -> Target:
    """Return the target of a URL; ValueError with a sentence if the URL cannot be used."""
    if len(url) > MAX_URL:
        raise ValueError(f"the URL has {len(url)} characters; at most {MAX_URL} expected")
    if not re.fullmatch(r"[!-~]+", url):
        raise ValueError("the URL has a space or a character outside ASCII; percent-encode it (a host: as xn--...)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"the URL cannot be read: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{url[:100]!r} is no URL of HTTP; https://hooks.example.org/path expected")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL has a user or a password; receivers verify the signature in their place")
    if parts.fragment:
        raise ValueError(f"the URL has a fragment (#{parts.fragment[:50]}); servers do not receive it, so remove it")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port, path)


def check_url(url: str) -> None:
    """Validate the field of a form."""
    try:
        parse_url(url)
    except ValueError as error:
        raise ValidationError(str(error)) from None
