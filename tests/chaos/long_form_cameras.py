"""A robot with two cameras, killed again and again: each kill costs at most the last second of each camera."""

import logging
import os
import random
from pathlib import Path

import pytest

from teleop.models import TeleopFrame, TeleopSession
from tests.services import Server, wait_until
from tests.test_robot_cameras import CAMERAS, FPS, _drained, check_pictures, key, pictures, run, spool_dir

logger = logging.getLogger(__name__)
__all__ = ["key", "spool_dir"]  # fixtures

KILLS = int(os.environ.get("CAMERA_KILLS", 20))
APART = 1000  # the frames of run n have the numbers from n * APART


@pytest.mark.once
@pytest.mark.timeout(600)
def test_kills_cost_at_most_the_last_second_of_each_camera(server: Server, key: str, spool_dir: Path):
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    logger.info("seed %d", seed)
    dropped: dict[str, int] = dict.fromkeys(CAMERAS, 0)
    for number in range(KILLS):
        is_away = rng.random() < 0.5
        if is_away:
            server.stop()
        counts = run(server.url, key, number * APART, rng.uniform(0.2, 4), "kill")
        dropped = {camera: dropped[camera] + counts[camera]["dropped"] for camera in CAMERAS}
        if is_away:
            server.start()
    run(server.url, key, KILLS * APART, 1, "end")
    wait_until(lambda: not list(spool_dir.glob("arm/*/films/*/*.mp4")) or _drained(spool_dir, server.url, key))

    numbers = sorted(int(frame.data["observation"]["number"]) for frame in TeleopFrame.objects.all())
    last_of = {number // APART: number for number in numbers}  # each run's last frame
    lost = []
    for camera in CAMERAS:
        shown = {number for number, _ in pictures(camera)}
        missing = [number for number in numbers if number not in shown]
        late = [last_of[number // APART] - number for number in missing]
        assert sum(frames >= FPS for frames in late) <= dropped[camera], "pictures before the last second are lost"
        lost.append(max(late, default=-1) + 1)
    logger.info("most pictures that a kill cost each camera: %s; dropped by the cameras: %s", lost, dropped)
    check_pictures(most_missing=KILLS * FPS)
    session = TeleopSession.objects.get()
    assert session.skipped_frames > 0
    assert len(last_of) == KILLS + 1, "a whole run of frames is lost"
