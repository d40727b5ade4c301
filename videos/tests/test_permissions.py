"""Who may what with videos: docs/api.md in one table. The session is the robot `arm`'s; `leg` is another robot."""

import pytest

from robots.tests.people import person
from videos.tests.films import upload

pytestmark = pytest.mark.django_db

WHO = ["anonymous", "outsider", "viewer", "curator", "admin", "arm", "leg"]

# One column for each of WHO.
TABLE = """
POST    /videos             401 403 403 403 201 201 403
GET     /videos             401 403 200 200 200 403 403
GET     /videos/{}          401 403 200 200 200 403 403
HEAD    /videos/{}          401 403 200 200 200 403 403
GET     /videos/{}/content  401 403 200 200 200 403 403
HEAD    /videos/{}/content  401 403 200 200 200 403 403
DELETE  /videos/{}          401 403 403 204 204 403 403
"""
CASES = [
    (method, path, who, int(status))
    for method, path, *statuses in map(str.split, TABLE.strip().splitlines())
    for who, status in zip(WHO, statuses, strict=True)
]


def ask(request, session, who, method, path) -> int:
    client = request.getfixturevalue(who)
    if method == "POST":
        return upload(client, session).status_code
    there = upload(person("uploader", is_superuser=True), session).json()["id"]
    return getattr(client, method.lower())(path.format(there)).status_code


@pytest.mark.parametrize("method, path, who, status", CASES)
def test_who_may_what(request, session, method, path, who, status):
    assert ask(request, session, who, method, path) == status


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("POST", "/videos", 201),
        ("GET", "/videos", 200),
        ("GET", "/videos/{}/content", 200),
        ("DELETE", "/videos/{}", 401),
    ],
)
def test_where_no_key_is_asked_for_everyone_uploads_and_reads(request, settings, session, method, path, status):
    settings.ROBOT_AUTH = "open"
    assert ask(request, session, "anonymous", method, path) == status


def test_where_no_key_is_asked_for_a_robot_still_uploads_to_its_own_sessions_only(request, settings, session):
    settings.ROBOT_AUTH = "open"
    assert [ask(request, session, who, "POST", "/videos") for who in ("leg", "arm")] == [403, 201]
