"""Read settings from environment variables, as people write them, and collect every value that cannot be used."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from robots.client_address import Network, parse_network

T = TypeVar("T")

BOOLEANS = dict.fromkeys(("1", "true", "yes", "on", "t", "y"), True) | dict.fromkeys(
    ("0", "false", "no", "off", "f", "n"), False
)
HOST = re.compile(r"\*|\.?[a-z0-9-]+(\.[a-z0-9-]+)*\.?|\[[0-9a-f:.]+\]")
ORIGIN = re.compile(r"https?://(\*\.)?([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:\d{1,5})?")
CHECK_ID = re.compile(r"\w+(\.\w+)*\.[A-Z]\d{3}")
UNUSABLE_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})|%00")
CREDENTIALS = re.compile(r"(?<=://)(?:.*(?=@)|:[^/]*)|(?<=pass=)[^&]*|(?<=password=)[^&]*")
ENCODE = "percent-encode @ : / ? # % and spaces in its user and password (@ is %40)"


class Environment:
    """Reader of environment variables. An empty variable counts as not set; quotes and spaces around it are dropped.

    A value that cannot be used becomes a sentence in `problems`, and the reader returns the default.
    """

    def __init__(self, variables: Mapping[str, str]):
        self._variables = variables
        self.problems: list[str] = []

    def check(self) -> None:
        if self.problems:
            raise ImproperlyConfigured("; ".join(self.problems))

    def text(self, name: str, default: str = "", choices: Sequence[str] = ()) -> str:
        def convert(text: str) -> str:
            if choices and text.lower() not in choices:
                raise ValueError(f"{' or '.join(choices)} expected")
            return text.lower() if choices else text

        return self._read(name, default, convert)

    def secret(self, name: str) -> str:
        """Read a secret that clients send in a header."""
        value = self.text(name)
        if not re.fullmatch(r"[!-~]*", value):
            self.problems.append(f"{name} has a character that a header cannot carry; letters, digits and - _ expected")
        return value

    def flag(self, name: str, default: bool) -> bool:
        def convert(text: str) -> bool:
            if text.lower() not in BOOLEANS:
                raise ValueError("1, 0, true or false expected")
            return BOOLEANS[text.lower()]

        return self._read(name, default, convert)

    def number(self, name: str, default: T, least: int = 0, most: int = 2**31 - 1) -> int | T:
        def convert(text: str) -> int:
            if not re.fullmatch(r"\d{1,20}", text, re.ASCII) or not least <= int(text) <= most:
                raise ValueError(f"a whole number from {least} to {most} expected")
            return int(text)

        return self._read(name, default, convert)

    def path(self, name: str, default: Path, base: Path) -> Path:
        return self._read(name, default, lambda text: base / _home_expanded(text))

    def check_ids(self, name: str) -> list[str]:
        return self._read(name, [], lambda text: _each(text, _check_id))

    def hosts(self, name: str, default: list[str]) -> list[str]:
        return self._read(name, default, lambda text: _each(text, _host))

    def origins(self, name: str, wildcards: bool = False) -> list[str]:
        return self._read(name, [], lambda text: _each(text, lambda item: _origin(item, wildcards)))

    def networks(self, name: str) -> list[Network]:
        return self._read(name, [], lambda text: _each(text, parse_network))

    def database(self, name: str, default: str, base: Path) -> dict[str, Any]:
        """Return Django's settings of the database that a URL names; relative files of SQLite are in `base`."""
        return self._read(name, database_settings(default, base), lambda text: database_settings(text, base))

    def redis(self, name: str) -> str:
        return self._read(name, "", _redis_url)

    def _read(self, name: str, default: Any, convert: Callable[[str], Any]) -> Any:
        text = _unquoted(self._variables.get(name, ""))
        try:
            return convert(text) if text else default
        except ValueError as error:
            self.problems.append(f"{name} is {masked(text)!r}; {error}")
            return default


def masked(url: str) -> str:
    """Return the URL without its user and password, also if these are not percent-encoded."""
    return CREDENTIALS.sub("***", url)


def database_settings(url: str, base: Path) -> dict[str, Any]:
    """Return Django's settings of a database; ValueError with a sentence if the URL cannot be used."""
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": _sqlite_name(url, base)}
    if scheme in ("postgresql", "postgres", "pgsql"):
        return {"ENGINE": "config.postgresql", **_postgresql_settings(url)}
    raise ValueError("sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME expected")


def _sqlite_name(url: str, base: Path) -> str:
    rest = url.partition(":")[2]
    if rest in ("//:memory:", "///:memory:"):
        return ":memory:"
    named = unquote(rest.lstrip("/"))
    if not rest.startswith("///") and named:
        raise ValueError(
            f"two slashes name no file: sqlite:///{named} expected for a file beside manage.py, or sqlite:////{named} "
            "for an absolute path"
        )
    if not named or rest.endswith("/") or "?" in rest or "#" in rest:
        raise ValueError("sqlite:///FILE expected, without parameters")
    return str(base / _home_expanded(unquote(rest[3:])))


def _postgresql_settings(url: str) -> dict[str, Any]:
    from psycopg import Error, conninfo  # here, as its import takes 0.1 s, and SQLite needs none of it

    credentials, hosts, beyond = _parts(url)
    try:
        options = conninfo.conninfo_to_dict(f"postgresql://{credentials.replace('@', '%40')}@{hosts}{beyond}")
    except Error as error:
        raise ValueError(f"{masked(str(error).strip())}; postgresql://USER:PASSWORD@HOST/NAME expected") from None
    ports = str(options.pop("port", ""))
    if not all(port == "" or _is_port(port) for port in ports.split(",")):
        raise ValueError(f"a port from 1 to 65535 expected; {ENCODE}")
    if not options.get("dbname") and not options.get("service"):
        raise ValueError("the name of the database is missing: postgresql://USER:PASSWORD@HOST/NAME expected")
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host"}
    return {key: options.pop(name, "") for key, name in names.items()} | {"PORT": ports, "OPTIONS": options}


def _redis_url(url: str) -> str:
    scheme = url.partition(":")[0].lower()
    if scheme not in ("redis", "rediss", "unix"):
        raise ValueError("redis://:PASSWORD@HOST:6379/0 expected, or rediss://, or unix:///FILE")
    _, host, beyond = _parts(url)
    path, _, query = beyond.partition("?")
    if scheme == "unix" and (host or len(path) < 2):
        raise ValueError("the path of the socket is missing: unix:///run/redis/redis.sock expected")
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if scheme != "unix" and not (_is_port(port) and name if colon else host):
        raise ValueError(f"a host, and a port from 1 to 65535 expected; {ENCODE}")
    if scheme != "unix" and not re.fullmatch(r"/?|/\d{1,5}/?", path, re.ASCII):
        raise ValueError(f"the number of its database expected after the host, as in /0; {ENCODE}")
    if query:
        _try_redis_parameters(url)
    return url


def _try_redis_parameters(url: str) -> None:
    from redis import ConnectionPool, RedisError  # here, as its import takes 0.1 s

    try:
        ConnectionPool.from_url(url).make_connection()  # this does not connect
    except (TypeError, ValueError, RedisError) as error:
        raise ValueError(f"its parameters cannot be used: {error}") from None


def _parts(url: str) -> tuple[str, str, str]:
    """Return credentials, hosts, and the rest of a URL; ValueError if a delimiter makes them ambiguous."""
    _, slashes, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    beyond = rest[len(authority) :]
    if not slashes or "@" in beyond or "#" in beyond or UNUSABLE_ESCAPE.search(url) or re.search(r"\s", url):
        raise ValueError(ENCODE)
    credentials, _, host = authority.rpartition("@")
    return credentials, host, beyond


def _is_port(text: str) -> bool:
    return re.fullmatch(r"\d{1,5}", text, re.ASCII) is not None and 0 < int(text) < 65536


def _each(text: str, convert: Callable[[str], T]) -> list[T]:
    items = [_unquoted(item) for item in re.split(r"[\s,;]+", text)]
    converted = [convert(item) for item in items if item]
    if not converted:
        raise ValueError("names separated by commas expected, or no value at all")
    return converted


def _host(text: str) -> str:
    """Return a host as Django compares it, also from a URL or from HOST:PORT."""
    host = text.lower().partition("://")[2] or text.lower()
    host = host.partition("/")[0]
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    host = re.sub(r":\d+$", "", host) if not host.endswith("]") else host
    if not HOST.fullmatch(host):
        raise ValueError(f"{text!r} is no host; robots.example.org, .example.org for all below it, or * expected")
    return host


def _origin(text: str, wildcards: bool) -> str:
    """Return an origin as browsers send it: in lower case, without a slash and without the scheme's own port."""
    origin = text.lower().rstrip("/")
    origin = origin.removesuffix(":443" if origin.startswith("https:") else ":80")
    if not ORIGIN.fullmatch(origin) or ("*" in origin and not wildcards):
        raise ValueError(f"{text!r} is no origin; https://robots.example.org expected")
    return origin


def _check_id(text: str) -> str:
    if not CHECK_ID.fullmatch(text):
        raise ValueError(f"{text!r} is no id of a check; ids like teleop.W001 expected")
    return text


def _home_expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{error}; an absolute path expected") from None


def _unquoted(text: str) -> str:
    """Remove spaces and one pair of quotes: `docker run --env-file` keeps the quotes of a file."""
    text = text.strip()
    quoted = re.fullmatch(r"""(["'])((?:(?!\1).)*)\1""", text)
    return quoted[2].strip() if quoted else text
