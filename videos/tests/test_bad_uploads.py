"""POST /videos: refused uploads, with the field and its bound in the answer, and no file left on the disk."""

import errno

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from videos import serializers
from videos.models import VideoChunk
from videos.probe import probe
from videos.tests.video_files import START, files, film, upload

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
BAD = [
    ({"session": None}, "session", "required"),
    ({"session": "one"}, "session", "session is one; an integer between 1 and 2147483647 expected"),
    ({"session": 0}, "session", "between 1 and"),
    ({"session": 10**30}, "session", "between 1 and"),
    ({"session": 2**31 - 1}, "session", "there is no such session"),
    ({"camera_key": None}, "camera_key", "required"),
    ({"camera_key": ""}, "camera_key", "blank"),
    ({"camera_key": "a" * 101}, "camera_key", "100"),
    *[
        ({"camera_key": key}, "camera_key", "camera_key is")
        for key in ("..", ".", "../x", "a..b", ".a", "a.", "a/b", "a b", "ü", "a\n", "a\\b")
    ],
    ({"camera_key": "a\0"}, "camera_key", "camera_key is a"),
    ({"start_timestamp": None}, "start_timestamp", "required"),
    *[
        ({"start_timestamp": value}, "start_timestamp", "unix seconds between 2000 and 2100 expected")
        for value in ("nan", "inf", "-inf", "1e999", "-1", "0", "946684799.9", "1_767_600_000", "soon", "", "1" * 400)
    ],
    ({"end_timestamp": "4102444800.1"}, "end_timestamp", "unix seconds between 2000 and 2100 expected"),
    ({"end_timestamp": START}, "end_timestamp", f"end_timestamp is {START}; later than start_timestamp"),
    ({"end_timestamp": START - 1}, "end_timestamp", "later than start_timestamp"),
    ({"file": None}, "file", "No file"),
    ({"file": "text"}, "file", "not a file"),
    ({"timing": "approximate"}, "timing", "not a valid choice"),
    ({"size": 7}, "size", "unknown field size; session, session_key, robot, camera_key, "),
    ({"sha256": "0" * 64}, "sha256", "unknown field sha256"),
    ({"robot": "leg"}, "robot", "robot is leg; session_key, in place of session, expected"),
    ({"camera_key": ["front", "wrist"]}, "camera_key", "camera_key was sent 2 times; once expected"),
    *[
        ({name: SimpleUploadedFile("x", b"1767600000")}, name, f"{name} is a file; text expected")
        for name in ("session", "camera_key", "start_timestamp", "end_timestamp")
    ],
    ({"thumbnail": SimpleUploadedFile("x.png", b"x")}, "thumbnail", "unknown field thumbnail"),
]
NO_VIDEOS = {
    "a text file called mp4": (
        b"this is no film, only its title",
        "file is not a usable video: it is text; mp4, mov, webm, mkv, avi or ts expected",
    ),
    "a playlist of other files": (PLAYLIST, "file is not a usable video: it is a playlist (HLS); mp4"),
    "an empty file": (b"", "empty"),
    "sound alone": (film(kind="sound"), "file is not a usable video: it has no video stream"),
    "cut off in the middle": (film(30.0)[: len(film(30.0)) // 2], "file is not a usable video"),
    "without pictures": (film(0.1)[:40] + bytes(200), "file is not a usable video"),
    "too short": (film(3.0), "file is 3.000 s of video; 30.000 s"),
    "too long": (film(33.0), "file is 33.000 s of video; 30.000 s (end_timestamp - start_timestamp) expected"),
}


def assert_nothing_is_left(media):
    assert not files(media) and not VideoChunk.objects.exists()


@pytest.mark.parametrize("change, field, says", BAD)
def test_it_refuses_an_invalid_field_and_names_it(admin, session, media, change, field, says):
    answer = upload(admin, session, **change)
    assert answer.status_code == 400, answer.json()
    assert list(answer.json()) == [field] and says in answer.json()[field][0]
    assert_nothing_is_left(media)


@pytest.mark.parametrize("content, says", NO_VIDEOS.values(), ids=NO_VIDEOS)
def test_it_refuses_an_invalid_video_or_one_of_the_wrong_duration(admin, session, media, content, says):
    answer = upload(admin, session, content, seconds=30.0)
    assert answer.status_code == 400 and says in answer.json()["file"][0]
    assert_nothing_is_left(media)


@pytest.mark.parametrize(
    "missing, says", [(50, "file is not a usable video: it is cut off"), (2000, "s of video; 30.000 s")]
)
def test_it_refuses_a_truncated_video_with_an_intact_index(admin, session, media, missing, says):
    """The index comes first and is complete; one picture is truncated, or many are missing."""
    answer = upload(admin, session, film(30.0, first="index", codec="mpeg4")[:-missing], seconds=30.0)
    assert answer.status_code == 400 and says in answer.json()["file"][0]
    assert_nothing_is_left(media)


def test_it_does_not_follow_a_list_of_other_files(admin, session, media):
    (media / "uploads").mkdir(parents=True)
    (media / "uploads" / "another.mp4").write_bytes(film(30.0))
    answer = upload(admin, session, b"ffconcat version 1.0\nfile another.mp4\n", seconds=30.0)
    assert answer.status_code == 400
    assert "file is not a usable video: it is a playlist (FFmpeg's concat); mp4" in answer.json()["file"][0]


def test_it_refuses_a_file_one_byte_over_the_limit(admin, session, media, settings):
    settings.VIDEO_MAX_BYTES = len(film()) - 1
    answer = upload(admin, session)
    bound = f"file is {len(film())} bytes; at most {len(film()) - 1} expected (VIDEO_MAX_BYTES)"
    assert (answer.status_code, answer.json()) == (413, {"detail": bound})
    assert_nothing_is_left(media)


def test_it_accepts_a_file_of_exactly_the_limit(admin, session, settings):
    settings.VIDEO_MAX_BYTES = len(film())
    assert upload(admin, session).status_code == 201


@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", "video/mp4"])
def test_it_returns_415_for_a_body_that_is_not_multipart(admin, session, media_type):
    assert admin.generic("POST", "/videos", b"x", media_type).status_code == 415


@pytest.mark.parametrize(
    "body", [b"", b"x", b"--b\r\n", b"--b\r\nContent-Disposition: form-data; name=session\r\n\r\n"]
)
def test_it_returns_400_for_a_malformed_form(admin, body):
    assert admin.generic("POST", "/videos", body, "multipart/form-data; boundary=b").status_code == 400


def test_a_form_without_a_boundary_is_refused(admin):
    assert admin.generic("POST", "/videos", b"x", "multipart/form-data").status_code == 400


def test_a_form_of_too_many_fields_is_refused(admin, session, media):
    fields = {f"field_{number}": "x" for number in range(2000)}
    assert upload(admin, session, **fields).status_code == 400
    assert_nothing_is_left(media)


def test_it_refuses_an_upload_to_another_robots_session(leg, session, media):
    answer = upload(leg, session)
    assert answer.status_code == 400
    assert_nothing_is_left(media)


def test_it_deletes_the_file_if_saving_the_row_fails(admin, session, media, monkeypatch):
    monkeypatch.setattr(VideoChunk, "save", lambda *_, **__: 1 / 0)
    assert upload(admin, session).status_code == 500
    assert_nothing_is_left(media)


def test_it_stops_an_upload_when_the_disk_fills_up_meanwhile(admin, session, media, monkeypatch):
    answers = iter([None, "the disk has 0 bytes free"])
    monkeypatch.setattr("videos.uploads.shortage", lambda **_: next(answers))
    monkeypatch.setattr("videos.uploads.UploadHandler._bytes_until_check", 1000)
    answer = upload(admin, session, bytes(100_000))
    assert (answer.status_code, answer.json()) == (507, {"detail": "the disk has 0 bytes free"})
    assert_nothing_is_left(media)


def test_it_returns_507_if_the_disk_is_full_when_the_file_is_synced(admin, session, media, monkeypatch):
    def sync(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("videos.models.sync", sync)
    answer = upload(admin, session)
    assert (answer.status_code, answer.json()) == (507, {"detail": "the disk is full: No space left on device"})
    assert_nothing_is_left(media)


def test_it_refuses_a_file_that_changes_during_the_probe(admin, session, media, monkeypatch):
    def probe_and_change(path):
        facts = probe(path)
        with open(path, "r+b") as file:
            file.write(b"x")
        return facts

    monkeypatch.setattr(serializers, "probe", probe_and_change)
    answer = upload(admin, session)
    assert (answer.status_code, answer.json()) == (400, {"file": ["file changed while it was checked; send it again"]})
    assert_nothing_is_left(media)


def test_it_returns_507_for_a_full_disk(admin, session, media, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TemporaryFileUploadHandler, "receive_data_chunk", write)
    answer = upload(admin, session)
    assert (answer.status_code, answer.json()) == (507, {"detail": "the disk is full: No space left on device"})
    assert_nothing_is_left(media)
