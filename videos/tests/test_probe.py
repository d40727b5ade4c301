"""A process with resource limits examines files, a few at a time."""

import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.services import wait_until
from videos import probe
from videos.probe import NoVideo, ProbesBusy, seconds_of_video
from videos.tests.mp4_boxes import claiming
from videos.tests.video_files import film, upload


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chunk.mp4"
    path.write_bytes(film())
    return path


def test_it_returns_the_duration_of_a_video(file):
    assert seconds_of_video(file) == 1.0


@pytest.mark.parametrize("tracks, pictures", [(1, 50_000_000), (50, 2_000_000)])
def test_it_refuses_millions_of_declared_frames_with_little_memory(file, tracks, pictures):
    """Two files of 600 bytes and 22 KB; the server took 1.9 and 3.7 GB of memory for them."""
    file.write_bytes(claiming(tracks, pictures))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NoVideo, match=f"it has {pictures} video frames; at most 500000 expected"):
        seconds_of_video(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 2**10


@pytest.mark.django_db
def test_the_upload_returns_400_with_the_reason(admin, session):
    answer = upload(admin, session, claiming(50, 2_000_000))
    assert answer.status_code == 400
    assert answer.json() == {
        "file": ["file is not a usable video: it has 2000000 video frames; at most 500000 expected"]
    }


@pytest.mark.parametrize(
    "number, reason", [(signal.SIGXCPU, "more than 10 s of processor time"), (signal.SIGSEGV, "FFmpeg cannot read it")]
)
def test_it_refuses_the_file_if_the_probe_process_is_killed(file, monkeypatch, number, reason):
    monkeypatch.setattr(probe, "COMMAND", ["sh", "-c", f"kill -{int(number)} $$"])
    with pytest.raises(NoVideo, match=reason):
        seconds_of_video(file)


def test_it_reports_a_probe_timeout_as_busy(file, monkeypatch):
    monkeypatch.setattr(probe, "COMMAND", ["sh", "-c", "exec sleep 60"])
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.1)
    with pytest.raises(ProbesBusy, match="could not be checked within"):
        seconds_of_video(file)


def test_it_probes_two_files_at_once_and_limits_the_queue(file, monkeypatch):
    running, most, gate = [], [], threading.Event()

    def ask(path):
        running.append(path)
        most.append(len(running))
        gate.wait()
        running.remove(path)
        return 1.0

    monkeypatch.setattr(probe, "_ask_process", ask)
    monkeypatch.setattr(probe, "waiting", threading.BoundedSemaphore(3))
    with ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(seconds_of_video, file) for _ in range(5)]
        wait_until(lambda: len(running) == 2 and not probe.waiting.acquire(blocking=False), what="three that wait")
        with pytest.raises(ProbesBusy, match="uploads already wait to be checked"):
            seconds_of_video(file)
        gate.set()
        assert [answer.result() for answer in answers] == [1.0] * 5
    assert max(most) == 2


@pytest.mark.django_db
def test_it_returns_503_with_retry_after_if_the_wait_is_too_long(admin, session, monkeypatch):
    monkeypatch.setattr(probe, "WAIT_S", 0.01)
    with probe.places, probe.places:
        answer = upload(admin, session)
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert answer.json()["detail"].startswith("2 other uploads are being checked, and this one has waited for 0.01 s")
