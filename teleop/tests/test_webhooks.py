"""Webhooks: the events that they announce, and their deliveries to a real receiver."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models import F
from django.db.models.functions import Now

from robots.models import Robot
from teleop.background.kinds import KINDS
from teleop.background.models import Job
from teleop.background.worker import Worker
from teleop.ingest import presence
from teleop.models import TeleopSession
from teleop.quality import job as quality
from teleop.tests.recordings import make_session
from teleop.tests.session_leases import beats, opens, releases
from teleop.tests.webhook_receiver import answers
from teleop.webhooks import job, request
from teleop.webhooks.models import RETRY_DELAYS_S, AnnouncedStatus, Webhook, WebhookDelivery
from teleop.webhooks.signature import signed_headers

pytestmark = pytest.mark.django_db

TEST = ("test", "webhook", {"message": "hello"})


@pytest.fixture
def webhook(receiver) -> Webhook:
    webhook = Webhook.objects.create(name="alarms", url=receiver.url)
    webhook.begin()
    return webhook


def runs(webhook: Webhook) -> None:
    """Do the work that is due, if any."""
    for target in job.due().filter(pk=webhook.pk):
        job.run(target)
    webhook.refresh_from_db()


def pass_time(**duration) -> None:
    """Move the times of all webhooks and deliveries into the past."""
    ago = timedelta(**duration)
    Webhook.objects.update(resumes_at=F("resumes_at") - ago)
    WebhookDelivery.objects.update(created_at=F("created_at") - ago, next_attempt_at=F("next_attempt_at") - ago)


def announced() -> list[tuple[str, str]]:
    return list(WebhookDelivery.objects.order_by("pk").values_list("type", "about"))


def becomes(status: str, robot: str = "arm") -> None:
    """Store the status as ingest does."""
    Robot.objects.get_or_create(pk=robot)
    if status == "offline":
        Robot.objects.filter(pk=robot).update(status=status)
    else:
        Robot.objects.mark_seen({robot: status})


def test_it_announces_the_end_of_a_session_with_its_quality(webhook, receiver):
    session = make_session([0, 60])
    quality.compute(session)
    runs(webhook)
    body = json.loads(receiver.requests[0].body)
    assert body["type"] == "session.ended"
    assert body["data"]["id"] == session.pk and body["data"]["end_time"] == "2023-12-23T08:00:01Z"
    assert body["data"]["quality"] == TeleopSession.objects.get().quality
    assert not body["data"].keys() & {"operator", "note", "meta_info"}


def test_it_announces_each_end_once(webhook):
    session = make_session([0, 60])
    quality.compute(session)
    call_command("quality", "--session", str(session.pk))
    assert len(announced()) == 1
    TeleopSession.objects.filter(pk=session.pk).update(quality=None)  # the robot has resumed and ended it
    call_command("quality")
    assert announced() == [("session.ended", f"session {session.pk}")] * 2


def test_it_announces_a_session_whose_quality_cannot_be_computed(webhook):
    quality.give_up(make_session([0]), "too many fields")
    assert len(announced()) == 1


def test_it_announces_nothing_without_an_enabled_webhook(webhook):
    Webhook.objects.update(is_enabled=False)
    quality.compute(make_session([0, 60]))
    becomes("error")
    assert not announced() and not job.due().exists()


def test_it_announces_a_robot_that_fails_and_then_disconnects(webhook, receiver, settings):
    settings.ROBOT_AUTH = "open"
    Robot.objects.create(pk="arm", name="<Arm> \u202e 🤖")
    lease = opens()
    runs(webhook)
    beats(lease, refusals=1, error=("invalid_frame", "frame 3 has no timestamp"))
    runs(webhook)
    releases(lease)
    runs(webhook)
    assert announced() == [("robot.error", "robot arm"), ("robot.offline", "robot arm")]
    robot = json.loads(receiver.requests[0].body)["data"]
    assert (robot["id"], robot["name"], robot["status"]) == ("arm", "<Arm> \u202e 🤖", "error")
    assert robot["last_error_detail"] == "frame 3 has no timestamp"


def test_it_announces_no_status_twice(webhook):
    becomes("error")
    runs(webhook)
    runs(webhook)
    assert len(announced()) == 1
    assert not job.due().exists()


def test_it_announces_no_status_from_before_it_was_enabled(webhook):
    becomes("error")
    becomes("online", "leg")
    webhook.begin()
    runs(webhook)
    assert announced() == []
    becomes("offline", "leg")
    runs(webhook)
    assert announced() == [("robot.offline", "robot leg")]


@pytest.mark.django_db(transaction=True)  # PostgreSQL's CURRENT_TIMESTAMP is the beginning of the transaction
def test_it_announces_a_robot_that_was_online_between_two_runs(webhook):
    for times in (1, 2):
        becomes("online")
        becomes("offline")
        runs(webhook)
        runs(webhook)
        assert announced() == [("robot.offline", "robot arm")] * times


def test_it_announces_no_robot_that_has_never_connected(webhook):
    Robot.objects.create(pk="arm")
    runs(webhook)
    assert announced() == [] and not job.due().exists()


def test_it_stores_events_while_it_pauses(webhook, receiver):
    receiver.answers = [answers(500)]
    webhook.announce(*TEST)
    runs(webhook)
    becomes("error")
    runs(webhook)
    becomes("online")
    runs(webhook)
    assert announced()[1:] == [("robot.error", "robot arm")]
    assert len(receiver.requests) == 1


def test_it_retries_until_the_receiver_accepts(webhook, receiver):
    receiver.answers = [answers(503, b"busy"), answers(429)]
    delivery = webhook.announce(*TEST)
    for attempts, status, state, last_result in (
        (1, 503, "pending", "the receiver answered 503; 200 to 299 expected"),
        (2, 429, "pending", "the receiver answered 429; 200 to 299 expected"),
        (3, 200, "delivered", "delivered (200)"),
    ):
        runs(webhook)
        runs(webhook)  # too early
        delivery.refresh_from_db()
        assert (delivery.attempts, delivery.status_code, delivery.state) == (attempts, status, state)
        assert webhook.last_result == last_result
        pass_time(seconds=RETRY_DELAYS_S[attempts])
    first, _, third = receiver.requests
    assert (first.headers["webhook-id"], first.body) == (third.headers["webhook-id"], third.body)
    assert (webhook.failures, delivery.error, delivery.answer) == (0, "", "")


def test_it_knows_when_the_next_attempt_is_due(webhook, receiver):
    receiver.answers = [answers(500)] * 2
    assert presence.next_work_s() is None
    webhook.announce(*TEST)
    for delay_s in RETRY_DELAYS_S[:2]:
        assert presence.is_work_left() and presence.next_work_s() is None
        runs(webhook)
        assert not presence.is_work_left()
        assert 0 < presence.next_work_s() <= delay_s
        pass_time(seconds=delay_s)
    Webhook.objects.update(resumes_at=Now() + timedelta(seconds=300))
    assert 290 < presence.next_work_s() <= 300
    Webhook.objects.update(is_enabled=False)
    assert presence.next_work_s() is None


def test_the_receiver_can_verify_the_signature(webhook, receiver):
    webhook.announce(*TEST)
    runs(webhook)
    sent = receiver.requests[0]
    message_id, timestamp = sent.headers["webhook-id"], int(sent.headers["webhook-timestamp"])
    expected = signed_headers(webhook.secret, message_id, timestamp, sent.body)["webhook-signature"]
    assert sent.headers["webhook-signature"] == expected
    assert message_id == f"msg_{WebhookDelivery.objects.get().message_id.hex}"


def test_it_attempts_one_of_many_deliveries_of_a_receiver_that_hangs(webhook, receiver, monkeypatch):
    receiver.answers = [lambda handler: receiver.is_over.wait()]
    for _ in range(3):
        webhook.announce(*TEST)
    with monkeypatch.context() as patch:
        patch.setattr(request, "TIMEOUT_S", 0.2)
        runs(webhook)
    attempts = WebhookDelivery.objects.order_by("pk").values_list("attempts", flat=True)
    assert list(attempts) == [1, 0, 0] and webhook.failures == 1
    receiver.answers.clear()
    pass_time(seconds=RETRY_DELAYS_S[0])
    runs(webhook)
    assert {*WebhookDelivery.objects.values_list("state", flat=True)} == {"delivered"}


def test_it_continues_after_a_delivery_that_is_always_refused(webhook, receiver):
    receiver.answers = [answers(400)]
    refused, _ = webhook.announce(*TEST), webhook.announce(*TEST)
    runs(webhook)
    WebhookDelivery.objects.filter(pk=refused.pk).update(next_attempt_at=Now() + timedelta(hours=1))
    pass_time(seconds=RETRY_DELAYS_S[0])
    runs(webhook)
    assert list(WebhookDelivery.objects.order_by("pk").values_list("state", flat=True)) == ["pending", "delivered"]


def test_it_gives_up_after_a_day(webhook, receiver):
    receiver.answers = [answers(500)] * 2
    webhook.announce(*TEST)
    waiting = webhook.announce(*TEST)
    runs(webhook)
    pass_time(hours=23)
    runs(webhook)
    assert not WebhookDelivery.objects.filter(state="failed").exists()
    receiver.answers = [answers(500)]
    pass_time(hours=2)
    runs(webhook)
    waiting.refresh_from_db()
    assert {*WebhookDelivery.objects.values_list("state", flat=True)} == {"failed"}
    assert waiting.error == "the receiver answered 500; 200 to 299 expected"
    assert WebhookDelivery.objects.all().send_again() == 2
    pass_time(hours=1)
    runs(webhook)
    assert {*WebhookDelivery.objects.values_list("state", flat=True)} == {"delivered"}


def test_it_delivers_an_old_event_to_a_receiver_that_works(webhook, receiver):
    webhook.announce(*TEST)
    pass_time(days=3)
    runs(webhook)
    assert WebhookDelivery.objects.get().state == "delivered"


def test_it_deletes_old_deliveries_but_none_that_waits(webhook, receiver):
    webhook.announce(*TEST)
    runs(webhook)
    pass_time(days=8)
    receiver.answers = [answers(500)]
    waiting = webhook.announce(*TEST)
    runs(webhook)
    assert WebhookDelivery.objects.get() == waiting


def test_it_pauses_if_its_work_has_failed(webhook):
    webhook.announce(*TEST)
    job.give_up(webhook, "its process was killed")
    webhook.refresh_from_db()
    assert webhook.last_result == "its process was killed" and not job.due().exists()


def test_it_forgets_a_deleted_robot(webhook):
    becomes("error")
    runs(webhook)
    Robot.objects.all().delete()
    assert not AnnouncedStatus.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_background_worker_does_it(webhook, receiver, monkeypatch):
    # The forked process begins with the memory of the tests, which may be beyond the limit for that of `background`.
    monkeypatch.setitem(KINDS, "webhook", job.WEBHOOK._replace(memory_bytes=2**32))
    webhook.announce(*TEST)
    becomes("error")
    worker = Worker()
    while worker.do_next():
        pass
    assert [json.loads(each.body)["type"] for each in receiver.requests] == ["test", "robot.error"]
    assert not Job.objects.exists()
