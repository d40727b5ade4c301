"""Who may upload what; who may what otherwise: tests/test_access.py. The session is the robot `arm`'s."""

import pytest

from robots.tests.people import person
from videos.tests.films import upload

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("who, status", [("admin", 201), ("arm", 201), ("curator", 403), ("anonymous", 401)])
def test_it_takes_uploads_of_the_robot_and_of_administrators(request, session, who, status):
    assert upload(request.getfixturevalue(who), session).status_code == status


def test_to_a_robot_another_ones_session_is_none(leg, session):
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
def test_where_no_key_is_asked_for_everyone_uploads_and_reads(anonymous, settings, session, method, path, status):
    settings.ROBOT_AUTH = "open"
    if method == "POST":
        assert upload(anonymous, session).status_code == status
    else:
        there = upload(person("uploader", is_superuser=True), session).json()["id"]
        assert getattr(anonymous, method.lower())(path.format(there)).status_code == status


def test_where_no_key_is_asked_for_a_robot_still_uploads_to_its_own_sessions_only(settings, session, leg, arm):
    settings.ROBOT_AUTH = "open"
    assert [upload(client, session).status_code for client in (leg, arm)] == [400, 201]


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
def test_where_no_key_is_asked_for_another_sites_page_posts_nothing(anonymous, settings, session, origin, status):
    settings.ROBOT_AUTH, settings.CSRF_TRUSTED_ORIGINS = "open", ["https://lab.example"]
    if origin is not None:
        anonymous.credentials(HTTP_ORIGIN=origin)
    answer = upload(anonymous, session)
    assert answer.status_code == status
    assert status == 201 or origin in answer.json()["detail"]
