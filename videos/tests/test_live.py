"""Uploads and content on a real server: their memory, and the files left by a client that disconnects half-way."""

import http.client
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

from robots.models import Robot
from teleop.models import TeleopSession
from tests.robot_socket import bystander
from tests.services import Server, wait_until
from videos.models import VideoChunk
from videos.tests.video_files import START, files, film

pytestmark = pytest.mark.once

BOUNDARY = "film"
BIG = 100 * 2**20


@pytest.fixture
def media() -> Iterator[Path]:
    """Yield the media folder of the server that all tests share."""
    folder = Path(os.environ["MEDIA_ROOT"])
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def live(server, media) -> SimpleNamespace:
    """Return the server, an administrator's token, and a session."""
    token = Token.objects.create(user=User.objects.create_superuser("admin"))
    session = TeleopSession.objects.create(robot=Robot.objects.create(pk="arm"), key="morning-run")
    return SimpleNamespace(server=server, session=session, headers={"Authorization": f"Token {token}"})


def parts(session, start=START) -> tuple[bytes, bytes]:
    """Return the parts of a form before and after the film."""
    fields = {"session": session.pk, "camera_key": "front", "start_timestamp": start, "end_timestamp": start + 1}
    head = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    file = 'Content-Disposition: form-data; name="file"; filename="chunk.mp4"\r\nContent-Type: video/mp4'
    return f"{head}--{BOUNDARY}\r\n{file}\r\n\r\n".encode(), f"\r\n--{BOUNDARY}--\r\n".encode()


def connect(live) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(live.server.url).netloc, timeout=60)


def begin(live, length: int) -> http.client.HTTPConnection:
    """Begin an upload: send its headers."""
    connection = connect(live)
    connection.putrequest("POST", "/videos")
    form = f"multipart/form-data; boundary={BOUNDARY}"
    for name, value in (live.headers | {"Content-Type": form, "Content-Length": str(length)}).items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def send(live, content: bytes, repeat: int = 1) -> http.client.HTTPResponse:
    head, tail = parts(live.session)
    connection = begin(live, len(head) + len(content) * repeat + len(tail))
    for piece in (head, *[content] * repeat, tail):
        connection.send(piece)
    return connection.getresponse()


def get(live, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = connect(live)
    connection.request("GET", path, headers=live.headers | {name.replace("_", "-"): headers[name] for name in headers})
    return connection.getresponse()


@contextmanager
def at_most_40_mb_more(server: Server) -> Iterator[None]:
    """Check the growth of the server's memory by the kernel's high-water mark, which is reset first."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    before = _peak_rss(server)
    yield
    assert _peak_rss(server) - before < 40 * 2**20


def _peak_rss(server: Server) -> int:
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_it_serves_an_uploaded_file_whole_and_by_range(live):
    assert send(live, film()).status == 201
    path = f"/videos/{VideoChunk.objects.get().pk}/content"
    answer = get(live, path)
    assert (answer.status, answer.read(), answer.headers["ETag"]) == (
        200,
        film(),
        f'"{VideoChunk.objects.get().sha256}"',
    )
    part = get(live, path, Range="bytes=-100")
    assert (part.status, part.read(), part.headers["Content-Length"]) == (206, film()[-100:], "100")


def test_it_does_not_hold_a_large_upload_in_memory(live, media):
    send(live, film()).read()  # a first use
    with at_most_40_mb_more(live.server):
        answer = send(live, bytes(2**20), repeat=BIG // 2**20)
        assert answer.status == 400 and b"file is not a usable video" in answer.read()
    wait_until(lambda: len(files(media)) == 1, what="one file, which is the first")


def written_bytes(server: Server) -> int:
    lines = Path(f"/proc/{server.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def test_it_writes_an_upload_to_the_disk_twice(live):
    """As it arrives, and out of its form."""
    send(live, film()).read()  # a first use
    before = written_bytes(live.server)
    send(live, bytes(2**20), repeat=64).read()
    assert written_bytes(live.server) - before < 2.1 * 64 * 2**20


def test_it_serves_other_requests_during_a_large_upload(live):
    head, tail = parts(live.session)
    connection = begin(live, len(head) + 2 * BIG + len(tail))
    connection.send(head)
    for _ in range(2 * BIG // 2**20):
        connection.send(bytes(2**20))
    connection.send(tail)  # now the server parses, hashes and probes the upload
    slowest = 0.0
    for _ in range(20):
        began = time.monotonic()
        assert get(live, "/health/live").status == 200
        slowest = max(slowest, time.monotonic() - began)
    assert connection.getresponse().status == 400
    assert slowest < 1


@pytest.mark.parametrize("sent", [10, 3_000, BIG // 4])
def test_it_stores_nothing_of_an_interrupted_upload(live, media, sent):
    head, _ = parts(live.session)
    connection = begin(live, len(head) + BIG)
    connection.send(head + bytes(sent))
    connection.close()
    assert send(live, film()).status == 201  # the server has processed the disconnect
    assert files(media) == [VideoChunk.objects.get().file_path.name]


def test_it_refuses_a_body_over_the_limit_after_its_headers(live, media):
    answer = begin(live, 2**32).getresponse()
    bound = f"the body is {2**32} bytes or more; at most {2**31 + 2**20} expected"
    assert (answer.status, json.load(answer)) == (413, {"detail": bound})
    assert not files(media)


def test_it_refuses_a_body_over_the_limit_while_it_is_being_sent(live, start_server):
    """A client that reads only after it has sent the whole body gets the answer too."""
    live.server = start_server(VIDEO_MAX_BYTES="10000")
    for length, status in (({"Content-Length": str(2**23)}, 413), ({}, 411)):
        body = iter([bytes(2**20)] * 8)
        connection = connect(live)
        connection.request("POST", "/videos", body, live.headers | length, encode_chunked=not length)
        assert connection.getresponse().status == status


def spooled_bytes(server: Server) -> int:
    """Return the size of the deleted files that the server has open: bodies that are not complete yet."""
    size = 0
    for file in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            size += file.stat().st_size * str(file.readlink()).endswith("(deleted)")
    return size


@pytest.mark.parametrize(
    "headers, status",
    [({}, 401), ({"Authorization": "Token 0123456789"}, 401), ({"Authorization": f"Bearer {'x' * 43}"}, 401)],
)
def test_it_does_not_spool_an_upload_without_valid_credentials(live, headers, status):
    live.headers = headers
    connection = begin(live, BIG)
    connection.send(bytes(2**23))
    assert spooled_bytes(live.server) <= 2**20
    answer = connection.getresponse()
    assert answer.status == status and "detail" in json.load(answer)
    assert answer.headers["WWW-Authenticate"]


def test_it_refuses_an_upload_without_permission_before_its_body(live):
    live.headers = {"Authorization": f"Token {Token.objects.create(user=User.objects.create_user('viewer'))}"}
    assert begin(live, BIG).getresponse().status == 403
    live.headers = {"Cookie": "sessionid=nobody"}
    assert begin(live, BIG).getresponse().status == 401


@pytest.mark.parametrize("path, size", [("/robots", 2**20 + 1), ("/videos/1", BIG), ("/health/live", BIG)])
def test_it_limits_other_bodies_to_1_mib(live, path, size):
    connection = connect(live)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.load(answer)["detail"] == f"the body is {size} bytes or more; at most {2**20} expected"


@pytest.mark.parametrize("is_allowed", [True, False])
def test_it_sends_100_continue_only_after_authentication(live, is_allowed):
    live.headers = (live.headers if is_allowed else {}) | {"Expect": "100-continue"}
    connection = begin(live, BIG)
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100" if is_allowed else b"HTTP/1.1 401")
    connection.close()
    assert get(live, "/health/live").status == 200


def test_it_closes_descriptors_if_clients_disconnect_during_checks(live):
    before = psutil.Process(live.server.pid).num_fds()
    for _ in range(20):
        begin(live, BIG).close()
    assert send(live, film()).status == 201
    wait_until(lambda: psutil.Process(live.server.pid).num_fds() <= before + 4, what="descriptors as before")


def test_it_returns_507_below_the_disk_reserve_while_robots_stream(live, start_server):
    live.server = start_server(DISK_RESERVE_BYTES=str(2**59), ROBOT_AUTH="open")
    with bystander(live.server):
        for answer in (begin(live, BIG).getresponse(), send(live, film())):
            assert answer.status == 507
            assert f"of which {2**59} are reserved for frames (DISK_RESERVE_BYTES)" in json.load(answer)["detail"]


def test_it_returns_411_for_a_chunked_body(live, media):
    connection = connect(live)
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/videos", iter(parts(live.session)), live.headers | form, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 411 and b"Content-Length is missing" in answer.read()
    assert not files(media)


@pytest.fixture
def big_video(live, media) -> VideoChunk:
    """Make a video of 100 MB as a sparse file, which takes no space on the disk."""
    assert send(live, film()).status == 201
    chunk = VideoChunk.objects.get()
    with (media / chunk.file_path.name).open("r+b") as file:
        file.truncate(BIG)
    VideoChunk.objects.update(size=BIG)
    return chunk


def test_it_does_not_hold_a_large_video_in_memory_for_a_slow_reader(live, big_video):
    path = f"/videos/{big_video.pk}/content"
    get(live, path, Range="bytes=0-0").read()  # a first use
    with at_most_40_mb_more(live.server):
        answer = get(live, path)
        answer.read(2**16)
        time.sleep(2)
        assert len(answer.read()) == BIG - 2**16


def test_it_closes_the_file_when_the_reader_disconnects(live, big_video, media):
    for _ in range(5):
        get(live, f"/videos/{big_video.pk}/content").close()

    def nothing_open() -> bool:
        return not any(str(media) in file.path for file in psutil.Process(live.server.pid).open_files())

    wait_until(nothing_open, what="closing the files")


def test_a_head_request_has_no_body(live, big_video):
    connection = connect(live)
    connection.request("HEAD", f"/videos/{big_video.pk}/content", headers=live.headers)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, str(BIG), b"")


def test_it_serves_a_request_after_an_upload_on_one_connection(live):
    head, tail = parts(live.session)
    body = head + bytes(2**20) + tail
    connection = begin(live, len(body))
    connection.send(body)
    assert connection.getresponse().read().startswith(b'{"file":["file is not a usable video')
    connection.request("GET", "/health/live")
    assert connection.getresponse().status == 200
