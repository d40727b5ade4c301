"""`manage.py simulate` with a real server, and without a server."""

import logging
import signal
import subprocess
import sys
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from tests.chaos.environment import serving
from tests.services import ROOT, free_port, wait_until

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def simulate(**options):
    out = StringIO()
    call_command("simulate", stdout=out, **options)
    return out.getvalue()


@pytest.fixture(autouse=True)
def client_logs_again():
    """Restore the client's logging, which the command silences for the life of the process."""
    yield
    logging.getLogger("teleop_client").setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def open_server(database_url):
    with serving(database_url) as server:
        yield server


@pytest.fixture
def start():
    """Yield a function: `start("--robots", "2")` runs the command in its own process, as a terminal would."""
    processes = []

    def start(*options):
        command = [sys.executable, "manage.py", "simulate", *options]
        processes.append(subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ended_by(process, number):
    process.send_signal(number)
    return *process.communicate(timeout=15), process.returncode


def test_it_streams_for_the_duration_and_stores_every_frame(server):
    output = simulate(robots=3, duration=1.2, url=server.url, issue_keys=True)
    assert "3 robots" in output and "216 frames, 216 stored; 3 sessions ended; ack p50 " in output
    for session in TeleopSession.objects.all():
        assert (session.fps, session.frame_count, session.is_live) == (60, 72, False)
        assert session.meta_info == {
            "robot_type": "so_follower",
            "task": "Put the cube into the box",
            "simulated": True,
        }
    assert sorted(Robot.objects.values_list("pk", flat=True)) == ["robot_001", "robot_002", "robot_003"]


def test_it_sends_flat_frames_at_a_steady_rate(server):
    simulate(robots=1, fps=50, duration=1, url=server.ws_url, issue_keys=True)
    frames = list(TeleopFrame.objects.order_by("frame_index"))
    assert list(frames[0].data) == ["observation", "action"]
    assert list(frames[0].data["action"])[:2] == ["shoulder_pan.pos", "shoulder_lift.pos"]
    # Each timestamp is the frame's due time, not the time at which the busy machine produced it.
    took_s = (frames[-1].timestamp - frames[0].timestamp).total_seconds()
    assert took_s == pytest.approx(49 / 50, abs=0.005)


@pytest.mark.parametrize("auth", ["required", pytest.param("open", marks=pytest.mark.long)])
@pytest.mark.django_db(transaction=True)
def test_the_first_robot_records_its_cameras(server, open_server, auth):
    videos = apps.get_model("videos", "VideoChunk")
    url = server.url if auth == "required" else open_server.url
    simulate(robots=2, cameras=2, duration=1, url=url, issue_keys=auth == "required")
    assert sorted(videos.objects.values_list("robot", "camera_key")) == [
        ("robot_001", "front"),
        ("robot_001", "wrist"),
    ]
    session = TeleopSession.objects.get(robot="robot_001")
    for video in videos.objects.all():
        assert session.start_time.timestamp() - 0.1 < video.start_timestamp < session.start_time.timestamp() + 1


def test_it_shows_one_line_a_second(server):
    lines = simulate(robots=2, duration=2.2, url=server.url, issue_keys=True).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:4] == ["2", "s", "2/2", "robots"]
    assert all(part in lines[1] for part in ("frames/s", "acked/s", "pending", "ack p50", "p95"))


@pytest.mark.long
def test_it_rewrites_one_line_in_a_terminal(server):
    class Terminal(StringIO):
        def isatty(self):
            return True

    out = Terminal()
    call_command("simulate", duration=2.2, url=server.url, issue_keys=True, stdout=out)
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("\r\033[K") == 3


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
@pytest.mark.django_db(transaction=True)
def test_it_ends_its_sessions_when_it_is_stopped(open_server, start, number):
    process = start("--robots", "2", "--url", open_server.url)
    wait_until(lambda: TeleopFrame.objects.filter(robot="robot_002").exists(), what="frames of both")
    output, errors, code = ended_by(process, number)
    assert (code, errors) == (0, "")
    assert "2 sessions ended" in output.splitlines()[-1]
    assert not TeleopSession.objects.live().exists()


@pytest.mark.long
def test_it_waits_for_an_unreachable_server_and_loses_no_frames(server, start):
    server.stop()
    key = Robot.objects.create(pk="robot_001").issue_key()
    process = start("--url", server.url, f"--key={key}")  # a key may begin with -
    line = process.stdout.readline()
    assert "0/1 robots" in line and "refused the connection" in line, line or process.stderr.read()
    server.start()
    wait_until(TeleopFrame.objects.exists, what="frames stored")
    _, errors, code = ended_by(process, signal.SIGTERM)
    assert (code, errors) == (0, "")
    assert TeleopFrame.objects.filter(frame_index=0).exists()


def test_it_fails_when_frames_are_not_stored(monkeypatch):
    monkeypatch.setattr("teleop.simulation.fleet.END_TIMEOUT_S", 0.1)
    with pytest.raises(CommandError, match=r"6 frames, 0 stored; 0 sessions ended; no acks.*refused the connection"):
        simulate(robots=1, duration=0.1, url=f"http://127.0.0.1:{free_port()}")


def test_it_reports_a_wrong_key_once(server, capsys):
    Robot.objects.create(pk="robot_001")
    out = StringIO()
    with pytest.raises(CommandError, match="0 stored"):
        call_command("simulate", robots=3, duration=60, url=server.url, key="wrong", stdout=out)
    assert out.getvalue().splitlines() == [
        "robot_001: HTTP 403 at the handshake: check the key, the robot's id and the address"
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.django_db
def test_it_issues_no_key_to_a_real_robot_with_a_key():
    real = Robot.objects.create(pk="robot_002")
    key = real.issue_key()
    with pytest.raises(CommandError, match="robot_002 has a key and is not a simulated robot"):
        simulate(robots=2, issue_keys=True)
    assert Robot.objects.get(pk="robot_002").has_key(key)
    assert not Robot.objects.filter(pk="robot_001").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"robots": 0}, "--robots is 0; 1 to 1000 expected"),
        ({"fps": 0}, "--fps is 0; 1 to 1000 expected"),
        ({"duration": -1.0}, "--duration is -1.0; 0 to"),
        ({"duration": float("nan")}, "--duration is nan; 0 to"),
        ({"prefix": "a b"}, "robot id is 'a b001'; "),
        ({"url": "127.0.0.1:8000"}, "url is '127.0.0.1:8000'; "),
    ],
)
def test_it_names_the_invalid_option(options, message):
    with pytest.raises(CommandError) as error:
        simulate(**options)
    assert message in str(error.value)
