"""The admin's pages of robots."""

from datetime import timedelta
from html import unescape
from ipaddress import ip_network

import pytest
from django.utils import timezone

from robots import admin as robots_admin
from robots import models
from robots.admin_tools import client_wheel, display
from robots.models import AuditEntry, Robot
from robots.tests.admin_clients import shown
from teleop.tests.recordings import make_session

pytestmark = [pytest.mark.django_db, pytest.mark.once]
LIST = "/admin/robots/robot/"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def arm(db) -> Robot:
    return Robot.objects.create(pk="arm", name="Arm")


@pytest.fixture
def closed(monkeypatch) -> list:
    """Return the list of connections that the workers were asked to close."""
    told = []
    monkeypatch.setattr(robots_admin, "close_connections", lambda code, **of: told.append((code, of)))
    monkeypatch.setattr(models.worker_messages, "close_connections", lambda code, **of: told.append((code, of)))
    return told


def test_the_list_takes_a_constant_number_of_queries(staff_viewer, django_assert_num_queries):
    for number in range(100):
        make_session(robot=f"robot_{number}", is_live=True)
    with django_assert_num_queries(6):
        assert shown(staff_viewer.get(LIST)).count("/live") == 100


def test_the_list_shows_status_heartbeat_and_last_error(staff_viewer):
    at = timezone.now() - timedelta(seconds=12.3)
    error = {"last_error_code": "wrong_key", "last_error_detail": "not its key", "last_error_at": at}
    Robot.objects.create(pk="arm", status="online", last_heartbeat=at, **error)
    page = shown(staff_viewer.get(LIST))
    assert '<span class="status status-online">online</span>' in page
    assert "12 s ago" in page and at.isoformat() in page
    assert "wrong_key: not its key" in page


@pytest.mark.parametrize(
    "seconds, words", [(0, "0 s"), (59, "59 s"), (61, "1 min"), (7200, "2 h"), (90_000, "1 d"), (-5, "0 s")]
)
def test_it_formats_elapsed_time_in_one_unit(seconds, words):
    assert f">{words} ago<" in display.ago(timezone.now() - timedelta(seconds=seconds))


def test_the_list_links_to_the_live_session(staff_viewer):
    make_session(robot="arm")
    live = make_session(robot="arm", is_live=True)
    page = shown(staff_viewer.get(LIST))
    assert f'<a href="/robots/arm/live">session {live.pk}</a>' in page


def test_it_escapes_html_in_robot_fields(staff_admin):
    Robot.objects.create(pk="arm", name=SCRIPT, robot_type=SCRIPT, last_error_code="x", last_error_detail=SCRIPT)
    for path in (LIST, f"{LIST}arm/change/", f"{LIST}arm/key/", f"{LIST}arm/delete/"):
        assert SCRIPT not in shown(staff_admin.get(path))


def test_search_and_filters_find_robots(staff_viewer):
    Robot.objects.create(pk="arm", name="Left", status="error")
    Robot.objects.create(pk="leg", name="Right")
    for query in ("q=left", "status=error", "text=LEFT", "q=r&status=error"):
        page = shown(staff_viewer.get(f"{LIST}?{query}"))
        assert "/arm/change/" in page and "/leg/change/" not in page


def test_issuing_a_key_asks_first_shows_it_once_and_voids_the_old_key(
    staff_admin, arm, closed, django_capture_on_commit_callbacks
):
    old = arm.issue_key()
    assert "Issue a new key for" in shown(staff_admin.get(f"{LIST}arm/key/"))
    with django_capture_on_commit_callbacks(execute=True):
        answer = staff_admin.post(f"{LIST}arm/key/")
    arm.refresh_from_db()
    assert not arm.has_key(old) and "no-store" in answer["Cache-Control"]
    key = shown(answer).partition('<code class="key">')[2].partition("<")[0]
    assert arm.has_key(key) and key not in shown(staff_admin.get(f"{LIST}arm/change/"))
    assert [code for code, _ in closed] == [4401]
    assert AuditEntry.objects.get().action == "key issued"


@pytest.mark.parametrize("method", ["get", "post"])
def test_issuing_a_key_requires_permission_to_change_robots(staff_viewer, staff_curator, staff_outsider, arm, method):
    for client in (staff_viewer, staff_curator, staff_outsider):
        assert getattr(client, method)(f"{LIST}arm/key/").status_code == 403
    arm.refresh_from_db()
    assert not arm.key_hash


def test_issuing_a_key_returns_404_for_an_unknown_robot(staff_admin):
    assert staff_admin.post(f"{LIST}nobody/key/").status_code == 404


def test_a_new_key_comes_with_the_installation_of_the_client(staff_admin, arm, closed, monkeypatch, settings):
    wheels = {"wheel_url": "teleop_client-1.2-py3-none-any.whl", "plugin_url": "lerobot_robot_teleop-0.3.whl"}
    monkeypatch.setattr(client_wheel, "NAMES", wheels)
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.1")]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.ALLOWED_HOSTS = ["robots.example.org"]
    through_nginx = {"REMOTE_ADDR": "10.0.0.1", "HTTP_HOST": "robots.example.org", "HTTP_X_FORWARDED_PROTO": "https"}
    page = unescape(shown(staff_admin.post(f"{LIST}arm/key/", **through_nginx)))
    url = "https://robots.example.org"
    assert f'pip install "teleop-client @ {url}/static/client/teleop_client-1.2-py3-none-any.whl"' in page
    key = page.partition('<code class="key">')[2].partition("<")[0]
    assert f'key = "{key}"\nwith RobotClient("{url}", "arm", key=key) as client:' in page
    assert (
        f'"lerobot_robot_teleop @ {url}/static/client/lerobot_robot_teleop-0.3.whl"\nexport TELEOP_KEY={key}\n' in page
    )
    assert f"--robot.stream.url={url} --robot.stream.robot_id=arm" in page


def test_the_page_of_a_robot_shows_viewers_how_to_connect_it(staff_viewer, staff_outsider, arm, monkeypatch):
    monkeypatch.setattr(client_wheel, "NAMES", {"wheel_url": "client.whl", "plugin_url": None})
    page = unescape(shown(staff_viewer.get(f"{LIST}arm/change/", HTTP_HOST="localhost:8001")))
    assert 'pip install "teleop-client @ http://localhost:8001/static/client/client.whl"' in page
    assert 'key = "..."\nwith RobotClient("http://localhost:8001", "arm", key=key) as client:' in page
    assert "lerobot" not in page.partition("RobotClient(")[2]
    assert staff_outsider.get(f"{LIST}arm/change/").status_code == 403


def test_the_page_of_a_robot_says_how_to_build_a_missing_wheel(staff_viewer, arm, monkeypatch):
    monkeypatch.setattr(client_wheel, "NAMES", {"wheel_url": None, "plugin_url": None})
    page = shown(staff_viewer.get(f"{LIST}arm/change/"))
    assert "deploy/build-client.sh" in page and "pip install" not in page


def test_it_adds_a_robot_and_issues_its_key_in_one_form(staff_admin):
    assert 'name="_issue_key"' in shown(staff_admin.get(f"{LIST}add/"))
    answer = staff_admin.post(f"{LIST}add/", {"id": "leg", "meta_info": "null", "_issue_key": "1"})
    key = shown(answer).partition('<code class="key">')[2].partition("<")[0]
    assert Robot.objects.get().has_key(key) and "no-store" in answer["Cache-Control"]
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == ["added", "key issued"]


@pytest.mark.parametrize("wrong", ["Küche 1", "-arm"])
def test_it_refuses_an_id_in_a_sentence(staff_admin, wrong):
    page = unescape(shown(staff_admin.post(f"{LIST}add/", {"id": wrong, "meta_info": "null", "_issue_key": "1"})))
    assert f'id is "{wrong}"; 1 to 64 of the characters a-z, A-Z, 0-9, "_", "." and "-" expected' in page
    assert not Robot.objects.exists()


def test_disabling_a_robot_asks_first_and_closes_its_connections(
    staff_admin, arm, closed, django_capture_on_commit_callbacks
):
    path = f"{LIST}arm/disabled/"
    assert "refuses it until somebody enables the robot" in shown(staff_admin.get(path))
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(2):  # two people at the same time
            assert "Robot arm is disabled." in shown(staff_admin.post(path, {"disabled": "1"}, follow=True))
    assert Robot.objects.get().disabled and set(map(str, closed)) == {"(<Close.DISABLED: 4410>, {'robot_id': 'arm'})"}
    assert ">disabled<" in shown(staff_admin.get(LIST)) and "may connect again" in shown(staff_admin.get(path))
    assert "Robot arm is enabled." in shown(staff_admin.post(path, {"disabled": "0"}, follow=True))
    assert [entry.changes for entry in AuditEntry.objects.order_by("pk")] == [
        {"disabled": [False, True]},
        {"disabled": [True, False]},
    ]


def test_the_disconnect_action_notifies_the_workers(staff_admin, arm, closed):
    answer = staff_admin.post(LIST, {"action": "disconnect", "_selected_action": ["arm"]}, follow=True)
    assert "Disconnecting 1 robot." in shown(answer)
    assert closed == [(4403, {"robot_id": "arm"})]


def test_it_hides_change_controls_without_change_permission(staff_viewer, staff_curator, arm, closed):
    for client in (staff_viewer, staff_curator):
        page = shown(client.get(LIST)) + shown(client.get(f"{LIST}arm/change/"))
        assert not [
            word for word in ("disconnect", "Issue key", "/key/", "/disabled/", "_save", "Add robot") if word in page
        ]
        assert client.post(f"{LIST}arm/disabled/", {"disabled": "1"}).status_code == 403
        client.post(LIST, {"action": "disconnect", "_selected_action": ["arm"]})
        assert client.post(f"{LIST}arm/change/", {"name": "x"}).status_code == 403
    assert not closed


def test_staff_without_a_group_see_no_robots(staff_outsider, arm):
    assert staff_outsider.get(LIST).status_code == 403


def test_it_adds_a_robot_and_ignores_a_changed_id(staff_admin):
    staff_admin.post(f"{LIST}add/", {"id": "leg", "name": "Leg", "meta_info": '{"arms": 2}'})
    staff_admin.post(f"{LIST}leg/change/", {"id": "other", "name": "Foot", "meta_info": "null"})
    assert list(Robot.objects.values_list("id", "name", "meta_info")) == [("leg", "Foot", None)]


@pytest.mark.parametrize("meta", ['{"a": "\\u0000"}', '{"a": 1e999}', "[1]", '{"a": "\\ud800"}', "{", '"x"'])
def test_it_refuses_invalid_meta_info(staff_admin, meta):
    page = shown(staff_admin.post(f"{LIST}add/", {"id": "leg", "meta_info": meta}))
    assert "errorlist" in page and not Robot.objects.exists()


def test_a_robot_with_sessions_is_not_deleted(staff_admin, arm):
    make_session(robot="arm")
    assert "1 session of robot arm" in shown(staff_admin.get(f"{LIST}arm/delete/"))
    staff_admin.post(f"{LIST}arm/delete/", {"post": "yes"})
    staff_admin.post(LIST, {"action": "delete_selected", "_selected_action": ["arm"], "post": "yes"})
    assert Robot.objects.exists()


def test_a_robot_without_sessions_is_deleted(staff_admin, arm):
    staff_admin.post(f"{LIST}arm/delete/", {"post": "yes"})
    assert not Robot.objects.exists()


@pytest.mark.parametrize(("path", "title"), [(LIST, "Robots"), ("/admin/teleop/teleopsession/", "Sessions")])
def test_a_list_is_named_by_its_objects(staff_admin, path, title):
    page = staff_admin.get(path).content.decode()
    assert f"<h1>{title}</h1>" in page and "Select" not in page.partition("</h1>")[0]
