"""GET and DELETE /videos: finding and deleting chunks."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import transaction
from django.urls import reverse

from robots.models import Robot
from teleop.models import TeleopSession
from videos.models import VideoChunk
from videos.tests.video_files import START, files, upload

pytestmark = pytest.mark.django_db


def add(session, camera="front", start=START, name="nothing.mp4"):
    times = {"start_timestamp": start, "end_timestamp": start + 1}
    return VideoChunk.objects.create(
        session=session, robot_id=session.robot_id, camera_key=camera, file_path=name, size=1, sha256="0" * 64, **times
    )


@pytest.fixture
def two_sessions(session):
    """Make chunks 1 to 4: two of a camera, one of another, and one of another robot's session."""
    other = TeleopSession.objects.create(robot=Robot.objects.create(pk="other"), key="evening-run")
    add(other, start=START + 100), add(session, "wrist"), add(session, start=START + 1), add(session)
    return session, other


def found(client, query=""):
    answer = client.get(f"/videos?{query}")
    assert answer.status_code == 200, answer.json()
    return [(each["robot"], each["camera_key"], each["start_timestamp"] - START) for each in answer.json()["results"]]


FRONT, NEXT, WRIST, OTHER = ("arm", "front", 0), ("arm", "front", 1), ("arm", "wrist", 0), ("other", "front", 100)


def test_it_orders_the_list_by_session_camera_and_time(viewer, two_sessions):
    assert found(viewer) == [FRONT, NEXT, WRIST, OTHER]


def test_it_paginates_the_list(viewer, two_sessions):
    assert found(viewer, "limit=2&offset=1") == [NEXT, WRIST]


@pytest.mark.parametrize(
    "query, expected",
    [
        ("session={0}", [FRONT, NEXT, WRIST]),
        ("robot=other", [OTHER]),
        ("camera_key=front", [FRONT, NEXT, OTHER]),
        ("session={0}&camera_key=wrist", [WRIST]),
        ("from=2026-01-05T08:00:01Z", [NEXT, OTHER]),
        ("to=2026-01-05T08:00:01Z", [FRONT, WRIST]),
        ("from=2026-01-05T08:00:01Z&to=2026-01-05T08:01:00Z", [NEXT]),
        ("robot=nobody", []),
    ],
)
def test_it_filters_the_list(viewer, two_sessions, query, expected):
    assert found(viewer, query.format(*[each.pk for each in two_sessions])) == expected


@pytest.mark.parametrize(
    "query, expected",
    [
        ("codec=mpeg4", [NEXT]),
        ("codec=h264", [FRONT]),
        ("playable=true", [FRONT]),
        ("playable=false", [NEXT]),
        ("codec=h264&playable=false", []),
    ],
)
def test_it_filters_by_codec_and_by_what_browsers_play(viewer, session, query, expected):
    add(session, "wrist")  # not probed yet
    for start, codec, playable in ((START, "h264", True), (START + 1, "mpeg4", False)):
        VideoChunk.objects.filter(pk=add(session, start=start).pk).update(codec=codec, playable=playable)
    assert found(viewer, query) == expected


def test_a_video_that_was_not_probed_yet_says_so(viewer, session):
    shown = viewer.get(f"/videos/{add(session).pk}").json()
    names = ("first_picture_s", "duration_s", "has_audio", "width", "height", "rate", "playable", "poster", "proxy")
    assert {name: shown[name] for name in names} == dict.fromkeys(names)
    assert (shown["codec"], shown["pixel_format"], shown["stretch"], shown["preview"]) == ("", "", 1.0, "original")


@pytest.mark.parametrize(
    "query, field",
    [
        ("codec=" + "a" * 31, "codec"),
        ("playable=yes", "playable"),
        ("camera=front", "camera"),
        ("session=one", "session"),
        ("session=1.5", "session"),
        ("session=0", "session"),
        ("session=99999999999999999999", "session"),
        ("session=", "session"),
        ("robot=" + "a" * 65, "robot"),
        ("camera_key=" + "a" * 101, "camera_key"),
        ("camera_key=a%00", "camera_key"),
        ("from=soon", "from"),
        ("from=2026-01-06T00:00:00Z&to=2026-01-05T00:00:00Z", "to"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("offset=99999999999", "offset"),
    ],
)
def test_it_refuses_an_invalid_parameter_and_names_it(viewer, query, field):
    answer = viewer.get(f"/videos?{query}")
    assert answer.status_code == 400 and list(answer.json()) == [field]


def test_the_list_takes_two_queries_and_three_for_authentication(viewer, session, django_assert_num_queries):
    for number in range(20):
        add(session, start=START + number)
    with django_assert_num_queries(5):
        assert len(found(viewer)) == 20


def test_one_chunk_takes_one_query_and_three_for_authentication(viewer, session, django_assert_num_queries):
    number = add(session).pk
    with django_assert_num_queries(4):
        assert viewer.get(f"/videos/{number}").json()["camera_key"] == "front"


@pytest.mark.parametrize("path", ["/videos/7", "/videos/7/content", "/videos/999999999999999999"])
def test_it_returns_404_for_an_unknown_chunk(viewer, path):
    answer = viewer.get(path)
    assert answer.status_code == 404 and "detail" in answer.json()


@pytest.mark.parametrize("method", ["put", "patch"])
def test_it_returns_405_for_put_and_patch(admin, session, method):
    assert getattr(admin, method)(f"/videos/{add(session).pk}").status_code == 405


def add_files_beside(media: Path) -> None:
    for chunk in VideoChunk.objects.all():
        for name in (chunk.poster_name, chunk.proxy_name):
            (media / name).write_bytes(b"x")


def test_it_deletes_the_files_of_a_deleted_chunk_after_commit(
    admin, session, media, django_capture_on_commit_callbacks
):
    kept = upload(admin, session, camera_key="wrist").json()["id"]
    number = upload(admin, session).json()["id"]
    add_files_beside(media)
    with django_capture_on_commit_callbacks(execute=True):
        assert admin.delete(f"/videos/{number}").status_code == 204
        assert len(files(media)) == 6
    assert files(media) == sorted(VideoChunk.objects.get(pk=kept).file_names)


@pytest.mark.django_db(transaction=True)
def test_it_keeps_the_file_if_the_deletion_is_rolled_back(admin, session, media):
    upload(admin, session)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        VideoChunk.objects.get().delete()
        1 / 0  # noqa: B018
    assert files(media) == [VideoChunk.objects.get().file_path.name]


@pytest.mark.django_db(transaction=True)
def test_it_deletes_the_row_even_if_deleting_the_file_fails(admin, session, monkeypatch):
    number = upload(admin, session).json()["id"]
    monkeypatch.setattr("django.core.files.storage.FileSystemStorage.delete", lambda *_: 1 / 0)
    assert admin.delete(f"/videos/{number}").status_code == 204
    assert not VideoChunk.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_deleting_a_session_deletes_its_files(admin, session, media):
    other = TeleopSession.objects.create(robot_id="arm", key="evening-run")
    upload(admin, session), upload(admin, session, camera_key="wrist"), upload(admin, other)
    add_files_beside(media)
    assert admin.delete(f"/sessions/{session.pk}").status_code == 204
    assert files(media) == sorted(VideoChunk.objects.get().file_names)
    assert VideoChunk.objects.get().session == other


@pytest.mark.django_db(transaction=True)
def test_prune_deletes_the_files_of_old_sessions(admin, session, media):
    upload(admin, session)
    add_files_beside(media)
    assert len(files(media)) == 3
    call_command("prune", "--older-than", "1h", stdout=io.StringIO())
    assert not VideoChunk.objects.exists() and not files(media)


@pytest.mark.django_db(transaction=True)
def test_the_admin_delete_action_deletes_files(client, admin, session, media, django_user_model):
    number = upload(admin, session).json()["id"]
    client.force_login(django_user_model.objects.create_superuser("boss"))
    chosen = {"action": "delete_selected", "_selected_action": [number], "post": "yes"}
    client.post(reverse("admin:videos_videochunk_changelist"), chosen)
    assert not VideoChunk.objects.exists() and not files(media)


def test_it_reads_filter_times_as_utc(viewer, session):
    add(session)
    moment = datetime.fromtimestamp(START, UTC).isoformat().replace("+00:00", "")
    assert found(viewer, f"to={moment}") == []
