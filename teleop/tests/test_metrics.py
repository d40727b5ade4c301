"""/metrics: the permission to read it, and its values."""

import pytest

from robots.models import Robot
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db


def test_it_serves_metrics_to_localhost(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "who", [{"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": ""}, {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}]
)
def test_it_returns_403_to_remote_and_proxied_clients(client, who):
    """The last request came through a proxy on this machine, so its own claims do not count."""
    assert client.get("/metrics", **who).status_code == 403


@pytest.mark.parametrize(("token", "status"), [("secret", 200), ("wrong", 403), ("", 403)])
def test_it_checks_the_token_of_a_remote_client(client, settings, token, status):
    settings.METRICS_TOKEN = "secret"
    far = {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": f"Bearer {token}"}
    assert client.get("/metrics", **far).status_code == status


def test_it_returns_403_for_an_empty_token_if_none_is_configured(client):
    far = {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": "Bearer "}
    assert client.get("/metrics", **far).status_code == 403


def test_it_reports_robots_live_sessions_and_free_disk(client):
    make_session(range(3), is_live=True)
    Robot.objects.filter(pk="arm").update(status=Robot.Status.ONLINE)
    page = client.get("/metrics").content.decode()
    assert 'teleop_robots{status="online"} 1.0' in page
    assert "teleop_sessions_live 1.0" in page
    assert 'teleop_disk_free_bytes{of="media"}' in page


def test_it_runs_at_most_12_queries(client, django_assert_max_num_queries):
    with django_assert_max_num_queries(12):
        client.get("/metrics")
