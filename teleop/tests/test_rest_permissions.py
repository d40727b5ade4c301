"""Effects of ROBOT_AUTH=open, and data that a robot's key shows; for other permissions: tests/test_access.py."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from robots.models import Robot
from teleop.api.serializers import QualitySerializer
from teleop.models import TeleopSession

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LABEL = {"meta_info": {"success": True}}
READ = ["/robots", "/robots/arm", "/robots/arm/status", "/sessions", "/sessions/{}", "/sessions/{}/frames"]


@pytest.fixture
def session(db) -> TeleopSession:
    robot = Robot.objects.get_or_create(pk="arm")[0]
    return TeleopSession.objects.create(robot=robot, key="morning-run", end_time=Now() + timedelta(minutes=1))


@pytest.mark.parametrize("who", ["anonymous", "outsider", "arm"])
@pytest.mark.parametrize("path", READ)
def test_it_allows_everyone_to_read_with_robot_auth_open(request, settings, session, who, path):
    settings.ROBOT_AUTH = "open"
    assert request.getfixturevalue(who).get(path.format(session.pk)).status_code == 200


@pytest.mark.parametrize(
    "method, path",
    [
        ("post", "/robots"),
        ("put", "/robots/arm"),
        ("patch", "/robots/arm"),
        ("delete", "/robots/arm"),
        ("post", "/robots/arm/key"),
        ("patch", "/sessions/{}"),
        ("delete", "/sessions/{}"),
        ("post", "/sessions/{}/end"),
        ("post", "/sessions/{}/marks"),
    ],
)
def test_it_returns_401_for_anonymous_writes_with_robot_auth_open(anonymous, settings, session, method, path):
    settings.ROBOT_AUTH = "open"
    assert getattr(anonymous, method)(path.format(session.pk)).status_code == 401


def test_a_robot_changes_only_its_own_sessions_with_robot_auth_open(arm, leg, settings, session):
    settings.ROBOT_AUTH = "open"
    assert [each.patch(f"/sessions/{session.pk}", LABEL).status_code for each in (arm, leg)] == [200, 404]


def test_a_refused_change_changes_nothing(viewer, leg, session):
    for client in (viewer, leg):
        client.patch(f"/sessions/{session.pk}", LABEL)
    session.refresh_from_db()
    assert session.meta_info is None


def test_it_hides_staff_labels_marks_and_quality_from_a_robot(arm, curator, session):
    path = f"/sessions/{session.pk}"
    arm.patch(path, {"meta_info": {"task": "fold", "site": "lab"}})
    curator.patch(path, {"meta_info": {"note": "the operator is new", "success": False}})
    curator.post(f"{path}/marks", {"timestamp": 1795362003.5, "note": "slip"})
    objects = {"clock_steps": [], "servo_health": {}, "limits_ignored": [], "camera_faults": {}}
    TeleopSession.objects.update(quality=dict.fromkeys(QualitySerializer().fields, 0.5) | objects)
    answer = arm.patch(path, {}).json()
    assert (answer["meta_info"], answer["staff_labels"]) == ({"task": "fold", "site": "lab"}, [])
    assert answer["quality"] is None
    assert curator.get(path).json()["meta_info"]["note"] == "the operator is new"
    # The answer does not confirm a guess either.
    guesses = ({"note": "the operator is new"}, {"note": "?"})
    assert [arm.patch(path, {"seen": guess}).status_code for guess in guesses] == [200, 200]
    assert arm.patch(path, {"seen": {"site": "other"}}).status_code == 409


def test_it_returns_the_same_404_for_another_robots_and_a_missing_session(leg, session):
    answers = [leg.patch(f"/sessions/{pk}", LABEL) for pk in (session.pk, 999_999)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()
