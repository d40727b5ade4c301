import pytest


@pytest.fixture(autouse=True)
def spool_dir(tmp_path, monkeypatch):
    """Give each test a folder of its own for the spools of its clients."""
    monkeypatch.setenv("TELEOP_SPOOL_DIR", str(tmp_path / "spools"))
    return tmp_path / "spools"
