"""The uploads of films of a push: answers, repeats, and the end of patience."""

import pytest
from fake_videos import FakeVideos
from teleop_client import SessionDeleted
from teleop_client.push import film_sender
from teleop_client.push.film_sender import FilmRefused, FilmSender, Upload
from teleop_client.push.target import PushStopped, Target

BEGIN_US, END_US = 1779019200_000000, 1779019202_033333
SESSION = "session-of-the-tests"


@pytest.fixture
def videos():
    with FakeVideos() as videos:
        yield videos


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "0.mp4"
    path.write_bytes(b"film")
    return path


@pytest.fixture
def send(videos, film):
    sender = FilmSender(Target(f"ws://127.0.0.1:{videos.port}/teleop", "arm", "key"))
    return lambda: sender.send(film, SESSION, "front", BEGIN_US, END_US)


def test_it_sends_a_film_with_exact_times(videos, send):
    assert send() is Upload.NEW
    assert videos.forms == [
        {
            "path": "/teleop/videos",
            "robot": "arm",
            "session_key": SESSION,
            "camera_key": "front",
            "start_timestamp": "1779019200.000000",
            "end_timestamp": "1779019202.033333",
            "timing": "exact",
        }
    ]
    assert videos.headers[0]["Authorization"] == "Bearer key"
    assert send() is Upload.KNOWN


def test_it_repeats_an_upload_that_the_server_could_not_take(videos, send, monkeypatch):
    monkeypatch.setattr(film_sender, "DELAYS", film_sender.Delays(first=0.01, most=0.01))
    videos.answers = [(503, {}, {}), (429, {}, {}), (409, {}, {"code": "session_unknown"})]
    assert send() is Upload.NEW
    assert len(videos.forms) == 4


def test_it_knows_a_film_that_was_cut_by_another_version(videos, send):
    same = f"overlaps video 7 of camera front, from {BEGIN_US / 1e6} to {END_US / 1e6}"
    other = f"overlaps video 7 of camera front, from {BEGIN_US / 1e6} to {BEGIN_US / 1e6 + 60}"
    videos.answers = [(409, {}, {"detail": same}), (409, {}, {"detail": other})]
    assert send() is Upload.OTHER
    with pytest.raises(FilmRefused, match=r"HTTP 409 .*overlaps video 7"):
        send()


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (400, FilmRefused, "HTTP 400"),
        (413, FilmRefused, "HTTP 413"),
        (410, SessionDeleted, "was deleted"),
        (403, PushStopped, "refuses films of this robot: HTTP 403"),
    ],
)
def test_it_does_not_repeat_a_refused_upload(videos, send, status, error, sentence):
    videos.answers = [(status, {}, {})]
    with pytest.raises(error, match=sentence):
        send()
    assert len(videos.forms) == 1


def test_it_gives_up_and_says_why(videos, send, monkeypatch):
    monkeypatch.setattr(film_sender, "PATIENCE_S", 0.0)
    videos.answers = [(503, {}, {"detail": "the disk is full"})]
    with pytest.raises(PushStopped, match=r"a film of front could not be uploaded .*the disk is full"):
        send()


def test_it_gives_up_if_nothing_answers(film, monkeypatch):
    monkeypatch.setattr(film_sender, "PATIENCE_S", 0.0)
    with FakeVideos() as videos:
        url = f"http://127.0.0.1:{videos.port}"
    with pytest.raises(PushStopped, match=r"refused the connection: check the port"):
        FilmSender(Target(url, "arm")).send(film, SESSION, "front", BEGIN_US, END_US)
