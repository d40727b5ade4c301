"""/robots: the registry over REST."""

import pytest
from django.db import OperationalError

from robots import worker_messages
from robots.api import views
from robots.models import Robot
from teleop.models import TeleopSession

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot():
    return Robot.objects.create(pk="robot_A", name="left arm", robot_type="so101", meta_info={"site": "lab 2"})


def test_it_registers_a_robot(admin):
    answer = admin.post("/robots", {"id": "robot_A", "name": "left arm", "meta_info": {"site": "lab 2"}})
    assert answer.status_code == 201
    assert (answer.json()["id"], answer.json()["status"], answer.json()["meta_info"]) == (
        "robot_A",
        "offline",
        {"site": "lab 2"},
    )
    assert Robot.objects.get().name == "left arm"


def test_it_shows_a_robot_without_its_key(admin, robot):
    robot.issue_key()
    answer = admin.get("/robots/robot_A").json()
    assert (answer["id"], answer["name"], answer["robot_type"], answer["last_error"]) == (
        "robot_A",
        "left arm",
        "so101",
        None,
    )
    assert robot.key_hash not in str(answer)


def test_it_shows_the_last_error(admin, robot):
    Robot.objects.record_errors({"robot_A": ("wrong_key", "the key is not valid for this robot")})
    error = admin.get("/robots/robot_A").json()["last_error"]
    assert (error["code"], error["at"][-1]) == ("wrong_key", "Z")
    assert error["detail"] == "the key is not valid for this robot"


@pytest.mark.parametrize("robot_id", ["robot_A.json", "a.b-c", "0", "x" * 64])
@pytest.mark.parametrize("end", ["", "/"])
def test_it_serves_every_valid_id_with_or_without_a_trailing_slash(admin, robot_id, end):
    Robot.objects.create(pk=robot_id)
    for path in (f"/robots/{robot_id}{end}", f"/robots/{robot_id}/status{end}"):
        assert admin.get(path).status_code == 200
    assert admin.get(f"/robots{end}").json()["results"][0]["id"] == robot_id


@pytest.mark.parametrize("robot_id", ["nobody", "a%00b", "..", "%F0%9F%A4%96", "x" * 65])
def test_it_returns_404_for_an_unknown_robot(admin, robot_id):
    answer = admin.get(f"/robots/{robot_id}")
    assert answer.status_code == 404 and answer.json()["detail"]


def test_patch_keeps_the_other_fields(admin, robot):
    assert admin.patch("/robots/robot_A", {"name": "right arm"}).json()["robot_type"] == "so101"
    robot.refresh_from_db()
    assert (robot.name, robot.meta_info) == ("right arm", {"site": "lab 2"})


def test_put_accepts_the_body_returned_by_get(admin, robot):
    before = admin.get("/robots/robot_A").json()
    assert admin.put("/robots/robot_A", before).json() == before


@pytest.mark.parametrize(
    "change, field",
    [
        ({"nmae": "x"}, "nmae"),
        ({"name": 5}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"meta_info": [1]}, "meta_info"),
        ({"meta_info": {"x": "y" * 70_000}}, "meta_info"),
    ],
)
def test_it_refuses_an_invalid_change_and_names_the_field(admin, robot, change, field):
    answer = admin.patch("/robots/robot_A", change)
    assert (answer.status_code, list(answer.json())) == (400, [field])
    robot.refresh_from_db()
    assert robot.name == "left arm"


def test_it_names_the_length_of_a_text_and_the_bound(admin, robot):
    answer = admin.patch("/robots/robot_A", {"name": "x" * 201})
    assert answer.json() == {"name": ["201 characters; at most 200 expected"]}


@pytest.mark.parametrize("levels, status", [(254, 200), (255, 400), (900, 400)])
def test_it_accepts_meta_info_nested_up_to_254_levels(admin, robot, levels, status):
    body = f'{{"meta_info": {{"x": {"[" * (levels - 1)}{"]" * (levels - 1)}}}}}'
    assert admin.patch("/robots/robot_A", body, content_type="application/json").status_code == status


def test_it_returns_409_for_a_changed_id(admin, robot):
    answer = admin.patch("/robots/robot_A", {"id": "robot_B"})
    assert (answer.status_code, answer.json()) == (
        409,
        {"detail": "id is robot_B; robot_A expected, as a robot's id cannot change"},
    )


@pytest.mark.parametrize("robot_id", ["", "a/b", "..", "robot A", "é", "x" * 65, "robot_A\n", None, 7])
def test_it_refuses_a_bad_id(admin, robot_id):
    answer = admin.post("/robots", {"id": robot_id})
    assert (answer.status_code, list(answer.json())) == (400, ["id"])


def test_it_returns_409_for_a_registered_id(admin, robot):
    answer = admin.post("/robots", {"id": "robot_A"})
    assert (answer.status_code, answer.json()) == (409, {"detail": "robot robot_A is already registered"})


@pytest.mark.parametrize(
    "body, says",
    [
        (b'{"id": "a", "meta_info": {"x": NaN}}', "not valid JSON"),
        (b'{"id": "a", "meta_info": {"x": Infinity}}', "not valid JSON"),
        (b'{"id": "a", "name": "\\u0000"}', "NUL"),
        (b'{"id": "a", "name": "\\\\\\u0000"}', "NUL"),
        (b'{"id": "a", "meta_info": {"\\u0000": 1}}', "NUL"),
        (b'{"id": "a", "name": "\\ud800"}', "not valid JSON"),
        (b'{"id": "a"', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 2000 + b"]" * 2000, "not valid JSON"),
    ],
)
def test_it_refuses_a_body_that_is_invalid_json_or_has_nul(admin, body, says):
    answer = admin.post("/robots", body, content_type="application/json")
    assert answer.status_code == 400 and says in answer.json()["detail"]
    assert not Robot.objects.exists()


def test_it_accepts_an_escaped_backslash_before_u0000(admin):
    admin.post("/robots", b'{"id": "a", "name": "\\\\u0000"}', content_type="application/json")
    assert Robot.objects.get().name == "\\u0000"


def test_it_decodes_json_as_utf_8_and_ignores_the_charset(admin):
    admin.post("/robots", '{"id": "a", "name": "é"}'.encode(), content_type="application/json; charset=nonsense")
    assert Robot.objects.get().name == "é"


@pytest.mark.parametrize("kind, status", [("text/xml", 415), ("application/json", 413)])
def test_a_body_of_another_kind_or_over_the_limit_is_refused(admin, kind, status):
    answer = admin.post("/robots", b'{"id": "' + b"x" * 2**20 + b'"}', content_type=kind)
    assert answer.status_code == status and answer.json()["detail"]


def test_a_robot_without_sessions_can_be_deleted(admin, robot):
    assert admin.delete("/robots/robot_A").status_code == 204
    assert not Robot.objects.exists()


def test_deleting_a_robot_with_sessions_returns_409(admin, robot):
    TeleopSession.objects.create(robot=robot, key="morning-run")
    answer = admin.delete("/robots/robot_A")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "cannot be deleted: teleop sessions refer to it (rows: 1)",
    )
    assert Robot.objects.exists()


def test_it_returns_503_when_the_database_is_unreachable(admin, monkeypatch):
    def away(*args):
        raise OperationalError("connection refused")

    monkeypatch.setattr(views.RobotViewSet, "get_queryset", away)
    answer = admin.get("/robots")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer.json() == {"detail": "the database does not answer; try again later"}


def test_issuing_a_key_returns_it_and_voids_the_old_key(admin, robot, monkeypatch, django_capture_on_commit_callbacks):
    old, closed = robot.issue_key(), []
    monkeypatch.setattr(worker_messages, "close_connections", lambda code, **of: closed.append(code))
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin.post("/robots/robot_A/key")
    robot.refresh_from_db()
    assert (answer.status_code, answer["Cache-Control"], closed) == (201, "no-store", [4401])
    assert robot.has_key(answer.json()["key"]) and not robot.has_key(old)


@pytest.mark.parametrize(
    "query, found",
    [
        ("", ["arm", "leg", "robot_A"]),
        ("status=online", ["arm"]),
        ("robot_type=so101", ["arm", "robot_A"]),
        ("text=ROBOT", ["robot_A"]),
        ("text=left", ["leg", "robot_A"]),
        ("status=online&text=left", []),
        ("limit=1&offset=1", ["leg"]),
        ("offset=2147483647", []),
    ],
)
def test_it_filters_and_paginates_robots(admin, robot, query, found):
    Robot.objects.create(pk="arm", status="online", robot_type="so101")
    Robot.objects.create(pk="leg", name="The Left one")
    assert [each["id"] for each in admin.get(f"/robots?{query}").json()["results"]] == found


@pytest.mark.parametrize(
    "query, says",
    [
        ("stauts=online", "unknown parameter stauts; status, robot_type, text, limit, offset, after_id expected"),
        ("status=", "status is empty; give it a value or omit it"),
        ("status=asleep", "asleep is not one of the available choices"),
        ("text=%00", "Null characters are not allowed"),
        ("limit=0", "limit is 0; an integer between 1 and 1000 expected"),
        ("limit=1001", "limit is 1001; an integer between 1 and 1000 expected"),
        ("limit=ten", "limit is ten; an integer between 1 and 1000 expected"),
        ("limit=%D9%A1", "an integer between 1 and 1000 expected"),
        ("offset=-1", "offset is -1; an integer between 0 and 2147483647 expected"),
        ("offset=" + "9" * 5000, "an integer between 0 and 2147483647 expected"),
    ],
)
def test_it_refuses_an_invalid_parameter_and_names_it(admin, query, says):
    answer = admin.get(f"/robots?{query}")
    assert (answer.status_code, list(answer.json())) == (400, [query.partition("=")[0]])
    assert says in answer.json()[query.partition("=")[0]][0]


def test_pages_link_to_the_previous_and_next_page(admin):
    Robot.objects.bulk_create(Robot(pk=f"robot_{number}") for number in range(5))
    page = admin.get("/robots?limit=2&offset=2").json()
    assert (page["count"], len(page["results"])) == (5, 2)
    assert page["previous"].endswith("/robots?limit=2") and page["next"].endswith("/robots?limit=2&offset=4")


def test_the_list_takes_one_query_and_one_for_the_token(admin, django_assert_num_queries):
    Robot.objects.bulk_create(Robot(pk=f"robot_{number}") for number in range(20))
    with django_assert_num_queries(2):
        assert len(admin.get("/robots").json()["results"]) == 20


def test_a_viewer_request_takes_two_more_queries_for_permissions(viewer, robot, django_assert_num_queries):
    with django_assert_num_queries(4):
        assert viewer.get("/robots").status_code == 200
