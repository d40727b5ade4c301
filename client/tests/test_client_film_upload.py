"""Films are uploaded exactly once, whatever the network and the server do, and never in the way of the frames."""

import gc
import json
import os
import shutil
import socket
import threading
import time
import tracemalloc

import pytest
from fake_videos import FakeVideos
from film_fixtures import make_film, times
from teleop_client.camera import film_file, film_upload
from teleop_client.camera.film_request import FilmRequest, Stopped
from teleop_client.camera.film_upload import FilmUploader, videos_url
from test_client_network import NAME, PROXY_VARIABLES, authority  # noqa: F401

START_S = 1767225600.0


@pytest.fixture(autouse=True)
def _no_proxy_in_environment(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(film_upload, "LOOK_S", 0.01)
    monkeypatch.setattr(film_upload, "KEY_S", 0.02)
    monkeypatch.setattr(film_upload, "DELAYS", film_upload.Delays(first=0.01, most=0.02))


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Return a film that tests copy."""
    return make_film(tmp_path_factory.mktemp("ready") / "front" / "000001")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "robot" / "session" / "films"


@pytest.fixture
def add_film(folder, ready):
    """Return a function that puts a complete film into the folder, and returns its path."""

    def add_film(number=1, camera="front", start=None, folder=folder):
        film = folder / camera / f"{number:06}.mp4"
        film.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ready, film)
        os.utime(film, (START_S + number, START_S + number))
        film.with_suffix(".json").write_text(
            json.dumps({"camera": camera, "start": start or {"unix_s": START_S + number * 10}})
        )
        return film

    return add_film


@pytest.fixture
def server():
    with FakeVideos() as server:
        yield server


@pytest.fixture
def uploader(server):
    """Return a function that makes an uploader to the server; the test's end stops all."""
    made, reports = [], []

    def make(url=None, **options):
        url = url or f"http://127.0.0.1:{server.port}"
        report = lambda what, facts: reports.append((what, facts["error"]))  # noqa: E731
        one = FilmUploader(url, "robot_A", "secret", report=report, **options)
        made.append(one)
        return one

    make.reports = reports
    yield make
    for each in made:
        each.stop()


def known(since_s, base):
    return START_S + since_s + base["elapsed_s"]


def until(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def run(one, folder, session="session", time_of=known):
    one.add(folder, session, time_of)
    one.start()
    return one


def test_it_uploads_a_film_with_its_times_and_deletes_it(uploader, server, folder, add_film, tmp_path):
    film = add_film(3)
    one = run(uploader(), folder)
    until(lambda: one.counts["uploaded"])
    assert not film.exists()
    (form,) = server.forms
    assert form == {
        "path": "/videos",
        "robot": "robot_A",
        "session_key": "session",
        "camera_key": "front",
        "start_timestamp": "1767225630.000000",
        "end_timestamp": "1767225631.000000",
        "timing": "exact",
    }
    assert server.headers[0]["Authorization"] == "Bearer secret"
    (data,) = server.films.values()
    (tmp_path / "got.mp4").write_bytes(data)
    assert times(tmp_path / "got.mp4") == pytest.approx([number / 10 for number in range(10)])
    assert data.find(b"moov") < data.find(b"mdat")
    assert list(folder.glob("*/*")) == []
    one.remove(folder)
    assert not folder.parent.exists()
    assert uploader.reports == []


def test_it_uploads_the_oldest_film_of_all_cameras_first(uploader, server, folder, add_film):
    for number, camera in ((3, "front"), (1, "wrist"), (2, "front"), (4, "wrist")):
        add_film(number, camera)
    one = run(uploader(), folder)
    until(lambda: one.counts["uploaded"] == 4)
    assert [form["start_timestamp"][8:10] for form in server.forms] == ["10", "20", "30", "40"]


def test_it_leaves_a_film_that_is_being_written(uploader, server, folder, add_film):
    part = add_film(1).rename(folder / "front" / "000002.part.mp4")
    film = add_film(3)
    one = run(uploader(), folder)
    until(lambda: one.counts["uploaded"])
    assert (part.exists(), film.exists()) == (True, False)


def test_it_waits_for_the_time_of_a_film_and_keeps_it(uploader, server, folder, add_film):
    start = {"since_s": 5.0, "base": {"boot": "b", "elapsed_s": 7.0}}
    film, asked = add_film(1, start=start), []
    server.answers = [(500, {}, {})]

    def time_of(since_s, base):
        asked.append(base)
        return START_S if len(asked) > 2 else None

    one = run(uploader(), folder, time_of=time_of)
    until(lambda: one.counts["uploaded"])
    assert not film.exists()
    assert [form["start_timestamp"] for form in server.forms] == ["1767225600.000000"] * 2
    assert asked == [start["base"]] * 3  # it is noted beside the film before the first attempt


def test_it_notes_the_times_of_all_films_before_the_spool_is_deleted(folder, add_film):
    start = {"since_s": 5.0, "base": {"boot": "b", "elapsed_s": 7.0}}
    films = [add_film(1, start=start), add_film(2)]
    film_file.fix_times(folder, known)
    starts = [json.loads(film.with_suffix(".json").read_text())["start"].get("unix_s") for film in films]
    assert starts == [START_S + 12, START_S + 20]


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (500, {}, "server"),
        (503, {"Retry-After": "0"}, "server"),
        (507, {}, "server"),
        (429, {"Retry-After": "tomorrow"}, "server"),
        (408, {}, "server"),
        (302, {"Location": "https://login.invalid"}, "server"),
        (401, {}, "key"),
        (403, {}, "key"),
    ],
)
def test_it_tries_again_later(uploader, server, folder, add_film, status, headers, kind):
    film = add_film()
    server.answers = [(status, headers, {"detail": "why"})] * 3
    one = run(uploader(), folder)
    until(lambda: one.counts["uploaded"])
    assert len(server.forms) == 4
    assert not film.exists()
    assert uploader.reports == [("error", kind)]
    assert f"HTTP {status}" in one.last_error


def test_films_of_a_disabled_robot_wait(uploader, server, folder, add_film, monkeypatch):
    monkeypatch.setattr(film_upload, "DISABLED_S", 0.01)
    add_film()
    server.answers = [(403, {}, {"detail": "why", "code": "robot_disabled"})] * 2
    one = run(uploader(), folder)
    until(lambda: one.counts["uploaded"])
    assert uploader.reports == [("error", "disabled")]


def test_it_waits_as_long_as_the_server_asks_for_and_stops_at_once(uploader, server, folder, add_film):
    add_film()
    server.answers = [(429, {"Retry-After": "30"}, {})] * 2
    one = uploader()
    one.add(folder, "session", known)
    assert one._next() == 30
    one.start()
    until(lambda: len(server.forms) == 2)
    begin = time.monotonic()
    one.stop(10)
    assert time.monotonic() - begin < 5
    assert len(server.forms) == 2


@pytest.mark.parametrize("status", [400, 404, 409, 410, 411, 413, 415, 422])
def test_it_sets_a_film_aside_that_the_server_will_never_take(uploader, server, folder, add_film, status):
    film, other = add_film(1), add_film(2)
    content = film.read_bytes()
    server.answers = [(status, {}, {"detail": "never", "code": "session_deleted"})]
    one = run(uploader(), folder)
    until(lambda: one.counts["uploaded"])
    assert not (film.exists() or film.with_suffix(".json").exists() or other.exists())
    refused = {path.suffix: path for path in (folder / "refused").iterdir()}
    assert refused[".mp4"].read_bytes() == content
    assert json.loads(refused[".json"].read_text())["camera"] == "front"
    assert refused[".txt"].read_text().startswith(f"HTTP {status} ")
    assert one.counts["refused"] == 1
    assert uploader.reports == [("error", "refused")]
    assert film_file.used_bytes(folder) >= len(content)
    one.remove(folder)
    assert (folder / "refused").exists()


@pytest.mark.parametrize("damage", ["empty film", "no film", "no json", "torn json", "other json"])
def test_it_sets_a_film_aside_that_cannot_be_read(uploader, server, folder, add_film, damage):
    film, other = add_film(1), add_film(2)
    match damage:
        case "empty film" | "no film":
            film.write_bytes(b"" if damage == "empty film" else b"x" * 5000)
        case "no json":
            film.with_suffix(".json").unlink()
        case _:
            film.with_suffix(".json").write_text('{"camera":' if damage == "torn json" else '{"camera": "front"}')
    one = run(uploader(), folder)
    until(lambda: one.counts == {"uploaded": 1, "refused": 1})
    assert not (film.exists() or other.exists())
    assert len(server.forms) == 1


def test_a_session_that_the_server_does_not_know_yet_does_not_hold_up_others(
    uploader, server, folder, add_film, tmp_path
):
    unknown, second = add_film(1), tmp_path / "robot" / "second" / "films"
    film = add_film(2, folder=second)
    server.sessions = {"second"}
    one = uploader()
    one.add(folder, "session", known)
    run(one, second, "second")
    until(lambda: not film.exists())
    assert unknown.exists()
    server.sessions = {"session"}
    until(lambda: one.counts["uploaded"] == 2)
    assert (one.counts["refused"], one.waiting(), uploader.reports) == (0, 0, [])


def test_it_goes_on_when_the_server_is_back(uploader, folder, add_film):
    film = add_film()
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    one = run(uploader(f"http://127.0.0.1:{port}"), folder)
    until(lambda: uploader.reports)
    assert "refused the connection" in one.last_error
    with FakeVideos(port=port) as server:
        until(lambda: not film.exists())
        assert len(server.films) == 1
    assert uploader.reports == [("error", "network")]


def test_it_reads_the_answer_although_the_server_takes_only_a_part(server, tmp_path):
    film = tmp_path / "film.upload"
    with open(film, "wb") as file:
        file.truncate(50 << 20)
    server.answers, server.read_bytes = [(413, {}, {"detail": "too large"})], 10
    answer = FilmRequest(f"http://127.0.0.1:{server.port}/videos", wait=lambda seconds: False).post({}, {}, film)
    assert (answer.status, json.loads(answer.text)) == (413, {"detail": "too large"})


def test_it_uploads_a_film_again_whose_answer_was_lost_and_the_server_stores_it_once(
    uploader, server, folder, add_film
):
    film = add_film()
    server.may_answer.clear()
    one = run(uploader(), folder)
    assert server.entered.wait(5)
    begin = time.monotonic()
    one.stop(10)
    assert time.monotonic() - begin < 5
    assert uploader.reports == []
    assert film.exists()
    assert not film.with_suffix(".upload").exists()
    server.may_answer.set()
    until(lambda: server.films)
    again = run(uploader(), folder)
    until(lambda: again.counts["uploaded"])
    assert (len(server.forms), len(server.films)) == (2, 1)


def test_frames_come_first(uploader, server, folder, add_film):
    film, may, asked = add_film(), threading.Event(), threading.Event()
    one = run(uploader(may_upload=lambda: asked.set() or may.is_set()), folder)
    assert asked.wait(5)
    assert film.exists()
    may.set()
    until(lambda: one.counts["uploaded"])


def test_a_film_on_its_way_pauses_while_frames_wait(uploader, server, folder, add_film, monkeypatch):
    monkeypatch.setattr(film_upload, "PAUSE_S", 0.01)
    add_film()
    answers = iter([True, False, False, False])
    one = run(uploader(may_upload=lambda: next(answers, True)), folder)
    until(lambda: one.counts["uploaded"])
    assert one._paused_s == pytest.approx(0.03)


def test_it_keeps_to_the_rate(server, ready):
    waited = []
    request = FilmRequest(
        f"http://127.0.0.1:{server.port}/videos",
        wait=lambda seconds: waited.append(seconds),
        kbit_s=80,
    )
    fields = {"session_key": "s", "camera_key": "c", "start_timestamp": "1"}
    request.post({}, fields, ready)
    # No time passes here, so each block waits for all the blocks before it.
    assert waited == sorted(waited)
    assert waited[-1] == pytest.approx(ready.stat().st_size * 8 / 80_000, abs=0.3)
    assert len(waited) > ready.stat().st_size / 1100


def test_it_refuses_a_rate_at_which_the_server_closes_connections(uploader):
    with pytest.raises(ValueError, match="upload_kbit_s is 8; at least 16"):
        uploader(kbit_s=8)


def test_it_stops_between_two_blocks(server, ready):
    request = FilmRequest(f"http://127.0.0.1:{server.port}/videos", wait=lambda seconds: True)
    with pytest.raises(Stopped):
        request.post({}, {}, ready)


def test_it_streams_a_film_from_the_disk(server, tmp_path):
    film, server.discard = tmp_path / "film.upload", True
    with open(film, "wb") as file:
        file.truncate(50 << 20)
    request = FilmRequest(f"http://127.0.0.1:{server.port}/videos", wait=lambda seconds: False)
    gc.collect()
    tracemalloc.start()
    try:
        assert request.post({}, {}, film).status == 201
        assert tracemalloc.get_traced_memory()[1] < 4 << 20  # the server's thread has 1 MiB of it
    finally:
        tracemalloc.stop()


def test_it_knows_the_companys_ca(uploader, folder, add_film, authority, monkeypatch):  # noqa: F811
    from teleop_client.network import connect_options

    film = add_film()
    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **options: getaddrinfo("127.0.0.1", *rest, **options)
    )
    with FakeVideos(authority.server()) as server:
        url = f"wss://{NAME}:{server.port}/teleop/"
        one = run(uploader(url), folder)
        until(lambda: uploader.reports)
        assert "set ca_file=" in one.last_error
        one.stop()
        ssl = connect_options(url=url, ca_file=authority.file)["ssl"]
        run(uploader(url, ssl=ssl), folder)
        until(lambda: not film.exists())
        assert server.forms[0]["path"] == "/teleop/videos"


@pytest.mark.parametrize("option", ["given", "environment"])
def test_it_uploads_through_a_proxy(uploader, server, folder, add_film, monkeypatch, option):
    film = add_film()
    with FakeVideos() as proxy:
        address = f"http://user:pa%2Fss@127.0.0.1:{proxy.port}"
        monkeypatch.setenv("https_proxy", address)
        url = f"http://robots.invalid:{server.port}"
        run(uploader(url, **({"proxy": address} if option == "given" else {})), folder)
        until(lambda: not film.exists())
        ((place, headers),) = proxy.tunnels
    assert (place, headers["Proxy-Authorization"]) == (f"robots.invalid:{server.port}", "Basic dXNlcjpwYS9zcw==")
    assert "Authorization" not in headers
    assert len(server.films) == 1


def test_it_reports_a_proxy_that_it_cannot_use(uploader, folder, add_film):
    add_film()
    one = run(uploader(proxy="socks5://127.0.0.1:1"), folder)
    until(lambda: uploader.reports)
    assert "socks5" in one.last_error


def test_it_goes_on_after_an_unexpected_error(uploader, server, folder, add_film, monkeypatch):
    film, failing = add_film(), [True]
    films = film_file.films
    monkeypatch.setattr(film_file, "films", lambda folder: 1 / 0 if failing and failing.pop() else films(folder))
    run(uploader(), folder)
    until(lambda: not film.exists())
    assert uploader.reports == [("error", "unexpected")]


def test_it_reports_a_disk_that_has_no_place_for_the_copy(uploader, server, folder, add_film, monkeypatch):
    film = add_film()
    with monkeypatch.context() as patch:
        patch.setattr(
            "teleop_client.camera.film_chunk.av.open", lambda *_, **options: (_ for _ in ()).throw(OSError(28, "full"))
        )
        one = run(uploader(), folder)
        until(lambda: uploader.reports)
    until(lambda: one.counts["uploaded"])
    assert not film.exists()
    assert uploader.reports == [("error", "disk")]


def test_a_drain_uploads_the_films_of_a_dead_process(uploader, server, folder, add_film):
    torn = add_film(1)
    with open(torn, "ab") as file:
        file.write(b"\0\0\x10\0moof torn")
    torn.rename(torn.with_name("000001.part.mp4"))
    add_film(2, "wrist")
    (folder / "front" / "000009.upload").write_bytes(b"left")
    (folder / "front" / "000008.json").write_text("{}")
    assert uploader().drain(folder, "session", known) == 0
    assert (len(server.films), server.forms[0]["session_key"]) == (2, "session")
    assert not folder.parent.exists()


@pytest.mark.parametrize("reason", ["server away", "session unknown", "time unknown", "stopped"])
def test_a_drain_leaves_films_that_cannot_be_uploaded_now(uploader, server, folder, add_film, reason):
    start = {"since_s": 5.0, "base": {"boot": "b", "elapsed_s": 7.0}}
    film, other = add_film(1, start=start if reason == "time unknown" else None), add_film(2)
    one = uploader()
    if reason == "server away":
        server.answers = [(503, {}, {})]
    elif reason == "session unknown":
        server.sessions = set()
    elif reason == "stopped":
        one.stop()
    assert one.drain(folder, "session", lambda *_: None) == 2
    assert film.exists()
    assert other.exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host", "https://host/videos"),
        ("wss://host:1/teleop/", "https://host:1/teleop/videos"),
        ("ws://[::1]:8000", "http://[::1]:8000/videos"),
    ],
)
def test_films_go_beside_the_frames(url, expected):
    assert videos_url(url) == expected
