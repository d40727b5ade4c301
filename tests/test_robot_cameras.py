"""A robot with two cameras, from its program to the films on the server: outages, kills, restarts."""

import bisect
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import pytest
from teleop_client import agent

from robots.models import Robot
from teleop.models import TeleopEvent, TeleopFrame, TeleopSession
from tests.services import Server, wait_until
from videos.models import VideoChunk

CAMERAS = ("front", "wrist")
FPS = 30
EXACT_S = 0.001
SAME_S = 0.0001  # a busy program sends frames in a burst
# The program shows frame n in 16 stripes of each picture, and as the joint `number`.
PROGRAM = """
import json, sys, time
import numpy as np
from teleop_client import RobotClient
url, key, first, seconds, then = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
client = RobotClient(url, "arm", key, session="two-cameras", meta_info={"task": "fold"}).start()
begin = time.monotonic()
for turn in range(round(seconds * 30)):
    number = first + turn
    bits = np.array([255 * (number >> bit & 1) for bit in range(16)], np.uint8)
    picture = np.repeat(np.tile(np.repeat(bits, 20), (240, 1))[:, :, None], 3, axis=2)
    client.send({"number": float(number), "front": picture, "wrist": picture}, {"number": float(number)})
    time.sleep(max(0, begin + (turn + 1) / 30 - time.monotonic()))
if then == "end":
    client.end(30)
print(json.dumps(client.stats.cameras), flush=True)
time.sleep(0 if then == "end" else 60)
"""


@pytest.fixture
def key(transactional_db) -> str:
    return Robot.objects.create(pk="arm").issue_key()


@pytest.fixture(autouse=True)
def spool_dir(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TELEOP_SPOOL_DIR", str(tmp_path / "spools"))
    return tmp_path / "spools"


def run(url: str, key: str, first: int, seconds: float, then: str) -> dict:
    """Run the robot's program; kill it when it has recorded for so long, or let it end the session."""
    command = [sys.executable, "-c", PROGRAM, url, key, str(first), str(seconds), then]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout
        line = process.stdout.readline()
        if then != "end":
            process.send_signal(signal.SIGKILL)
    return json.loads(line)


def numbers_and_times(chunk: VideoChunk) -> list[tuple[int, float]]:
    """Return the number that each picture of a film shows, and its unix time."""
    found = []
    with av.open(chunk.file_path.path) as container:
        for frame in container.decode(video=0):
            row = frame.to_ndarray(format="gray8")[120]
            number = sum((row[20 * bit + 10] > 127) << bit for bit in range(16))
            found.append((int(number), chunk.start_timestamp + float(frame.pts * frame.time_base)))
    return found


def pictures(camera: str) -> list[tuple[int, float]]:
    chunks = VideoChunk.objects.filter(camera_key=camera).order_by("start_timestamp")
    return [each for chunk in chunks for each in numbers_and_times(chunk)]


def check_pictures(most_missing: int) -> None:
    """Check that each picture has the time of its frame, and that nearly all frames have one, on every camera."""
    frames = {frame.data["observation"]["number"]: frame.timestamp.timestamp() for frame in TeleopFrame.objects.all()}
    for camera in CAMERAS:
        shown = pictures(camera)
        assert len(set(frames) - {number for number, _ in shown}) <= most_missing
        times = [time_s for _, time_s in shown]
        assert times == sorted(times)
        for number, time_s in shown:
            if number in frames:  # a kill may come between the picture and the frame
                assert abs(time_s - frames[number]) < EXACT_S
        # The replay shows at each moment the last picture up to it.
        for number, time_s in frames.items():
            place = bisect.bisect(times, time_s + SAME_S) - 1
            if place >= 0 and times[place] > time_s - SAME_S:
                assert shown[place][0] == number


@pytest.mark.once
@pytest.mark.timeout(120)
@pytest.mark.long
def test_the_films_of_a_robot_show_each_frame_at_its_time(server: Server, key: str, spool_dir: Path):
    counts = run(server.url, key, 0, 11, "end")
    dropped = max(counts[camera]["dropped"] for camera in CAMERAS)  # on a busy machine
    assert all(counts[camera]["encoded"] + counts[camera]["dropped"] == 11 * FPS for camera in CAMERAS)
    assert [chunk.timing for chunk in VideoChunk.objects.all()] == ["exact"] * 4
    check_pictures(most_missing=dropped)
    assert not list(spool_dir.glob("arm/*"))


@pytest.mark.once
@pytest.mark.long
@pytest.mark.timeout(120)
def test_films_survive_an_outage_a_kill_and_a_restart(server: Server, key: str, spool_dir: Path):
    run(server.url, key, 0, 3, "kill")
    server.stop()
    run(server.url, key, 1000, 3, "kill")
    server.start()
    run(server.url, key, 2000, 3, "end")
    wait_until(lambda: not list(spool_dir.glob("arm/*/films/*/*.mp4")) or _drained(spool_dir, server.url, key))
    assert TeleopFrame.objects.count() == 270
    check_pictures(most_missing=2 * FPS)  # the last second before each kill
    assert TeleopSession.objects.get().skipped_frames > 0
    assert {event.kind for event in TeleopEvent.objects.all()} == {"restart"}


def _drained(spool_dir: Path, url: str, key: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys"
        file.write_text(f"arm {key}\n")
        file.chmod(0o600)
        return agent.main(["--spool-dir", str(spool_dir), "drain", "--url", url, "--keys", str(file)]) == 0
