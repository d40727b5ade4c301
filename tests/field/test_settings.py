"""Settings as people write them: each value that cannot be used stops the start with a sentence that names it."""

import os
import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from types import CodeType

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.services import ROOT, free_port

pytestmark = pytest.mark.once

SETTINGS = ROOT / "config/settings.py"
NAMES = set(re.findall(r'env\.\w+\(\s*"(\w+)"', SETTINGS.read_text()))
NUMBERS = sorted(name for name in NAMES if re.search(r"_PER_|_BYTES|_DAYS|_MS$", name))
FLAGS = ["DEBUG", "HTTPS", "ROBOT_AUTH_OPEN_ANYWHERE", "WEBSOCKET_DEFLATE"]
PASSWORD = "hunter2"

UNUSABLE = {
    **{name: ["-1", "many", "1.5", "64MiB", "1e3", "1 000", "9" * 19, "0x10", "None"] for name in NUMBERS},
    **{name: ["maybe", "2", "enabled", "-1", "true;"] for name in FLAGS},
    "SECRET_KEY": ["", "  ", '""'],
    "METRICS_TOKEN": ["two words", "пароль", "tab\there"],
    "ALLOWED_HOSTS": [",", "*.example.org", "my_robots", "münchen.de", "a,b!", "https://", "[::1", "a..b"],
    "CSRF_TRUSTED_ORIGINS": ["robots.example.org", "https://a/path", "ftp://a", "*", "https://", "https://a b", ","],
    "CORS_ALLOWED_ORIGINS": ["robots.example.org", "https://*.example.org", "*", "https://a:port", "https://u@a"],
    "TRUSTED_PROXIES": ["nginx", "10.0.0.1/33", "10.1.2.3/8", "10.0.0", "*", "10.0.0.1:80", "::g", "10.0.0.1-10.0.0.9"],
    "WEBHOOK_PRIVATE_NETWORKS": ["intranet", "10.0.0.1/33", "*"],
    "ROBOT_AUTH": ["keys", "none", "1"],
    "INGEST_WRITER": ["copy", "bulk"],
    "LOG_FORMAT": ["xml", "jsonl"],
    "BACKGROUND_WORK": ["off", "1"],
    "MEDIA_ROOT": ["~nobody-has-this-name/media"],
    "SILENCED_SYSTEM_CHECKS": ["all", "teleop", "teleop.W1", "W001"],
    "REDIS_URL": [
        "localhost:6379",
        "http://localhost",
        "redis:localhost",
        "redis://",
        f"redis://:{PASSWORD}",
        f"redis://:{PASSWORD}/x@localhost:6379/0",
        f"redis://:{PASSWORD}#x@localhost:6379/0",
        f"redis://:{PASSWORD}?x@localhost:6379/0",
        f"redis://:{PASSWORD}%@localhost:6379/0",
        f"redis://:{PASSWORD} x@localhost:6379/0",
        "redis://localhost:port/0",
        "redis://localhost:0/0",
        "redis://localhost:65536/0",
        "redis://localhost:-1/0",
        "redis://localhost/zero",
        "redis://localhost/0/1",
        "redis://localhost/0?db=first",
        "redis://localhost/0?no_such_parameter=1",
        "unix://",
        "unix://run/redis.sock",
    ],
    "DATABASE_URL": [
        "nonsense",
        "nonsense://x",
        f"mysql://teleop:{PASSWORD}@localhost/teleop",
        f"postgresql+psycopg://teleop:{PASSWORD}@localhost/teleop",
        f"psql 'postgresql://teleop:{PASSWORD}@localhost/teleop'",
        "postgresql:",
        "postgresql://",
        "postgresql://localhost",
        "postgresql://localhost/",
        "postgresql://localhost:port/teleop",
        "postgresql://localhost:0/teleop",
        "postgresql://one:5432,two:99999/teleop",
        "postgresql://[::1/teleop",
        "postgresql://localhost/teleop?no_such_parameter=1",
        "postgresql://localhost/teleop?sslmode",
        f"postgresql://teleop:{PASSWORD}/x@localhost/teleop",
        f"postgresql://teleop:{PASSWORD}#x@localhost/teleop",
        f"postgresql://teleop:{PASSWORD}?x@localhost/teleop",
        f"postgresql://teleop:{PASSWORD}%zz@localhost/teleop",
        f"postgresql://teleop:{PASSWORD}%00@localhost/teleop",
        f"postgresql://teleop:{PASSWORD} x@localhost/teleop",
        f"postgresql://localhost/teleop?password={PASSWORD}%zz",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:db.sqlite3",
        "sqlite://db.sqlite3",
        "sqlite:///folder/",
        "sqlite:///db.sqlite3?mode=ro",
    ],
}
HOSTS = ["robots.example.org", "[::1]"]
ACCEPTED = [
    ("DEBUG", "TRUE", True),
    ("DEBUG", " Yes ", True),
    ("DEBUG", '"off"', False),
    ("HTTPS", "", False),
    ("TOKEN_AGE_DAYS", " '30' ", 30),
    ("TOKEN_AGE_DAYS", "", 90),
    ("ROBOT_AUTH", "Key", "key"),
    ("LOG_FORMAT", "JSON", "json"),
    ("ALLOWED_HOSTS", "", ["localhost", "127.0.0.1", "[::1]"]),
    ("ALLOWED_HOSTS", " robots.example.org , [::1], ", HOSTS),
    ("ALLOWED_HOSTS", "robots.example.org [::1]", HOSTS),
    ("ALLOWED_HOSTS", "https://Robots.Example.org/,::1", HOSTS),
    ("ALLOWED_HOSTS", "robots.example.org:8000;[::1]:8000", HOSTS),
    ("ALLOWED_HOSTS", '"robots.example.org","[::1]"', HOSTS),
    ("ALLOWED_HOSTS", "'robots.example.org,[::1]'", HOSTS),
    ("ALLOWED_HOSTS", ".example.org,*", [".example.org", "*"]),
    ("CSRF_TRUSTED_ORIGINS", "https://A.example.org/, https://*.b.org", ["https://a.example.org", "https://*.b.org"]),
    ("CORS_ALLOWED_ORIGINS", "https://a.org:443/,http://b.org:8080,", ["https://a.org", "http://b.org:8080"]),
    (
        "TRUSTED_PROXIES",
        "10.0.0.7, 10.0.0.0/8,[::1],",
        [ip_network(f"{each}") for each in ("10.0.0.7", "10.0.0.0/8", "::1")],
    ),
    ("MEDIA_ROOT", "videos/", ROOT / "videos"),
    ("MEDIA_ROOT", "/srv/media", Path("/srv/media")),
    ("MEDIA_ROOT", "~/media", Path.home() / "media"),
    ("REDIS_URL", "redis://localhost/", "redis://localhost/"),
    ("REDIS_URL", ' "rediss://user:p%40ss@[::1]:6380/1" ', "rediss://user:p%40ss@[::1]:6380/1"),
    ("REDIS_URL", "unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ("SILENCED_SYSTEM_CHECKS", "teleop.W018, security.W004", ["teleop.W018", "security.W004"]),
]
POSTGRESQL = {"NAME": "teleop", "USER": "", "PASSWORD": "", "HOST": "localhost", "PORT": ""}
ADDRESSES = [
    ("postgresql://localhost/teleop", {}, {}),
    ("postgres://localhost:5433/teleop", {"PORT": "5433"}, {}),
    ('"postgresql://teleop@localhost/teleop"', {"USER": "teleop"}, {}),
    ("postgresql://t%40x:p%3A%2F%40@localhost/teleop", {"USER": "t@x", "PASSWORD": "p:/@"}, {}),
    ("postgresql://teleop:p@ss@localhost/teleop", {"USER": "teleop", "PASSWORD": "p@ss"}, {}),
    ("postgresql://[::1]:5432/teleop", {"HOST": "::1", "PORT": "5432"}, {}),
    ("postgresql:///teleop", {"HOST": ""}, {}),
    ("postgresql://%2Fvar%2Frun%2Fpostgresql/teleop", {"HOST": "/var/run/postgresql"}, {}),
    ("postgresql:///teleop?host=/var/run/postgresql", {"HOST": "/var/run/postgresql"}, {}),
    (
        "postgresql://one:5432,two:5433/teleop?target_session_attrs=read-write",
        {"HOST": "one,two", "PORT": "5432,5433"},
        {"target_session_attrs": "read-write"},
    ),
    (
        "postgresql://localhost/teleop?sslmode=verify-full&sslrootcert=/etc/ca.crt&options=-c%20search_path%3Drobots",
        {},
        {"sslmode": "verify-full", "sslrootcert": "/etc/ca.crt", "options": "-c search_path=robots"},
    ),
    ("postgresql://localhost/teleop?connect_timeout=2", {}, {"connect_timeout": "2"}),
]
FILES = [
    ("", str(ROOT / "db.sqlite3")),
    ("sqlite:///data/db.sqlite3", str(ROOT / "data/db.sqlite3")),
    ("sqlite:////srv/db.sqlite3", "/srv/db.sqlite3"),
    ("SQLITE:////srv/with%20space.sqlite3", "/srv/with space.sqlite3"),
    ("sqlite://:memory:", ":memory:"),
]


@pytest.fixture(scope="module")
def code() -> CodeType:
    """Return the compiled settings: compiling takes as long as reading them, which these tests do 400 times."""
    return compile(SETTINGS.read_text(), str(SETTINGS), "exec")


@pytest.fixture
def read(monkeypatch, code: CodeType):
    """Return a function that reads the settings from these environment variables alone."""

    def read(**variables: str) -> dict:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"SECRET_KEY": "long and random"} | variables).items():
            monkeypatch.setenv(name, value)
        found = {"__file__": str(SETTINGS)}
        exec(code, found)
        return found

    return read


def test_the_table_contains_every_setting():
    assert UNUSABLE.keys() == NAMES


@pytest.mark.parametrize("name", UNUSABLE)
def test_it_names_the_setting_that_cannot_be_used(read, name: str):
    for value in UNUSABLE[name]:
        with pytest.raises(ImproperlyConfigured, match=rf"^{name} (is|has) ") as refused:
            read(**{name: value})
            pytest.fail(f"{name}={value!r} is accepted")
        sentence = str(refused.value)
        assert "expected" in sentence or "percent-encode" in sentence or "cannot be used" in sentence, value
        assert "\n" not in sentence and PASSWORD not in sentence, value


@pytest.mark.parametrize(("name", "value", "expected"), ACCEPTED)
def test_it_accepts_a_value_as_people_write_it(read, name: str, value: str, expected):
    assert read(**{name: value})[name] == expected


@pytest.mark.parametrize(("url", "changes", "options"), ADDRESSES)
def test_it_accepts_every_form_of_a_postgresql_address(read, url: str, changes: dict, options: dict):
    found = read(DATABASE_URL=url)["DATABASES"]["default"]
    assert {key: found[key] for key in POSTGRESQL} == POSTGRESQL | changes
    assert options.items() <= found["OPTIONS"].items()
    assert "pool" in found["OPTIONS"]


@pytest.mark.parametrize(("url", "file"), FILES)
def test_it_accepts_a_file_of_sqlite(read, url: str, file: str):
    assert read(DATABASE_URL=url)["DATABASES"]["default"]["NAME"] == file


def test_it_suggests_three_or_four_slashes_for_a_sqlite_file(read):
    with pytest.raises(
        ImproperlyConfigured, match=r"sqlite:///db\.sqlite3 expected .* or sqlite:////db.sqlite3 for an abs"
    ):
        read(DATABASE_URL="sqlite://db.sqlite3")


def test_serve_reports_all_unusable_settings_in_one_line():
    command = [sys.executable, "manage.py", "serve", "--port", str(free_port())]
    environment = os.environ | {"REDIS_URL": f"redis://:{PASSWORD}/x@localhost/0", "TOKEN_AGE_DAYS": "many"}
    end = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert (end.returncode, end.stdout, end.stderr.count("\n")) == (1, "", 1)
    assert "TOKEN_AGE_DAYS is 'many'; a whole number from 0 to 36500 expected" in end.stderr
    assert "REDIS_URL is 'redis://***@localhost/0'; percent-encode" in end.stderr
