"""Kill exports at random moments: no half dataset is ever visible, and the next run completes it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets.tests.entries import BEGIN_S, session_of
from datasets.tests.film_chunks import chunk_of
from datasets.tests.test_export_command import FPS, frame, hashes
from tests.services import ROOT
from videos.tests.film_files import encoded

KILLS = int(os.environ.get("EXPORT_KILLS", "1"))  # `make chaos` sets 20
SECONDS, SESSIONS = (20, 3) if KILLS > 1 else (4, 1)


@pytest.fixture
def environment(transactional_db, database_url: str, settings, tmp_path: Path) -> dict[str, str]:
    """Record sessions, each with a film to copy and one to encode again."""
    settings.MEDIA_ROOT = tmp_path / "media"
    films = {
        "front": encoded(tmp_path / "front.mp4", times=range(SECONDS * FPS), g="10", bf="0"),
        "wrist": encoded(tmp_path / "wrist.mp4", times=range(SECONDS * FPS), bf="2"),
    }
    for _ in range(SESSIONS):
        session = session_of([frame(index) for index in range(SECONDS * FPS)], fps=FPS)
        for camera, film in films.items():
            chunk_of(session, film, BEGIN_S, SECONDS, camera)
    return os.environ | {"DATABASE_URL": database_url, "MEDIA_ROOT": str(settings.MEDIA_ROOT)}


def start(target: Path, environment: dict[str, str], *options: str) -> subprocess.Popen:
    command = [sys.executable, "manage.py", "export", str(target), *options]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.once
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_killed_export_leaves_nothing_visible_and_the_next_one_completes(environment, tmp_path: Path):
    began = time.monotonic()
    whole, target = tmp_path / "whole", tmp_path / "out"
    assert start(whole, environment).wait() == 0
    lasts_s = time.monotonic() - began
    again = ["--manifest", str(whole / "export/manifest.json")]
    for _ in range(KILLS):
        with start(target, environment, *again) as process:
            try:
                process.wait(random.uniform(0.3, 0.98) * lasts_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        if target.exists():  # it was killed after the rename, or was faster than the first one
            assert hashes(target) == hashes(whole)
            target.rename(tmp_path / f"done-{time.monotonic_ns()}")
    assert start(target, environment, *again).wait() == 0
    assert hashes(target) == hashes(whole)
    assert not list(tmp_path.glob("*.partial"))
