"""A process examines films, each in a process of its own with limits, a few at a time."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.services import ROOT, wait_until
from videos import probe as probing
from videos.film.examine import examine
from videos.probe import NoVideo, ProbesBusy, ProbeServer, probe
from videos.tests.film_files import FILMS
from videos.tests.mp4_boxes import claiming, oversized
from videos.tests.video_files import film, upload


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chunk.mp4"
    path.write_bytes(film())
    return path


@pytest.fixture
def server(monkeypatch):
    """Yield a server of its own, which ends with the test."""
    server = ProbeServer()
    monkeypatch.setattr(probing, "_server", server)
    yield server
    if server._process:
        server._process.kill()
        server._process.wait()


@pytest.fixture
def endless(tmp_path):
    """Return a file that a probe waits for."""
    os.mkfifo(path := tmp_path / "endless.mp4")
    return path


@pytest.fixture
def ask():
    with ThreadPoolExecutor() as threads:
        yield lambda path: threads.submit(probe, path)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def probe_of(server: ProbeServer) -> int:
    """Return the process id of the only probe."""
    return wait_until(lambda: server._process and children_of(server._process.pid))[0]


def test_it_returns_the_facts_of_a_video(file):
    assert probe(file) == examine(file)


def test_it_works_in_a_server_with_more_than_1024_descriptors(file):
    """One for each robot and page; select() takes no higher number."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (least, most))
        for _ in range(1100):
            opened.callback(os.close, os.open(file, os.O_RDONLY))
        assert probe(file).codec


def test_it_finds_a_file_by_a_relative_path(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert probe("chunk.mp4").duration_s == 1.0


@pytest.mark.parametrize(
    "content, reason",
    [
        pytest.param(b"", "it is empty", id="an empty file"),
        pytest.param(
            b"\0\0\0\x18ftypisom" + b"\x55" * 5000, "not readable as mp4", id="garbage behind a good beginning"
        ),
        pytest.param(
            film()[: len(film()) // 2], "no readable stream, or it is cut off", id="an index that was cut off"
        ),
        pytest.param(film(first="index")[:-50], "it is cut off", id="a picture that was cut off"),
        pytest.param(film(kind="sound"), "it has no video stream", id="sound alone"),
        pytest.param(b"#EXTM3U\nhttp://localhost/", "it is a playlist", id="a playlist"),
        pytest.param(claiming(1, 1_000_000, 1, 1), "it has 1000000 video frames; at most 500000", id="1 x 1 pixel"),
        pytest.param(claiming(1, 50_000_000), "it has 50000000 video frames; at most 500000", id="600 bytes"),
        pytest.param(claiming(50, 2_000_000), "it has 2000000 video frames; at most 500000", id="22 kB"),
        pytest.param(claiming(10_000, 10), "or has too many tracks", id="10,000 tracks"),
        pytest.param(claiming(1, 10, 32_000, 32_000), "it has no readable pictures", id="32,000 x 32,000"),
    ],
)
def test_it_refuses_a_bad_file_with_little_memory(file, content, reason):
    """The server took 1.9 GB of memory for 600 bytes, and 3.7 GB for 22 kB, before probes had limits."""
    file.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NoVideo, match=reason):
        probe(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 2**10


def test_it_refuses_an_index_of_500_mb(file):
    with file.open("wb") as sparse:
        sparse.write(oversized(500 * 2**20))
        sparse.truncate(501 * 2**20)
    with pytest.raises(NoVideo, match="it takes more than 128 MB of memory to read"):
        probe(file)


def test_it_opens_no_address_inside_a_film(file):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/film.mp4"
        file.write_bytes(claiming(1, 10, reference=address.encode()))
        with pytest.raises(NoVideo):
            probe(file)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_it_refuses_a_file_that_vanished(file):
    file.unlink()
    with pytest.raises(NoVideo, match="it cannot be read \\(No such file or directory\\)"):
        probe(file)


def test_it_refuses_a_film_that_becomes_shorter_meanwhile(file, monkeypatch):
    shutil.copy(FILMS / "cv_mp4v.mp4", file)

    def read_after_a_change(stream, packets):
        os.truncate(file, 400_000)
        return read_pictures(stream, packets)

    read_pictures = examine.__globals__["read_pictures"]
    monkeypatch.setitem(examine.__globals__, "read_pictures", read_after_a_change)
    with pytest.raises(NoVideo, match="it is cut off"):
        examine(file)


@pytest.mark.django_db
def test_the_upload_returns_400_with_the_reason(admin, session):
    answer = upload(admin, session, claiming(50, 2_000_000))
    assert answer.status_code == 400
    assert answer.json() == {
        "file": ["file is not a usable video: it has 2000000 video frames; at most 500000 expected"]
    }


@pytest.mark.parametrize(
    "number, error, reason",
    [
        (signal.SIGXCPU, NoVideo, "it takes more than 10 s of processor time"),
        (signal.SIGSEGV, NoVideo, r"FFmpeg cannot read it \(SIGSEGV\)"),
        (signal.SIGALRM, ProbesBusy, "could not be checked within 20 s"),
    ],
)
def test_a_probe_that_is_killed_costs_one_film(server, endless, file, ask, number, error, reason):
    answer = ask(endless)
    os.kill(probe_of(server), number)
    with pytest.raises(error, match=reason):
        answer.result()
    before = server._process.pid
    assert probe(file).duration_s == 1.0 and server._process.pid == before


def test_it_asks_a_new_process_if_the_first_one_dies(server, endless, file, ask):
    answer = ask(endless)
    its_probe = probe_of(server)
    os.replace(file, endless)
    server._process.kill()
    assert answer.result().duration_s == 1.0
    wait_until(lambda: not Path(f"/proc/{its_probe}").exists(), what="the end of the first probe")


def test_it_gives_up_if_the_new_process_dies_too(monkeypatch, server, file):
    monkeypatch.setattr(probing, "COMMAND", ["false"])
    with pytest.raises(ProbesBusy, match="the process that checks uploads has ended"):
        probe(file)


def test_it_replaces_a_process_that_does_not_answer(server, endless, file, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(probing, "TIMEOUT_S", 0.1)
        with pytest.raises(ProbesBusy, match="could not be checked within"):
            probe(endless)
    assert probe(file).duration_s == 1.0


def test_an_unexpected_error_is_raised_with_its_traceback(file, monkeypatch):
    monkeypatch.setattr(probing._server, "ask", lambda path: {"bug": "Traceback: ZeroDivisionError"})
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        probe(file)


def test_threads_get_the_facts_of_their_own_films(server):
    names = ["short92.mp4", "seg_1.mp4", "cut_ss_copy.mp4", "cv_mp4v.mp4"] * 4
    with ThreadPoolExecutor(8) as threads:
        durations = [facts.duration_s for facts in threads.map(lambda name: probe(FILMS / name), names)]
    assert durations == [9.2, 5.0, 6.5, 10.0] * 4


def test_the_process_outlives_the_thread_that_started_it(server, file):
    with ThreadPoolExecutor(1) as threads:
        threads.submit(probe, file).result()
    before = server._process.pid
    assert probe(file).duration_s == 1.0 and server._process.pid == before


def test_the_process_has_a_low_priority_and_no_files_of_the_server(server, file):
    with file.open() as held, socket.socket():
        os.set_inheritable(held.fileno(), True)
        probe(file)
        pid = server._process.pid
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5
        targets = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    assert str(file) not in targets
    assert sum(target.startswith("socket:") for target in targets) == 1  # its requests


def test_the_process_and_its_probes_end_with_the_server(endless):
    script = "import sys, threading; from videos import probe\n"
    script += "threading.Thread(target=probe.probe, args=[sys.argv[1]]).start()\n"
    script += "while not probe._server._process: pass\nprint(probe._server._process.pid, flush=True)"
    with subprocess.Popen([sys.executable, "-c", script, endless], stdout=subprocess.PIPE, cwd=ROOT) as owner:
        pid = int(owner.stdout.readline())
        pids = [pid, wait_until(lambda: children_of(pid))[0]]
        owner.kill()
    wait_until(lambda: not any(Path(f"/proc/{each}").exists() for each in pids), timeout=10, what="the end of both")


def test_it_probes_two_files_at_once_and_limits_the_queue(file, monkeypatch):
    running, most, gate = [], [], threading.Event()
    facts = examine(file)

    def answer(path):
        running.append(path)
        most.append(len(running))
        gate.wait()
        running.remove(path)
        return facts._asdict()

    monkeypatch.setattr(probing._server, "ask", answer)
    monkeypatch.setattr(probing, "waiting", threading.BoundedSemaphore(3))
    with ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(probe, file) for _ in range(5)]
        wait_until(lambda: len(running) == 2 and not probing.waiting.acquire(blocking=False), what="three that wait")
        with pytest.raises(ProbesBusy, match="uploads already wait to be checked"):
            probe(file)
        gate.set()
        assert [answer.result() for answer in answers] == [facts] * 5
    assert max(most) == 2


@pytest.mark.django_db
def test_it_returns_503_with_retry_after_if_the_wait_is_too_long(admin, session, monkeypatch):
    monkeypatch.setattr(probing, "WAIT_S", 0.01)
    with probing.places, probing.places:
        answer = upload(admin, session)
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert answer.json()["detail"].startswith("2 other uploads are being checked, and this one has waited for 0.01 s")
