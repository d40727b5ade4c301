"""Faults with which `serve` refuses to start, reported in one line, and faults with which it starts."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import ConnectionHandler, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from teleop.management.commands import serve
from tests.robot_socket import frame, robot_socket
from tests.services import ROOT, Postgres, Server, free_port, postgres

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("DATABASE_URL", "nonsense://x", "DATABASE_URL: Not a valid database URL."),
        (
            "DATABASE_URL",
            "mysql://x/y",
            "DATABASE_URL is for django.db.backends.mysql; sqlite:///FILE or postgresql://",
        ),
        ("REDIS_URL", "http://x", "REDIS_URL is not usable; redis://host:port/0 expected"),
    ],
)
def test_it_reports_an_invalid_setting_in_one_line(name: str, value: str, said: str):
    command = [sys.executable, "manage.py", "serve", "--port", str(free_port())]
    end = subprocess.run(command, cwd=ROOT, env=os.environ | {name: value}, capture_output=True, text=True, timeout=30)
    assert (end.returncode, end.stdout) == (1, "")
    assert end.stderr.startswith(f"ImproperlyConfigured: {said}")
    assert end.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """Yield a PostgreSQL that asks for a password."""
    with postgres() as service:
        (service.folder / "data/pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        service.execute("CREATE USER teleop PASSWORD 'right'")
        service.execute("SELECT pg_reload_conf()")
        yield service


def postgresql(**settings: object) -> BaseDatabaseWrapper:
    settings = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1"} | settings
    return ConnectionHandler({"default": settings})["default"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change, said",
    [
        ({"PORT": 1}, "Connection refused"),
        ({"PASSWORD": "wrong"}, 'password authentication failed for user "teleop"'),
        ({"NAME": "none"}, 'database "none" does not exist'),
    ],
)
def test_it_reports_an_unusable_database_in_one_line(database: Postgres, change: dict, said: str):
    settings = {"PORT": database.port, "NAME": "postgres", "USER": "teleop", "PASSWORD": "right"} | change
    with pytest.raises(CommandError, match="the database of DATABASE_URL cannot be used: ") as refused:
        serve.check_database(postgresql(**settings))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.django_db
def test_it_does_not_serve_before_the_migrations(database: Postgres):
    with pytest.raises(CommandError, match=r"migrations are not applied, .*: python manage.py migrate$"):
        serve.check_database(postgresql(PORT=database.port, NAME="postgres", USER="postgres"))


@pytest.fixture
def begun(monkeypatch) -> list[str]:
    """Return the list of addresses that `serve` would serve on."""
    begun: list[str] = []
    monkeypatch.setattr(serve.Command, "serve", lambda self, host, port: begun.append(host))
    return begun


def test_it_serves_on_a_database_that_is_newer_than_the_code(transactional_db, begun: list[str]):
    later = MigrationRecorder(connection)
    later.record_applied("teleop", "9999_of_a_later_version")
    try:
        call_command("serve", port=0)
    finally:
        later.record_unapplied("teleop", "9999_of_a_later_version")
    assert begun == ["127.0.0.1"]


def test_it_reports_an_unwritable_media_root(transactional_db, settings, tmp_path: Path, begun: list[str]):
    settings.MEDIA_ROOT = tmp_path / "file"
    settings.MEDIA_ROOT.touch()
    with pytest.raises(CommandError, match=r"MEDIA_ROOT is .*/file; a folder that this user may write to expected"):
        call_command("serve", port=0)
    assert begun == []


class WithoutRedis(Server):
    def answers(self) -> bool:
        """Return whether the server is alive; /health names the parts that are missing."""
        try:
            return urllib.request.urlopen(f"{self.url}/health/live", timeout=5).status == 200
        except OSError:
            return False


def test_it_starts_and_serves_without_redis(transactional_db, _server: Server, tmp_path: Path):
    settings = _server.settings | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "ROBOT_AUTH": "open"}
    server = WithoutRedis(tmp_path, "--workers", "2", **settings).start()
    try:
        with robot_socket(server, key=None) as robot:
            robot.send(frame(0))
            robot.receive_until_ack(0)
    finally:
        server.stop()
