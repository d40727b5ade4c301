"""POST /videos: the stored file and row, and repeated uploads."""

import hashlib
import re
import threading

import pytest
from django.db import connection

from robots.models import Robot
from robots.tests.api_clients import robot_client
from teleop.models import TeleopSession
from videos.background import POSTER, PROBE, PROXY
from videos.models import VideoChunk
from videos.tests.film_files import FILMS
from videos.tests.video_files import START, files, film, upload

pytestmark = pytest.mark.django_db


def test_it_stores_an_upload_unchanged(arm, session, media):
    assert upload(arm, session).status_code == 201
    chunk = VideoChunk.objects.get()
    assert (chunk.session, chunk.robot_id, chunk.camera_key) == (session, "arm", "front")
    assert (chunk.start_timestamp, chunk.end_timestamp) == (START, START + 1)
    assert (media / chunk.file_path.name).read_bytes() == film()
    assert (chunk.size, chunk.sha256) == (len(film()), hashlib.sha256(film()).hexdigest())


def test_it_returns_the_stored_chunk_and_its_content_url(admin, session):
    answer = upload(admin, session).json()
    assert answer["content"] == f"http://testserver/videos/{answer['id']}/content"
    assert (answer["session"], answer["robot"], answer["size"]) == (session.pk, "arm", len(film()))


@pytest.mark.once
def test_it_describes_the_video(arm, session):
    answer = upload(arm, session, film(codec="libx264")).json()
    assert {name: answer[name] for name in ("codec", "pixel_format", "width", "height", "rate", "media_type")} == {
        "codec": "h264", "pixel_format": "yuv420p", "width": 64, "height": 48, "rate": 10.0, "media_type": "video/mp4"
    }  # fmt: skip
    assert (answer["first_picture_s"], answer["duration_s"], answer["stretch"]) == (0.0, 1.0, 1.0)
    assert (answer["has_audio"], answer["playable"], answer["preview"], answer["timing"]) == (
        False,
        True,
        "original",
        "",
    )
    assert (answer["poster"], answer["proxy"]) == (None, None)
    assert "warning" not in answer


@pytest.mark.once
def test_it_warns_of_a_video_that_browsers_do_not_play(arm, session):
    answer = upload(arm, session, film(codec="mpeg4")).json()
    assert (answer["playable"], answer["preview"]) == (False, "pending")
    assert answer["warning"] == (
        "browsers do not play mpeg4 (yuv420p) in video/mp4. The file is stored, and the server makes a small H.264 "
        "version for the replay (proxy). To upload a file that browsers play: ffmpeg -i film.mp4 -c:v libx264 "
        "-pix_fmt yuv420p -g 30 converted.mp4"
    )


@pytest.mark.once
def test_it_stores_depth_without_a_preview(arm, session):
    answer = upload(arm, session, film(codec="libx265", pixels="gray12le")).json()
    assert answer["warning"] == "depth: stored, no preview (gray12le in hevc)"
    assert (answer["playable"], answer["preview"], answer["poster"], answer["proxy"]) == (False, "none", None, None)
    assert not any(kind.due() for kind in (PROBE, POSTER, PROXY))


@pytest.mark.once
@pytest.mark.parametrize("timing, seconds, stretch", [("", 1.5, 1.5), ("nominal", 1.5, 1.5), ("exact", 1.5, 1.0)])
def test_the_uploader_says_which_times_are_right(arm, session, timing, seconds, stretch):
    answer = upload(arm, session, film(), seconds=seconds, timing=timing).json()
    assert (answer["timing"], answer["duration_s"], answer["stretch"]) == (timing, 1.0, pytest.approx(stretch))


@pytest.mark.once
@pytest.mark.parametrize(
    "container, media_type",
    [
        ("mp4", "video/mp4"),
        ("mov", "video/quicktime"),
        ("webm", "video/webm"),
        ("mkv", "video/x-matroska"),
        ("avi", "video/x-msvideo"),
        ("ts", "video/mp2t"),
    ],
)
def test_it_stores_each_container_as_it_is(admin, session, media, container, media_type):
    content = film(container=container)
    answer = upload(admin, session, content).json()
    assert answer["media_type"] == media_type
    [path] = files(media)
    assert path.endswith(f".{container}") and (media / path).read_bytes() == content
    there = admin.get(f"/videos/{answer['id']}/content")
    assert there["Content-Type"] == media_type and there["Content-Disposition"].endswith(
        f'-{answer["id"]}.{container}"'
    )
    there.close()


@pytest.mark.once
@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a" * 300 + ".mp4", "a." + "b" * 300, "x\0.mp4", "ü.mp4"])
def test_it_ignores_the_file_name_of_the_client(arm, session, media, name):
    assert upload(arm, session, name=name).status_code == 201
    [path] = files(media)
    assert re.fullmatch(rf"videos/{session.pk}/front/[0-9a-f]{{32}}\.mp4", path)
    assert files(media.parent) == [f"media/{path}"]


def test_it_stores_a_repeated_upload_once(arm, session, media):
    answers = [upload(arm, session) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(files(media)) == VideoChunk.objects.count() == 1


@pytest.mark.parametrize("start", [START - 0.5, START + 0.5, START])
def test_it_returns_409_and_names_the_overlapping_chunk(arm, session, media, start):
    other = upload(arm, session).json()["id"]
    answer = upload(arm, session, film(shade=200), start=start)
    assert answer.status_code == 409 and f"video {other} of camera front" in answer.json()["detail"]
    assert len(files(media)) == VideoChunk.objects.count() == 1


@pytest.mark.parametrize("seconds", [0.002, 0.001, 0.0001, 3e-7])
def test_it_stores_a_repeated_upload_of_a_short_chunk_once(arm, session, seconds):
    statuses = [upload(arm, session, film(), seconds=seconds).status_code for _ in range(2)]
    assert statuses == [201, 200]


@pytest.mark.parametrize("lengths", [(0.001, 1.0), (1.0, 0.001), (0.001, 0.002)])
def test_it_returns_409_for_another_length_at_the_same_start(arm, session, lengths):
    assert [upload(arm, session, film(), seconds=length).status_code for length in lengths] == [201, 409]


@pytest.mark.parametrize("start", [START - 0.0002, START + 0.0002])
def test_it_returns_409_for_a_short_chunk_inside_another(arm, session, start):
    statuses = [
        upload(arm, session, film(), start=begin, seconds=length).status_code
        for begin, length in ((START, 0.001), (start, 0.0011))
    ]
    assert statuses == [201, 409]


@pytest.mark.parametrize("start", [START - 0.001, START + 0.001, START + 0.0009])
def test_it_accepts_adjacent_short_chunks(arm, session, start):
    statuses = [upload(arm, session, film(), start=begin, seconds=0.001).status_code for begin in (START, start)]
    assert statuses == [201, 201]


def test_it_returns_409_for_the_same_file_at_an_overlapping_time(arm, session):
    upload(arm, session)
    assert upload(arm, session, start=START + 0.5).status_code == 409


@pytest.mark.parametrize("start", [START - 1, START + 1, START + 0.9995])
def test_it_accepts_adjacent_chunks(arm, session, start):
    assert [upload(arm, session).status_code, upload(arm, session, start=start).status_code] == [201, 201]


def test_it_accepts_the_same_time_for_another_camera_or_session(arm, session):
    other = TeleopSession.objects.create(robot_id="arm", key="evening-run")
    answers = [upload(arm, session), upload(arm, session, camera_key="wrist"), upload(arm, other)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]


def test_it_accepts_uploads_to_a_live_session(arm, session):
    TeleopSession.objects.update(end_time=None)
    assert upload(arm, session).status_code == 201


@pytest.mark.once
@pytest.mark.parametrize("camera", ["front", "observation.images.front", "a" * 100, "0-_.x"])
def test_it_accepts_camera_keys_of_lerobot(arm, session, camera):
    assert upload(arm, session, camera_key=camera).status_code == 201


@pytest.mark.once
@pytest.mark.parametrize("printed", [0.2, 1.9])
def test_it_tolerates_a_small_difference_from_the_video_duration(arm, session, printed):
    assert upload(arm, session, film(1.0), seconds=printed).status_code == 201


@pytest.mark.once
def test_what_an_edit_list_hides_does_not_count(arm, session):
    """`ffmpeg -ss 3.5 -c copy` keeps all pictures of 10 s and hides the first 3.5 s."""
    content = (FILMS / "cut_ss_copy.mp4").read_bytes()
    assert [upload(arm, session, content, seconds=seconds).status_code for seconds in (10, 6.5)] == [400, 201]


@pytest.mark.once
def test_the_tolerance_grows_with_the_video_duration(arm, session):
    assert [upload(arm, session, film(30.0), seconds=printed).status_code for printed in (31.6, 31.5)] == [400, 201]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("shades, statuses", [((0, 0), [200, 201]), ((0, 200), [201, 409])])
def test_it_stores_one_of_two_concurrent_uploads(media, session, monkeypatch, shades, statuses):
    """Both uploads store their files before either checks for other chunks."""
    both, answers = threading.Barrier(2, timeout=10), []
    insert = VideoChunk._insert_or_find
    monkeypatch.setattr(VideoChunk, "_insert_or_find", lambda *of: (both.wait(), insert(*of))[1])
    key = robot_client("arm")._credentials

    def send(shade):
        from robots.tests.api_clients import Client

        client = Client()
        client.credentials(**key)
        answers.append(upload(client, session, film(shade=shade)).status_code)
        connection.close()

    threads = [threading.Thread(target=send, args=[shade]) for shade in shades]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(answers) == statuses
    assert len(files(media)) == VideoChunk.objects.count() == 1


def test_it_refuses_an_upload_if_the_session_is_deleted_meanwhile(arm, session, media, monkeypatch):
    insert = VideoChunk._insert_or_find
    monkeypatch.setattr(VideoChunk, "_insert_or_find", lambda *of: (session.delete(), insert(*of))[1])
    number = session.pk
    answer = upload(arm, session)
    assert answer.status_code == 400
    assert answer.json() == {"session": [f"session is {number}; there is no such session"]}
    assert not files(media)


def test_an_upload_takes_eight_queries(arm, session, django_assert_num_queries):
    with django_assert_num_queries(8):  # key; session; its robot; its lock, overlaps and the row in a savepoint
        assert upload(arm, session).status_code == 201


def test_a_chunk_gets_the_robot_of_its_session(admin, session):
    Robot.objects.create(pk="other")
    assert upload(admin, session).json()["robot"] == "arm"
