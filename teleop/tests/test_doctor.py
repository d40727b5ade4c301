"""`manage.py doctor`: its findings, and exit code 1 only for failures."""

import os
import re
import subprocess
import sys

import pytest
from django.core.management import call_command

from robots.models import Robot
from teleop.monitoring import checks
from tests.services import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_the_tests_transaction(monkeypatch):
    monkeypatch.setattr(checks, "use_dedicated_connection", lambda: None)


def findings() -> dict[str, checks.Finding]:
    return dict(checks.examine())


def test_it_exits_with_0_if_no_check_fails(capsys):
    with pytest.raises(SystemExit) as end:
        call_command("doctor")
    assert end.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) == len(checks.CHECKS)


def test_it_warns_about_a_robot_without_a_key():
    Robot.objects.create(pk="arm")
    assert findings()["keys"] == checks.warning(
        "1 robots have none and cannot connect", "python manage.py robot_key ID"
    )


def test_it_warns_about_debug_and_open_robot_auth(settings):
    settings.DEBUG, settings.ROBOT_AUTH = True, "open"
    found = findings()
    assert (found["security"].verdict, found["keys"].verdict) == (checks.Verdict.WARNING,) * 2


def test_it_warns_about_any_host_and_robot_auth_open_anywhere(settings):
    settings.ALLOWED_HOSTS, settings.ROBOT_AUTH, settings.ROBOT_AUTH_OPEN_ANYWHERE = ["*"], "open", True
    found = findings()
    assert found["security"].verdict is checks.Verdict.WARNING
    assert found["security"].what.startswith("ALLOWED_HOSTS is *")
    assert "ROBOT_AUTH_OPEN_ANYWHERE" in found["keys"].what


def test_it_names_the_version_of_ffmpeg():
    assert re.fullmatch(r"FFmpeg \d+\.\d+\S* in av \d\S+", findings()["ffmpeg"].what)


def test_it_fails_if_a_folder_is_not_writable(settings, monkeypatch):
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    assert findings()["disk"].verdict is checks.Verdict.FAILED


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "failed   database       OperationalError"),
        ({"DATABASE_URL": "sqlite:///:memory:"}, "failed   migrations"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "failed   channel layer  ConnectionError"),
    ],
)
def test_it_fails_for_an_unavailable_service_and_runs_the_other_checks(environment, line):
    command = [sys.executable, "manage.py", "doctor"]
    end = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=50)
    assert end.returncode == 1
    assert line in end.stdout
    assert len(end.stdout.splitlines()) == len(checks.CHECKS)
    assert "Traceback" not in end.stderr
