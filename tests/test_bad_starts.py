"""Faults with which `serve` refuses to start, reported in one line, and faults with which it starts."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from teleop.management.commands import serve
from tests.robot_socket import frame, robot_socket
from tests.services import Server, free_port, is_ok

pytestmark = pytest.mark.once


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
    with pytest.raises(CommandError, match=r"MEDIA_ROOT is .*/file; a folder that this user can write to expected"):
        call_command("serve", port=0)
    assert begun == []


class WithoutRedis(Server):
    def answers(self) -> bool:
        """Return whether the server is alive; /health names the parts that are missing."""
        return is_ok(f"{self.url}/health/live")


@pytest.mark.long
def test_it_starts_and_serves_without_redis(transactional_db, _server: Server, tmp_path: Path):
    settings = _server.settings | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "ROBOT_AUTH": "open"}
    with WithoutRedis(tmp_path, "--workers", "2", **settings) as server, robot_socket(server, key=None) as robot:
        robot.send(frame(0))
        robot.receive_until_ack(0)
