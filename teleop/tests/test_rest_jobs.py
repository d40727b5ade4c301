"""Background work over REST, in the admin and in /metrics."""

import pytest
from django.urls import reverse

from teleop.background.models import Job
from teleop.monitoring.exporter import page
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def failed() -> Job:
    session = make_session()
    return Job.objects.create(kind="quality", object_id=session.pk, attempts=3, error="no numbers")


def test_the_list_shows_state_progress_and_error(admin, failed):
    running = Job.objects.claim("quality", 5, "host:1")
    running.renew(0.25)
    first, second = admin.get("/jobs").json()["results"]
    assert (first["state"], first["progress"], first["object_id"]) == ("running", 0.25, 5)
    assert (second["state"], second["error"], second["attempts"]) == ("failed", "no numbers", 3)


@pytest.mark.parametrize("query, found", [("state=failed", 1), ("state=running", 0), ("kind=proxy", 0)])
def test_the_list_has_filters(admin, failed, query, found):
    assert len(admin.get(f"/jobs?{query}").json()["results"]) == found


def test_an_unknown_state_is_refused(admin):
    assert "lost" in str(admin.get("/jobs?state=lost").json()["state"])


def test_restart_lets_failed_work_be_done_again(admin, failed):
    answer = admin.post(f"/jobs/{failed.pk}/restart")
    assert (answer.status_code, answer.json()["state"], answer.json()["attempts"]) == (200, "waiting", 0)
    answer = admin.post(f"/jobs/{failed.pk}/restart")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        f"job {failed.pk} has not failed; it is waiting",
    )


def test_the_admin_lists_and_restarts(admin_client, failed):
    url = reverse("admin:teleop_job_changelist")
    assert "no numbers" in admin_client.get(url).content.decode()
    answer = admin_client.post(url, {"action": "restart", "_selected_action": [failed.pk]}, follow=True)
    assert "1 job restarted." in answer.content.decode()
    failed.refresh_from_db()
    assert failed.state == "waiting"


def test_the_metrics_count_by_kind_and_state(failed):
    make_session(key="other")
    lines = page().decode().splitlines()
    assert 'teleop_jobs{kind="quality",state="failed"} 1.0' in lines
    assert 'teleop_jobs{kind="quality",state="due"} 1.0' in lines
