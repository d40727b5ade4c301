"""Reading frames from a real server: live sessions, slow or disconnected readers, and streams that break."""

import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests
from django.db import connection
from rest_framework.authtoken.models import Token

from robots.tests.api_clients import person
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session, record
from tests.robot_socket import bystander, register
from tests.services import Server, wait_until

LARGE = {"observation": {"text": "x" * 60_000}}


@pytest.fixture
def get(server: Server, transactional_db):
    person("viewer", "viewer")
    register("bystander")
    headers = {"Authorization": f"Token {Token.objects.get(user__username='viewer').key}"}
    return lambda path, **options: requests.get(server.url + path, headers=headers, timeout=20, **options)


@pytest.fixture
def large() -> TeleopSession:
    """Return a session of 24 MB: more than the server and the sockets buffer for a reader."""
    return make_session(range(400), data=lambda _: LARGE)


def test_a_follower_receives_new_frames(get):
    session = make_session([0], is_live=True)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(get, f"/sessions/{session.pk}/frames?after=0&wait=20")
        time.sleep(0.5)
        record(session, [1])
        page = answer.result().json()
    assert [frame["frame_index"] for frame in page["results"]] == [1]
    assert page["next"].endswith(f"/sessions/{session.pk}/frames?after=1&wait=20")


def test_a_follower_receives_the_end_of_a_session(get):
    session = make_session([0], is_live=True)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(get, f"/sessions/{session.pk}/frames?after=0&wait=20")
        time.sleep(0.3)
        TeleopSession.objects.finish()
        assert answer.result().json() == {"results": [], "next": None}


@pytest.mark.once
def test_a_follower_waits_at_most_the_requested_time(get):
    session = make_session([0], is_live=True)
    begin = time.monotonic()
    page = get(f"/sessions/{session.pk}/frames?after=0&wait=1").json()
    assert page["results"] == [] and "after=0" in page["next"]
    assert 1 <= time.monotonic() - begin < 5


@pytest.mark.once
def test_it_does_not_wait_for_an_ended_session(get):
    session = make_session([0])
    begin = time.monotonic()
    assert get(f"/sessions/{session.pk}/frames?after=0&wait=20").json() == {"results": [], "next": None}
    assert time.monotonic() - begin < 5


@pytest.mark.once
def test_thirty_followers_do_not_delay_other_requests(get):
    session = make_session([0], is_live=True)
    with ThreadPoolExecutor(30) as threads:
        answers = [threads.submit(get, f"/sessions/{session.pk}/frames?after=0&wait=15") for _ in range(30)]
        time.sleep(1)
        for _ in range(10):
            assert get("/sessions").status_code == 200
        assert not any(answer.done() for answer in answers)
        TeleopSession.objects.finish()


@pytest.mark.parametrize("kind", ["jsonl", pytest.param("parquet", marks=pytest.mark.once)])
def test_a_stream_arrives_complete(get, large, kind):
    body = get(f"/sessions/{large.pk}/frames?format={kind}").content
    assert body.count(b"\n") == 400 if kind == "jsonl" else body[-4:] == b"PAR1"


def stalled(get, session, kind="jsonl"):
    """Return a stream after reading its first bytes only; the server waits for the reader."""
    answer = get(f"/sessions/{session.pk}/frames?format={kind}", stream=True)
    rest = answer.iter_content(2**16)
    next(rest)
    return rest


@pytest.mark.once
def test_stalled_readers_use_bounded_memory_and_no_connections(get, server, large):
    def rss():
        return psutil.Process(server.pid).memory_info().rss

    get(f"/sessions/{large.pk}/frames?format=jsonl")
    before = rss()
    readers = [stalled(get, large) for _ in range(4)]  # DOWNLOADS_PER_USER
    assert get("/sessions").status_code == 200
    assert rss() - before < 150 * 2**20  # four times two blocks of 4 MiB, in two or three copies
    assert sum(map(len, readers[0])) > 20 * 2**20


@pytest.mark.once
def test_a_disconnect_ends_the_stream(get, server, large):
    def streams():
        connections = psutil.Process(server.pid).net_connections()
        return [each for each in connections if each.laddr.port == server.port and each.status == "ESTABLISHED"]

    reader = stalled(get, large)
    assert streams()
    reader.close()
    wait_until(lambda: not streams())
    assert get("/sessions").status_code == 200


def test_deleting_a_session_aborts_its_stream(get, large):
    rest = stalled(get, large)
    large.delete()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(rest)


def test_a_database_error_aborts_the_stream(get, large):
    rest = stalled(get, large)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE teleop_teleopframe RENAME TO elsewhere")
        try:
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                list(rest)
        finally:
            cursor.execute("ALTER TABLE elsewhere RENAME TO teleop_teleopframe")
    assert get("/sessions").status_code == 200


def status_of(get, path) -> int:
    with get(path, stream=True) as answer:
        return answer.status_code


@pytest.mark.once
def test_it_refuses_a_fifth_download_with_429_until_another_ends(get, server, large):
    path = f"/sessions/{large.pk}/frames?format=jsonl"
    with bystander(server):
        readers = [get(path, stream=True) for _ in range(4)]
        answer = get(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
        bound = "you already have 4 downloads, the maximum (DOWNLOADS_PER_USER); try again later"
        assert answer.json() == {"detail": bound}
        assert (
            'teleop_requests_refused_total{code="downloads_client_full"} ' in requests.get(f"{server.url}/metrics").text
        )
        readers[0].close()  # most of the stream is unread
        wait_until(lambda: status_of(get, path) == 200, what="the place of a reader that left")


@pytest.mark.once
def test_it_refuses_waiting_requests_past_the_limit_with_429(get, server):
    session = make_session([0], is_live=True)
    path = f"/sessions/{session.pk}/frames?after=2000000000&wait=20"
    with bystander(server), ThreadPoolExecutor(60) as threads:
        answers = [threads.submit(get, path) for _ in range(60)]
        refused = wait_until(lambda: [answer for answer in answers if answer.done()][9:], what="ten that are refused")
        assert refused[0].result().status_code == 429
        assert "(WAITS_PER_USER)" in refused[0].result().json()["detail"]
        TeleopSession.objects.filter(pk=session.pk).finish()
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * 50 + [429] * 10
    assert get(path).json() == {"results": [], "next": None}
