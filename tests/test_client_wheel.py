"""The wheels of the robots' client and of its plugin: their build, and their way from `serve` to a robot by pip."""

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
PLUGIN = tomllib.loads((ROOT / "client/lerobot_plugin/pyproject.toml").read_text())["project"]["version"]
CLIENT_WHEEL = f"teleop_client-{VERSION}-py3-none-any.whl"
PLUGIN_WHEEL = f"lerobot_robot_teleop-{PLUGIN}-py3-none-any.whl"
FILES = (
    *("LICENSE", "client/pyproject.toml", "client/README.md"),
    *("client/lerobot_plugin/pyproject.toml", "client/lerobot_plugin/README.md"),
)


def build(root: Path) -> dict[str, bytes]:
    """Run the script of the tree `root`; return the files that this tree offers then."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run([root / "deploy/build-client.sh"], env=os.environ | {"PATH": path}, check=True, timeout=60)
    return {file.name: file.read_bytes() for file in (root / "robots/static/client").iterdir()}


@pytest.fixture(scope="module")
def wheels() -> dict[str, bytes]:
    return build(ROOT)


@pytest.mark.long
def test_a_build_elsewhere_makes_the_same_bytes_and_removes_older_wheels(wheels: dict[str, bytes], tmp_path: Path):
    for folder in ("client/teleop_client", "client/lerobot_plugin/lerobot_robot_teleop", "deploy"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in FILES:
        shutil.copyfile(ROOT / file, tmp_path / file)  # with another time
    older = tmp_path / "robots/static/client/teleop_client-0.0.1-py3-none-any.whl"
    older.parent.mkdir(parents=True)
    older.touch()
    assert wheels.keys() == {CLIENT_WHEEL, PLUGIN_WHEEL}
    assert build(tmp_path) == wheels
    # setuptools' `build` folder would bring deleted modules back.
    names = {"teleop_client", "lerobot_plugin", "pyproject.toml", "README.md"}
    assert {file.name for file in (tmp_path / "client").iterdir()} == names


def test_a_robot_installs_the_client_and_the_plugin_without_a_login(
    wheels: dict[str, bytes], server: Server, tmp_path: Path
):
    path, target = f"/static/client/{CLIENT_WHEEL}", tmp_path / "robot"
    with Nginx(tmp_path, server, tmp_path) as nginx, urllib.request.urlopen(nginx.url + path, timeout=10) as answer:
        assert answer.read() == wheels[CLIENT_WHEEL]
        # The name stays the same while developing, so nobody may keep the file for long.
        headers = (answer.headers["Content-Type"], answer.headers["Cache-Control"])
        assert headers == ("application/octet-stream", "max-age=60, public")
    options = ["-q", "--no-deps", "--no-index", "--no-cache-dir", "--target", target]
    sources = [
        f"teleop-client[camera] @ {server.url}{path}",
        f"lerobot_robot_teleop @ {server.url}/static/client/{PLUGIN_WHEEL}",
    ]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *sources], check=True, timeout=60)
    program = [sys.executable, "-c", "import teleop_client; print(teleop_client.RobotClient, teleop_client.__file__)"]
    printed = subprocess.check_output(program, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(target)}, text=True)
    assert str(target / "teleop_client") in printed
    assert (target / "lerobot_robot_teleop/__init__.py").exists()


def test_documents_install_the_client_from_a_server_or_a_folder():
    """A bare name may belong to somebody else on PyPI."""
    offered = r"\S+/static/client/{}-({}|<version>)-py3-none-any.whl"
    client, plugin = offered.format("teleop_client", VERSION), offered.format("lerobot_robot_teleop", PLUGIN)
    from_a_server = rf'"(teleop-client(\[[a-z,]+\])? @ {client}|lerobot_robot_teleop @ {plugin})"'
    for document in (ROOT / "README.md", *(ROOT / "client").glob("**/README.md"), *(ROOT / "docs").glob("*.md")):
        for command in re.findall(r"pip install[^`\n]*", document.read_text()):
            assert "teleop" not in re.sub(from_a_server, "", command), f"{document}: {command}"
