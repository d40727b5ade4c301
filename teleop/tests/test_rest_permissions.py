"""Who may what: docs/api.md in one table. A session here is the robot `arm`'s; `leg` is another robot."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from robots.models import Robot
from teleop.models import TeleopSession

pytestmark = pytest.mark.django_db

WHO = ["anonymous", "outsider", "viewer", "curator", "admin", "arm", "leg"]
LABEL = {"meta_info": {"success": True}}

# One column for each of WHO.
TABLE = """
GET     /health                 200 200 200 200 200 200 200
GET     /health/live            200 200 200 200 200 200 200
GET     /schema                 200 200 200 200 200 200 200
GET     /docs                   200 200 200 200 200 200 200
GET     /robots                 401 403 200 200 200 403 403
POST    /robots                 401 403 403 403 201 403 403
GET     /robots/spare           401 403 200 200 200 403 403
PUT     /robots/spare           401 403 403 403 200 403 403
PATCH   /robots/spare           401 403 403 403 200 403 403
DELETE  /robots/spare           401 403 403 403 204 403 403
GET     /robots/spare/status    401 403 200 200 200 403 403
POST    /robots/spare/key       401 403 403 403 201 403 403
GET     /sessions               401 403 200 200 200 403 403
GET     /sessions/{ended}       401 403 200 200 200 403 403
PATCH   /sessions/{ended}       401 403 403 200 200 200 403
DELETE  /sessions/{ended}       401 403 403 204 204 403 403
POST    /sessions/{live}/end    401 403 403 202 202 403 403
"""
CASES = [
    (method, path, who, int(status))
    for method, path, *statuses in map(str.split, TABLE.strip().splitlines())
    for who, status in zip(WHO, statuses, strict=True)
]
BODIES = {
    ("POST", "/robots"): {"id": "new"},
    ("PUT", "/robots/spare"): {"id": "spare"},
    ("PATCH", "/robots/spare"): {"name": "x"},
    ("PATCH", "/sessions/{ended}"): LABEL,
}


@pytest.fixture
def ids():
    robot = Robot.objects.get_or_create(pk="arm")[0]
    Robot.objects.create(pk="spare")
    ended = TeleopSession.objects.create(robot=robot, key="morning-run", end_time=Now() + timedelta(minutes=1))
    return {"ended": ended.pk, "live": TeleopSession.objects.create(robot=robot, key="evening-run").pk}


def ask(request, who, method, path, ids) -> int:
    client = request.getfixturevalue(who)
    body = BODIES.get((method, path))
    return getattr(client, method.lower())(path.format(**ids), body).status_code


@pytest.mark.parametrize("method, path, who, status", CASES)
def test_who_may_what(request, ids, method, path, who, status):
    assert ask(request, who, method, path, ids) == status


@pytest.mark.parametrize("who", ["anonymous", "outsider", "arm"])
@pytest.mark.parametrize("path", ["/robots", "/robots/spare", "/robots/spare/status", "/sessions", "/sessions/{ended}"])
def test_where_no_key_is_asked_for_everyone_reads(request, settings, ids, who, path):
    settings.ROBOT_AUTH = "open"
    assert ask(request, who, "GET", path, ids) == 200


@pytest.mark.parametrize("method, path", [(method, path) for method, path, who, status in CASES if status == 401])
def test_where_no_key_is_asked_for_only_reading_is_open(request, settings, ids, method, path):
    settings.ROBOT_AUTH = "open"
    assert ask(request, "anonymous", method, path, ids) == (200 if method == "GET" else 401)


def test_where_no_key_is_asked_for_a_robot_still_changes_its_own_sessions_only(request, settings, ids):
    settings.ROBOT_AUTH = "open"
    assert [ask(request, who, "PATCH", "/sessions/{ended}", ids) for who in ("arm", "leg")] == [200, 403]


def test_a_refused_change_changes_nothing(viewer, leg, ids):
    for client in (viewer, leg):
        client.patch(f"/sessions/{ids['ended']}", LABEL)
    assert TeleopSession.objects.get(pk=ids["ended"]).meta_info is None
