"""Webhooks in the admin: administrators add, change and test them, and see each delivery."""

import pytest
from django.contrib.auth.models import Permission, User

from robots.models import AuditEntry, Robot
from robots.tests.admin_clients import client_of, shown
from teleop.webhooks import job
from teleop.webhooks.models import AnnouncedStatus, Webhook, WebhookDelivery
from teleop.webhooks.request import Attempt
from teleop.webhooks.signature import new_secret

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LIST, DELIVERIES = "/admin/teleop/webhook/", "/admin/teleop/webhookdelivery/"
URL, REFUSED = "https://hooks.example.org/teleop", "the receiver answered 500; 200 to 299 expected"


@pytest.fixture
def webhook() -> Webhook:
    return Webhook.objects.create(name="alarms", url=URL)


def form(**changes) -> dict[str, str]:
    return {"name": "alarms", "url": URL, "secret": new_secret(), "is_enabled": "on"} | changes


def test_an_administrator_adds_a_webhook(staff_admin):
    Robot.objects.create(pk="arm", status="error")
    assert "whsec_" in shown(staff_admin.get(f"{LIST}add/"))
    given = form()
    staff_admin.post(f"{LIST}add/", given)
    webhook = Webhook.objects.get()
    assert (webhook.url, webhook.secret, webhook.is_enabled) == (URL, given["secret"], True)
    assert AnnouncedStatus.objects.get().status == "error"  # only what happens from now on is announced


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("url", "ftp://hooks.example.org", "https://hooks.example.org/path expected"),
        ("secret", "whsec_c2hvcnQ=", "the secret has 5 bytes"),
    ],
)
def test_it_refuses_an_unusable_value(staff_admin, field, value, problem):
    assert problem in shown(staff_admin.post(f"{LIST}add/", form(**{field: value})))
    assert not Webhook.objects.exists()


def test_a_change_is_audited_without_the_secret(staff_admin, webhook):
    given = form(secret=new_secret())
    staff_admin.post(f"{LIST}{webhook.pk}/change/", given)
    assert Webhook.objects.get().secret == given["secret"]
    assert AuditEntry.objects.get().changes == {"secret": ["***", "***"]}


def test_an_added_webhook_is_audited_without_the_secret(staff_admin):
    staff_admin.post(f"{LIST}add/", form())
    assert "whsec_" not in str(AuditEntry.objects.get().changes)


def test_a_change_keeps_the_results_of_the_background_work(staff_admin, webhook):
    webhook.announce("test", "webhook", {}).record(Attempt(500, REFUSED))
    staff_admin.post(f"{LIST}{webhook.pk}/change/", form(name="new", secret=webhook.secret))
    webhook.refresh_from_db()
    assert (webhook.name, webhook.failures, webhook.last_result) == ("new", 1, REFUSED)
    assert not job.due().exists()


def test_a_new_url_is_called_at_once(staff_admin, webhook):
    webhook.announce("test", "webhook", {}).record(Attempt(500, REFUSED))
    staff_admin.post(f"{LIST}{webhook.pk}/change/", form(url=f"{URL}/2", secret=webhook.secret))
    assert job.due().exists() and Webhook.objects.get().failures == 0


def test_enabling_it_again_skips_what_has_happened_meanwhile(staff_admin, webhook):
    Webhook.objects.update(is_enabled=False)
    Robot.objects.create(pk="arm", status="error")
    staff_admin.post(f"{LIST}{webhook.pk}/change/", form(secret=webhook.secret))
    assert Webhook.objects.get().is_enabled and not job.due().exists()


def test_the_pages_show_the_last_result_and_the_deliveries(staff_admin, webhook):
    delivery = webhook.announce("robot.error", "robot <arm>", {"id": "<arm>"})
    delivery.record(Attempt(500, REFUSED, "<b>no</b>"))
    assert REFUSED in shown(staff_admin.get(LIST))
    assert f"{DELIVERIES}?webhook={webhook.pk}" in shown(staff_admin.get(f"{LIST}{webhook.pk}/change/"))
    assert REFUSED in shown(staff_admin.get(f"{DELIVERIES}?webhook={webhook.pk}&state=pending"))
    assert REFUSED not in shown(staff_admin.get(f"{DELIVERIES}?state=delivered"))
    page = shown(staff_admin.get(f"{DELIVERIES}{delivery.pk}/change/"))
    assert f"msg_{delivery.message_id.hex}" in page and "&lt;b&gt;no&lt;/b&gt;" in page


def test_it_sends_a_test_event_to_enabled_webhooks(staff_admin, webhook):
    disabled = Webhook.objects.create(name="off", url=URL, is_enabled=False)
    chosen = {"action": "send_test", "_selected_action": [webhook.pk, disabled.pk]}
    page = shown(staff_admin.post(LIST, chosen, follow=True))
    assert "1 test event will be sent" in page and "1 webhook not called: enable it first." in page
    assert WebhookDelivery.objects.get().webhook == webhook


def test_it_sends_failed_deliveries_again(staff_admin, webhook):
    failed, waiting = webhook.announce("test", "webhook", {}), webhook.announce("test", "webhook", {})
    WebhookDelivery.objects.filter(pk=failed.pk).update(state="failed", attempts=9, error=REFUSED)
    chosen = {"action": "send_again", "_selected_action": [failed.pk, waiting.pk]}
    assert "1 event will be sent again" in shown(staff_admin.post(DELIVERIES, chosen, follow=True))
    failed.refresh_from_db()
    assert (failed.state, failed.attempts, failed.error) == ("pending", 0, "")
    assert AuditEntry.objects.get().changes == {"state": ["failed", "pending"]}


@pytest.mark.parametrize("is_list", [False, True])
def test_it_deletes_a_webhook_with_its_deliveries(staff_admin, webhook, is_list):
    webhook.announce("test", "webhook", {})
    path, chosen = f"{LIST}{webhook.pk}/delete/", {"post": "yes"}
    if is_list:
        path, chosen = LIST, {"action": "delete_selected", "_selected_action": [webhook.pk], "post": "yes"}
    staff_admin.post(path, chosen)
    assert not Webhook.objects.exists() and not WebhookDelivery.objects.exists()
    assert AuditEntry.objects.get().action == "deleted"


def test_people_who_may_only_view_do_not_see_the_secret(webhook, staff_viewer, staff_curator):
    auditor = User.objects.create_user("auditor", is_staff=True)
    auditor.user_permissions.set(Permission.objects.filter(codename__in=["view_webhook", "view_webhookdelivery"]))
    page = shown(client_of(auditor).get(f"{LIST}{webhook.pk}/change/"))
    assert URL in page and webhook.secret not in page
    chosen = {"action": "send_again", "_selected_action": [webhook.announce("test", "webhook", {}).pk]}
    assert "will be sent again" not in shown(client_of(auditor).post(DELIVERIES, chosen, follow=True))
    for client in (staff_viewer, staff_curator):
        assert {client.get(path).status_code for path in (LIST, f"{LIST}add/", DELIVERIES)} == {403}
