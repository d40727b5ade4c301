"""Programs that read sessions and lists over REST: the examples of docs/api.md, on a server that records meanwhile."""

import io
import re
import shlex
import socket
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from django.core.cache import cache
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from robots.api.pagination import Pages
from robots.models import Robot
from teleop.models import TeleopSession
from teleop.tests.recordings import T0, make_session
from tests.services import ROOT, Server
from videos.models import VideoChunk

DOCS = Path(ROOT, "docs/api.md").read_text()
EXAMPLES = re.findall(r"```(python|bash)\n(.*?)```", DOCS, re.DOTALL)


def example(containing: str) -> str:
    """Return the one code block of docs/api.md with this text."""
    (found,) = [code for _, code in EXAMPLES if containing in code]
    return found


@pytest.fixture
def recorded(server: Server, admin: APIClient) -> tuple[Server, TeleopSession, str]:
    return server, make_session(range(1000)), str(Token.objects.get())


@pytest.mark.once
def test_the_documented_download_is_a_parquet_file(recorded):
    server, session, token = recorded
    _, _, _, header, _, _, url = shlex.split(example("curl -f"))
    name, _, value = header.replace("$TOKEN", token).partition(": ")
    url = url.replace("http://127.0.0.1:8000", server.url).replace("/17/", f"/{session.pk}/")
    with urllib.request.urlopen(urllib.request.Request(url, headers={name: value}), timeout=10) as answer:
        table = pq.read_table(io.BytesIO(answer.read()))
    assert table["frame_index"].to_pylist() == list(range(1000))
    assert '"observation.shoulder_pan.pos"' in DOCS  # the query for DuckDB names a column
    assert "observation.shoulder_pan.pos" in table.column_names


@pytest.mark.once
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_an_export_has_no_ranges_and_head_has_no_body(recorded, kind):
    server, session, token = recorded
    request = f"{{}} /sessions/{session.pk}/frames?format={kind} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    request += f"Authorization: Token {token}\r\nRange: bytes=-8\r\n\r\n"
    answers = {}
    for method in ("HEAD", "GET"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(request.format(method).encode())
            answers[method] = client.makefile("rb").read()
    head, body = answers["HEAD"].split(b"\r\n\r\n", 1)
    whole, content = answers["GET"].split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 ") and whole.startswith(b"HTTP/1.1 200 ")
    assert body == b"" and len(content) > 10_000
    for headers in (head, whole):
        assert b"\r\nAccept-Ranges: none" in headers
        assert b"\r\nContent-Length:" not in headers


class StopFollowing(Exception):
    pass


@pytest.mark.django_db
def test_the_documented_loop_returns_every_session_once(viewer, monkeypatch):
    """Between two pages a session begins before the listed ones by its clock, another one ends, and one is deleted."""
    monkeypatch.setattr(Pages, "default_limit", 7)
    for number in range(60):
        make_session(robot=f"arm_{number % 3}", key=f"ended-{number:04}")
    live = [make_session(robot="arm_0", key=f"live-{number:04}", is_live=True) for number in range(20)]
    deleted = []
    requests = passes = 0

    class Api:
        def get(self, url: str):
            nonlocal requests
            requests += 1
            answer = viewer.get(url)
            make_session(robot="arm_1", key=f"new-{requests:04}", start=T0.replace(year=2000 + requests % 50))
            if live:
                TeleopSession.objects.filter(pk=live.pop(0).pk).finish()
            if requests % 10 == 3:
                doomed = TeleopSession.objects.filter(end_time__isnull=False).order_by("pk").first()
                deleted.append(doomed.pk)
                doomed.delete()
            return answer

    def pause(seconds: float) -> None:
        nonlocal passes
        passes += 1
        if passes == 3:
            raise StopFollowing

    monkeypatch.setattr(time, "sleep", pause)
    used = []
    names = {"api": Api(), "server": "http://testserver", "use": lambda session: used.append(session["id"])}
    with pytest.raises(StopFollowing):
        exec(example("while True"), names)
    assert requests > 20
    assert len(used) == len(set(used))
    ended = set(TeleopSession.objects.filter(end_time__isnull=False).values_list("pk", flat=True))
    assert set(used) <= ended | set(deleted)
    assert len(ended - set(used)) < 8  # those that the last pass began with, or that came after its last page


def robots(number: int) -> None:
    Robot.objects.create(pk=f"robot_{number * 37 % 100:02}")


def sessions(number: int) -> None:
    make_session(robot="arm", key=f"session-{number:04}", start=T0.replace(year=2000 + number * 37 % 50))


def videos(number: int) -> None:
    session = TeleopSession.objects.first() or make_session(robot="arm")
    start = number * 37 % 100 * 10.0
    VideoChunk.objects.create(
        session=session, robot_id="arm", camera_key="front", start_timestamp=start, end_timestamp=start + 1, size=1
    )


@pytest.mark.django_db
@pytest.mark.parametrize("path, add", [("robots", robots), ("sessions", sessions), ("videos", videos)])
def test_pages_by_id_return_every_row_once(viewer, path, add):
    """Rows come before and after the place at which the reader is."""
    cache.clear()
    for number in range(40):
        add(number)
    before = {row["id"] for row in viewer.get(f"/{path}?limit=1000").json()["results"]}
    url, found = f"/{path}?limit=7&after_id={'' if path == 'robots' else 0}", []
    number = 40
    while url:
        page = viewer.get(url).json()
        assert page["previous"] is None and page["count"] == len(before) + number - 40
        found += [row["id"] for row in page["results"]]
        url = page["next"]
        add(number)
        number += 1
    assert found == sorted(set(found))
    assert set(found) >= before
    assert viewer.get(f"/{path}?limit=7&after_id={found[-1]}").json()["next"] is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query, says",
    [
        ("sessions?after_id=-1", "after_id is -1; an integer between 0 and 2147483647 expected"),
        ("sessions?after_id=", "after_id is ; an integer between 0 and 2147483647 expected"),
        ("robots?after_id=%00", "after_id is \0; [A-Za-z0-9]"),
        ("videos?after_id=1&offset=1", "offset cannot be combined with after_id; omit one of the two"),
    ],
)
def test_it_refuses_an_invalid_after_id(viewer, query, says):
    answer = viewer.get(f"/{query}")
    assert answer.status_code == 400
    assert says in str(next(iter(answer.json().values()))[0])
