"""POST /videos with `session_key` in place of `session`; the session is the robot `arm`'s, its key `morning-run`."""

import pytest

from robots.models import Robot
from teleop.models import DeletedSession, TeleopSession
from videos.models import VideoChunk
from videos.tests.video_files import START, files, film, upload

pytestmark = pytest.mark.django_db

KEY = "morning-run"
UNKNOWN = {"detail": "robot arm has no session evening-run yet; try again later", "code": "session_unknown"}
DELETED = {"detail": "session morning-run of robot arm was deleted", "code": "session_deleted"}


def upload_by_key(client, session, key=KEY, content=None, **changes):
    return upload(client, session, content, **{"session": None, "session_key": key} | changes)


def test_a_robot_names_its_session_by_the_key(arm, session):
    answer = upload_by_key(arm, session)
    assert answer.status_code == 201
    assert (answer.json()["session"], answer.json()["robot"]) == (session.pk, "arm")


@pytest.mark.parametrize("names", [["session", "key"], ["key", "session"], ["key", "key"]])
def test_it_stores_a_repeated_upload_once(arm, session, media, names):
    ways = {"session": upload, "key": upload_by_key}
    answers = [ways[name](arm, session) for name in names]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(files(media)) == VideoChunk.objects.count() == 1


def test_it_refuses_another_film_of_the_same_time_without_a_code(arm, session):
    upload_by_key(arm, session)
    answer = upload_by_key(arm, session, content=film(shade=200))
    assert (answer.status_code, list(answer.json())) == (409, ["detail"])


def test_it_stores_a_film_once_its_session_is_known(arm, session, media):
    early = upload_by_key(arm, session, "evening-run")
    assert (early.status_code, early.json()) == (409, UNKNOWN)
    assert not files(media)
    later = TeleopSession.objects.create(robot_id="arm", key="evening-run")
    assert upload_by_key(arm, session, "evening-run").json()["session"] == later.pk


def test_it_answers_410_once_the_session_is_deleted(arm, session, media):
    TeleopSession.objects.all().delete()
    answer = upload_by_key(arm, session)
    assert (answer.status_code, answer.json()) == (410, DELETED)
    assert not files(media)


def test_it_answers_410_if_the_session_is_deleted_during_the_upload(arm, session, media, monkeypatch):
    insert = VideoChunk._insert_or_find
    monkeypatch.setattr(VideoChunk, "_insert_or_find", lambda *of: (session.delete(), insert(*of))[1])
    answer = upload_by_key(arm, session)
    assert (answer.status_code, answer.json()) == (410, DELETED)
    assert not files(media)


def test_a_film_goes_to_the_session_that_has_the_key_of_a_deleted_one(arm, session):
    TeleopSession.objects.all().delete()
    again = TeleopSession.objects.create(robot_id="arm", key=KEY)
    assert upload_by_key(arm, session).json()["session"] == again.pk


def test_a_person_names_the_robot_too(admin, session):
    Robot.objects.create(pk="leg")
    TeleopSession.objects.create(robot_id="leg", key=KEY)
    assert upload_by_key(admin, session, robot="arm").json()["session"] == session.pk


@pytest.mark.once
@pytest.mark.parametrize(
    "who, robot, status",
    [
        *[("admin", "arm", 201), ("admin", "leg", 409), ("admin", "nobody", 409)],
        *[("arm", None, 201), ("arm", "arm", 201), ("arm", "leg", 400)],
        *[("leg", None, 409), ("leg", "leg", 409), ("leg", "arm", 400)],
        *[("viewer", "arm", 403), ("curator", "arm", 403), ("outsider", "arm", 403), ("anonymous", "arm", 401)],
    ],
)
def test_it_accepts_keys_from_the_robot_and_administrators(request, session, media, who, robot, status):
    assert upload_by_key(request.getfixturevalue(who), session, robot=robot).status_code == status
    assert len(files(media)) == (status == 201)


@pytest.mark.once
@pytest.mark.parametrize("key", [KEY, "evening-run", "deleted-run"])
def test_it_tells_a_robot_nothing_about_the_keys_of_another_one(leg, session, key):
    DeletedSession.objects.create(robot_id="arm", key="deleted-run")
    answer = upload_by_key(leg, session, key)
    expected = {"detail": f"robot leg has no session {key} yet; try again later", "code": "session_unknown"}
    assert (answer.status_code, answer.json()) == (409, expected)
    named = upload_by_key(leg, session, key, robot="arm")
    assert named.json() == {"robot": ["robot is arm; leg, whose key was sent, expected"]}


@pytest.mark.once
@pytest.mark.parametrize(
    "change, field, says",
    [
        ({"session_key": None}, "session", "session or session_key is required, and only one of them"),
        ({"robot": None}, "robot", "robot is required with session_key"),
        *[
            ({"session_key": key}, "session_key", "expected")
            for key in ("short", "a" * 65, "morning run", "morning-run\n")
        ],
        *[({"robot": name}, "robot", "expected") for name in ("../arm", "a" * 65, ".arm", "arm\n")],
        ({"session_key": [KEY, KEY]}, "session_key", "session_key was sent 2 times; once expected"),
    ],
)
def test_it_refuses_an_invalid_field_and_names_it(admin, session, media, change, field, says):
    answer = upload_by_key(admin, session, **{"robot": "arm"} | change)
    assert answer.status_code == 400, answer.json()
    assert list(answer.json()) == [field] and says in answer.json()[field][0]
    assert not files(media)


@pytest.mark.once
def test_it_refuses_a_session_and_a_key_together(admin, session):
    answer = upload(admin, session, session_key=KEY, robot="arm")
    assert answer.json() == {"session": ["session or session_key is required, and only one of them"]}


@pytest.mark.once
def test_it_checks_the_other_fields_before_the_key(arm, session):
    """So that a film that no server will ever accept is not sent again and again."""
    answer = upload_by_key(arm, session, "evening-run", end_timestamp=START)
    assert (answer.status_code, list(answer.json())) == (400, ["end_timestamp"])


@pytest.mark.once
def test_open_mode_lets_anonymous_clients_name_a_robot_and_a_key(anonymous, settings, session):
    settings.ROBOT_AUTH = "open"
    assert [upload_by_key(anonymous, session, robot=robot).status_code for robot in (None, "arm")] == [400, 201]


@pytest.mark.once
def test_an_unknown_key_costs_one_more_query(arm, session, django_assert_num_queries):
    with django_assert_num_queries(8):
        assert upload_by_key(arm, session).status_code == 201
    with django_assert_num_queries(4):  # the key, whether the robot is enabled, its session, its deleted session
        assert upload_by_key(arm, session, "evening-run").status_code == 409


@pytest.mark.once
def test_a_file_over_the_limit_is_refused_for_a_key_too(arm, session, settings):
    settings.VIDEO_MAX_BYTES = len(film()) - 1
    assert upload_by_key(arm, session, "evening-run").status_code == 413
