"""/metrics: who may read it, and what it says of what is there."""

import pytest

from robots.models import Robot
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db


def test_this_machine_may_read_it(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "who", [{"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": ""}, {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}]
)
def test_others_may_not(client, who):
    """The last one came through a proxy on this machine, whatever it says of itself."""
    assert client.get("/metrics", **who).status_code == 403


@pytest.mark.parametrize(("token", "status"), [("secret", 200), ("wrong", 403), ("", 403)])
def test_a_token_opens_it_from_afar(client, settings, token, status):
    settings.METRICS_TOKEN = "secret"
    far = {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": f"Bearer {token}"}
    assert client.get("/metrics", **far).status_code == status


def test_without_a_token_set_none_opens_it(client):
    far = {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": "Bearer "}
    assert client.get("/metrics", **far).status_code == 403


def test_it_says_what_the_tables_say(client):
    make_session(range(3), is_live=True)
    Robot.objects.filter(pk="arm").update(status=Robot.Status.ONLINE)
    page = client.get("/metrics").content.decode()
    assert 'teleop_robots{status="online"} 1.0' in page
    assert "teleop_sessions_live 1.0" in page
    assert 'teleop_disk_free_bytes{of="media"}' in page


def test_it_asks_the_tables_little(client, django_assert_max_num_queries):
    with django_assert_max_num_queries(8):
        client.get("/metrics")
