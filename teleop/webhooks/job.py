"""The events and deliveries of one webhook as background work."""

import time
from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet

from teleop.background.kinds import Kind, Report
from teleop.webhooks.models import Webhook, WebhookDelivery
from teleop.webhooks.request import Attempt, post
from teleop.webhooks.signature import signed_headers

RUN_S = 20  # then other work has its turn
PAUSE_AFTER_ERROR = timedelta(minutes=10)
MEMORY_BYTES, CPU_S = 512 * 2**20, 20


def due() -> QuerySet[Webhook]:
    return Webhook.objects.due()


def run(webhook: Webhook, report: Report = lambda progress: None) -> None:
    """Announce the new status of robots, then attempt the deliveries that are due, until one of them fails.

    If the process is killed between the receiver's answer and the record of it, the delivery is sent again.
    """
    webhook.announce_statuses()
    webhook.deliveries.outdated().delete()
    ends_at = time.monotonic() + RUN_S
    due_now = WebhookDelivery.objects.due().filter(webhook=webhook.pk).select_related("webhook")
    while time.monotonic() < ends_at and (delivery := due_now.first()):
        delivery.record(attempt(delivery))


def attempt(delivery: WebhookDelivery) -> Attempt:
    body = delivery.body.encode()
    message_id, now = f"msg_{delivery.message_id.hex}", int(time.time())
    headers = signed_headers(delivery.webhook.secret, message_id, now, body)
    return post(delivery.webhook.url, body, headers | {"User-Agent": f"LeRobot-Backend/{settings.VERSION}"})


def give_up(webhook: Webhook, reason: str) -> None:
    """Pause the deliveries and show the reason."""
    webhook.pause(reason, webhook.failures, PAUSE_AFTER_ERROR)


WEBHOOK = Kind(
    "webhook",
    due,
    run,
    give_up,
    MEMORY_BYTES,
    lambda webhook: CPU_S,
    next_due_s=lambda: WebhookDelivery.objects.next_due_s(),
)
