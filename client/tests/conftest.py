import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def spool_dir(tmp_path, monkeypatch):
    """Give each test a folder of its own for the spools of its clients."""
    monkeypatch.setenv("TELEOP_SPOOL_DIR", str(tmp_path / "spools"))
    return tmp_path / "spools"


@pytest.fixture
def v3(tmp_path):
    """Return a copy of a dataset v3.0 that LeRobot has written."""
    return shutil.copytree(DATA / "lerobot-v3.0-h264", tmp_path / "towels")


@pytest.fixture
def v21(tmp_path):
    """Return a copy of the same dataset as v2.1."""
    return shutil.copytree(DATA / "lerobot-v2.1-av1", tmp_path / "towels")
