"""The wheel of the robots' client: its build, and its way from `manage.py serve` to a robot by pip."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from tests.nginx import Nginx
from tests.services import ROOT, Server

pytestmark = pytest.mark.once
VERSION = tomllib.loads((ROOT / "client/pyproject.toml").read_text())["project"]["version"]
NAME = f"teleop_client-{VERSION}-py3-none-any.whl"


def build(root: Path) -> Path:
    """Run the script of the tree `root`; return the only file that this tree offers then."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run([root / "deploy/build-client.sh"], env=os.environ | {"PATH": path}, check=True, timeout=60)
    (wheel,) = (root / "robots/static/client").iterdir()
    return wheel


@pytest.fixture(scope="module")
def wheel() -> Path:
    return build(ROOT)


def test_a_build_elsewhere_makes_the_same_bytes_and_removes_older_wheels(wheel: Path, tmp_path: Path):
    for folder in ("client/teleop_client", "deploy"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ("LICENSE", "client/pyproject.toml", "client/README.md"):
        shutil.copyfile(ROOT / file, tmp_path / file)  # with another time
    older = tmp_path / "robots/static/client/teleop_client-0.0.1-py3-none-any.whl"
    older.parent.mkdir(parents=True)
    older.touch()
    again = build(tmp_path)
    assert (again.name, again.read_bytes()) == (NAME, wheel.read_bytes())
    # setuptools' `build` folder would bring deleted modules back.
    assert {file.name for file in (tmp_path / "client").iterdir()} == {"teleop_client", "pyproject.toml", "README.md"}


def test_a_robot_installs_the_client_without_a_login(wheel: Path, server: Server, tmp_path: Path):
    path, target = f"/static/client/{NAME}", tmp_path / "robot"
    with Nginx(tmp_path, server, tmp_path) as nginx, urllib.request.urlopen(nginx.url + path, timeout=10) as answer:
        assert answer.read() == wheel.read_bytes()
        # The name stays the same while developing, so nobody may keep the file for long.
        headers = (answer.headers["Content-Type"], answer.headers["Cache-Control"])
        assert headers == ("application/octet-stream", "max-age=60, public")
    options = ["-q", "--no-deps", "--no-index", "--no-cache-dir", "--target", target]
    pip = [sys.executable, "-m", "pip", "install", *options, f"teleop-client @ {server.url}{path}"]
    subprocess.run(pip, check=True, timeout=60)
    program = [sys.executable, "-c", "import teleop_client; print(teleop_client.RobotClient, teleop_client.__file__)"]
    printed = subprocess.check_output(program, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(target)}, text=True)
    assert str(target / "teleop_client") in printed


def test_documents_install_the_client_from_a_server_or_a_folder():
    """A bare name may belong to somebody else on PyPI."""
    wheel = rf"\S+/static/client/teleop_client-({VERSION}|<version>)-py3-none-any.whl"
    from_a_server = rf'"teleop-client(\[camera\])? @ {wheel}"'
    for document in (ROOT / "README.md", ROOT / "client/README.md", *(ROOT / "docs").glob("*.md")):
        for command in re.findall(r"pip install[^`\n]*", document.read_text()):
            assert "teleop" not in re.sub(from_a_server, "", command), f"{document}: {command}"
