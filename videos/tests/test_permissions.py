"""Permissions for uploads; for other permissions: tests/test_access.py. The session is the robot `arm`'s."""

import pytest

from robots.models import Robot
from robots.tests.api_clients import person
from videos import views
from videos.models import VideoChunk
from videos.tests.video_files import upload

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.mark.parametrize("who, status", [("admin", 201), ("arm", 201), ("curator", 403), ("anonymous", 401)])
def test_it_accepts_uploads_from_the_robot_and_administrators(request, session, who, status):
    assert upload(request.getfixturevalue(who), session).status_code == status


@pytest.mark.parametrize("path", ["", "/content", "/poster", "/proxy"])
@pytest.mark.parametrize(
    "who, status",
    [("viewer", 200), ("curator", 200), ("arm", 403), ("leg", 403), ("outsider", 403), ("anonymous", 401)],
)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_viewers_read_a_video_and_its_files_and_robots_do_not(request, admin, session, media, who, status, path):
    chunk = VideoChunk.objects.get(pk=upload(admin, session).json()["id"])
    for name in (chunk.poster_name, chunk.proxy_name):
        (media / name).write_bytes(b"x")
    VideoChunk.objects.update(poster_size=1, proxy_size=1)
    assert request.getfixturevalue(who).get(f"/videos/{chunk.pk}{path}").status_code == status


def test_it_hides_sessions_of_other_robots_from_a_robot(leg, session):
    there, missing = upload(leg, session), upload(leg, session, session=999_999)
    assert (there.status_code, missing.status_code) == (400, 400)
    assert there.json() == {"session": [f"session is {session.pk}; there is no such session"]}


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("POST", "/videos", 201),
        ("GET", "/videos", 200),
        ("GET", "/videos/{}/content", 200),
        ("DELETE", "/videos/{}", 401),
    ],
)
def test_open_mode_lets_anonymous_clients_upload_and_read(anonymous, settings, session, method, path, status):
    settings.ROBOT_AUTH = "open"
    if method == "POST":
        assert upload(anonymous, session).status_code == status
    else:
        there = upload(person("uploader", is_superuser=True), session).json()["id"]
        assert getattr(anonymous, method.lower())(path.format(there)).status_code == status


def test_open_mode_limits_a_robot_with_a_key_to_its_own_sessions(settings, session, leg, arm):
    settings.ROBOT_AUTH = "open"
    assert [upload(client, session).status_code for client in (leg, arm)] == [400, 201]


@pytest.mark.parametrize("changes", [{}, {"session": None, "robot": "arm", "session_key": "not-there-yet"}])
def test_open_mode_refuses_a_disabled_robot(anonymous, admin, settings, session, changes):
    settings.ROBOT_AUTH = "open"
    Robot.objects.filter(pk="arm").update(disabled=True)
    answer = upload(anonymous, session, **changes)
    assert (answer.status_code, answer.json()["code"]) == (403, "robot_disabled")
    assert answer.json()["detail"].startswith("robot arm is disabled")
    assert not VideoChunk.objects.exists()
    assert upload(admin, session).status_code == 201


def test_it_refuses_a_robot_that_was_disabled_during_its_upload(arm, session, monkeypatch):
    def receive(length: int) -> None:
        Robot.objects.filter(pk="arm").update(disabled=True)

    monkeypatch.setattr(views, "check_room", receive)  # the body is read after it
    answer = upload(arm, session)
    assert (answer.status_code, answer.json()["code"]) == (403, "robot_disabled")


@pytest.mark.parametrize(
    "origin, status",
    [
        (None, 201),
        ("http://testserver", 201),
        ("https://lab.example", 201),  # CSRF_TRUSTED_ORIGINS
        ("http://evil.example", 403),
        ("http://testserver.evil.example", 403),
        ("http://testserver:81", 403),
        ("null", 403),
    ],
)
def test_open_mode_refuses_cross_origin_uploads(anonymous, settings, session, origin, status):
    settings.ROBOT_AUTH, settings.CSRF_TRUSTED_ORIGINS = "open", ["https://lab.example"]
    if origin is not None:
        anonymous.credentials(HTTP_ORIGIN=origin)
    answer = upload(anonymous, session)
    assert answer.status_code == status
    assert status == 201 or origin in answer.json()["detail"]
