"""`manage.py doctor`: its findings, and exit code 1 only for failures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from robots.models import Robot
from teleop import checks as system_checks
from teleop.monitoring import checks
from teleop.monitoring import database as requirements
from tests.services import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_the_tests_transaction(monkeypatch):
    monkeypatch.setattr(checks, "use_dedicated_connection", lambda: None)


def findings() -> dict[str, checks.Finding]:
    return dict(checks.examine())


def ids() -> set[str]:
    return {finding.id for _, finding in checks.examine()} - {""}


def test_it_exits_with_0_if_no_check_fails(capsys):
    with pytest.raises(SystemExit) as end:
        call_command("doctor")
    assert end.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) >= len(checks.CHECKS)


def test_it_warns_about_a_robot_without_a_key():
    Robot.objects.create(pk="arm")
    assert findings()["keys"] == checks.warning(
        "teleop.W018", "1 robots have no key and cannot connect", "run python manage.py robot_key ID"
    )


def test_it_warns_about_debug_and_open_robot_auth(settings):
    settings.DEBUG, settings.ROBOT_AUTH = True, "open"
    assert {"security.W018", "teleop.W101"} <= ids()


def test_it_warns_about_any_host_and_robot_auth_open_anywhere(settings):
    settings.ALLOWED_HOSTS, settings.ROBOT_AUTH, settings.ROBOT_AUTH_OPEN_ANYWHERE = ["*"], "open", True
    found = {finding.id: finding.what for _, finding in checks.examine()}
    assert "ROBOT_AUTH_OPEN_ANYWHERE" in found["teleop.W101"]
    assert found["teleop.W102"].startswith("ALLOWED_HOSTS is *")


def test_it_names_https_without_a_trusted_proxy(settings):
    settings.HTTPS, settings.TRUSTED_PROXIES = True, []
    assert "teleop.I103" in ids()


def test_it_shows_the_findings_of_check_deploy_with_their_ids():
    messages = run_checks(include_deployment_checks=True)
    assert {message.id for message in messages} <= ids()


def test_it_does_not_show_silenced_findings(settings):
    Robot.objects.create(pk="arm")
    settings.ROBOT_AUTH = "key"
    assert {"teleop.W018", "security.W004"} <= ids()
    settings.SILENCED_SYSTEM_CHECKS = ["teleop.W018", "security.W004"]
    assert not {"teleop.W018", "security.W004"} & ids()


def test_deploy_documents_every_id():
    sources = [Path(checks.__file__), Path(system_checks.__file__), Path(requirements.__file__)]
    used = set(re.findall(r"teleop\.[EWI]\d{3}", "".join(source.read_text() for source in sources)))
    documented = set(re.findall(r"`(teleop\.[EWI]\d{3})`", (ROOT / "docs/deploy.md").read_text()))
    assert used == documented


@pytest.mark.sqlite
def test_it_names_the_wal_of_sqlite():
    what = findings()["database"].what
    assert "-wal" in what and ".backup" in what


def test_it_names_the_version_of_ffmpeg():
    assert re.fullmatch(r"FFmpeg \d+\.\d+\S* in av \d\S+", findings()["ffmpeg"].what)


def test_it_fails_if_a_folder_is_not_writable(settings, monkeypatch):
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    assert findings()["disk"].verdict is checks.Verdict.FAILED


@pytest.mark.once
@pytest.mark.parametrize(
    ("environment", "lines"),
    [
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/none"}, ["failed   database       connection failed: "]),
        pytest.param(
            {"DATABASE_URL": "sqlite:///:memory:", "REDIS_URL": "redis://127.0.0.1:1/0"},
            ["failed   migrations", "failed   channel layer  ConnectionError"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_it_fails_for_an_unavailable_service_and_runs_the_other_checks(environment, lines):
    command = [sys.executable, "manage.py", "doctor"]
    end = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=50)
    assert end.returncode == 1
    assert all(line in end.stdout for line in lines), end.stdout
    assert len(end.stdout.splitlines()) >= len(checks.CHECKS)
    assert "Traceback" not in end.stderr
