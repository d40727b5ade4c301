"""Webhooks, their deliveries, and the status of each robot as it was last announced."""

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Greatest, Now

from robots.models import Robot
from teleop.webhooks.events import OF_STATUS, EventType, body_of, robot_data, session_data
from teleop.webhooks.request import Attempt
from teleop.webhooks.signature import check_secret, new_secret
from teleop.webhooks.target import MAX_URL, check_url

RETRY_DELAYS_S = (10, 30, 120, 600, 1800, 3600)  # after the first failed attempt, the second ...; the last one stays
RETRIED_FOR = timedelta(days=1)
MAX_PAUSE_S = 300
KEPT_FOR = timedelta(days=7)
PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
OFFLINE = Robot.Status.OFFLINE


def retry_delay(failures: int) -> timedelta:
    return timedelta(seconds=RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S)) - 1])


class WebhookQuerySet(models.QuerySet):
    def enabled(self):
        return self.filter(is_enabled=True)

    def due(self):
        """Select webhooks with a delivery to attempt, or with a robot whose status was not announced yet.

        The status of robots is stored during a pause too: a robot may be in another state when the pause is over.
        """
        deliveries = WebhookDelivery.objects.due().filter(webhook=OuterRef("pk"))
        robots = robots_to_announce(OuterRef(OuterRef("pk")))
        return self.enabled().filter(Exists(deliveries) | Exists(robots)).order_by("pk")


class Webhook(models.Model):
    """A URL that the server calls when a session has ended, and when a robot goes into error or offline."""

    name = models.CharField(max_length=100)
    url = models.CharField("URL", max_length=MAX_URL, validators=[check_url])
    secret = models.CharField(max_length=100, default=new_secret, validators=[check_secret])
    is_enabled = models.BooleanField("enabled", default=True, db_default=True)
    # Failed attempts since the last one that succeeded. No delivery is attempted before resumes_at, so that a receiver
    # that hangs takes one timeout of the background work at a time, however many deliveries wait for it.
    failures = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    resumes_at = models.DateTimeField(db_default=Now(), editable=False)
    last_attempt_at = models.DateTimeField(null=True, editable=False)
    last_result = models.TextField(default="", db_default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        app_label = "teleop"

    def __str__(self) -> str:
        return self.name

    def begin(self) -> None:
        """Note the present status of all robots, so that the webhook announces only events from now on."""
        with transaction.atomic():
            self.announced_statuses.all().delete()
            self._note_statuses(Robot.objects.all())
        self.resume()

    def resume(self) -> None:
        """End the pause, so that all pending deliveries are attempted at once."""
        Webhook.objects.filter(pk=self.pk).update(failures=0, resumes_at=Now())
        self.deliveries.pending().update(next_attempt_at=Now())

    def pause(self, result: str, failures: int, wait: timedelta) -> None:
        """Show this result, and let the next attempt wait."""
        self.show(result, failures=failures, resumes_at=Now() + wait)

    def show(self, result: str, **changes: Any) -> None:
        """Show this result of the last attempt; change only these fields, as staff may change others meanwhile."""
        Webhook.objects.filter(pk=self.pk).update(last_result=result, last_attempt_at=Now(), **changes)

    def announce_statuses(self) -> None:
        """Store a delivery for each robot that went into error or offline, and the status of all robots."""
        with transaction.atomic():
            robots = list(robots_to_announce(self.pk))
            self._note_statuses(robots)
            for robot in robots:
                if event_type := OF_STATUS.get(robot.status):
                    self.announce(event_type, f"robot {robot.pk}", robot_data(robot))

    def _note_statuses(self, robots: Iterable[Robot]) -> None:
        AnnouncedStatus.objects.bulk_create(
            [AnnouncedStatus(webhook=self, robot=robot, status=robot.status, noted_at=Now()) for robot in robots],
            update_conflicts=True,
            update_fields=["status", "noted_at"],
            unique_fields=["webhook", "robot"],
        )

    def announce(self, event_type: EventType, about: str, data: dict[str, Any]) -> "WebhookDelivery":
        return self.deliveries.create(type=event_type, about=about, body=body_of(event_type, data))


class DeliveryQuerySet(models.QuerySet):
    def pending(self):
        return self.filter(state=PENDING)

    def due(self):
        """Select what can be attempted now, the oldest first."""
        is_open = {"webhook__is_enabled": True, "webhook__resumes_at__lte": Now()}
        return self.pending().filter(next_attempt_at__lte=Now(), **is_open).order_by("pk")

    def next_due_s(self) -> float | None:
        """Return in how many seconds the next waiting delivery is due; None if none waits."""
        waiting = self.pending().filter(webhook__is_enabled=True)
        times = waiting.annotate(due_at=Greatest("next_attempt_at", "webhook__resumes_at")).order_by("due_at")
        next_, now = times.filter(due_at__gt=Now()).values_list("due_at", Now()).first() or (None, None)
        return (next_ - now).total_seconds() if next_ else None

    def expired(self):
        """Select pending deliveries whose event is too old for another attempt."""
        return self.pending().filter(created_at__lt=Now() - RETRIED_FOR)

    def outdated(self):
        return self.exclude(state=PENDING).filter(created_at__lt=Now() - KEPT_FOR)

    def session_ended(self, session) -> None:
        """Announce the end of a session in the transaction that stores its quality."""
        webhooks = list(Webhook.objects.enabled())
        if webhooks:
            stored = type(session)._base_manager.get(pk=session.pk)
            for webhook in webhooks:
                webhook.announce(EventType.SESSION_ENDED, f"session {session.pk}", session_data(stored))

    def send_again(self) -> int:
        """Let deliveries that have failed be attempted again; return their number."""
        failed = self.filter(state=FAILED)
        return failed.update(state=PENDING, attempts=0, error="", next_attempt_at=Now())


class WebhookDelivery(models.Model):
    """An event that a webhook announces: its body, and the result of the last attempt."""

    id = models.BigAutoField(primary_key=True)
    message_id = models.UUIDField(default=uuid.uuid4, unique=True)  # the receiver finds duplicates by it
    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries", db_index=False)
    type = models.CharField(max_length=20, choices=EventType)
    about = models.CharField(max_length=100)  # such as `session 5`
    body = models.TextField()  # not JSON: the signature is over its bytes
    state = models.CharField(
        max_length=10, choices=[(name, name) for name in (PENDING, DELIVERED, FAILED)], default=PENDING
    )
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    attempted_at = models.DateTimeField(null=True)
    status_code = models.PositiveIntegerField(null=True)
    error = models.TextField(default="", db_default="")
    answer = models.TextField(default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        app_label = "teleop"
        default_permissions = ("view",)
        verbose_name_plural = "webhook deliveries"
        indexes = [
            models.Index(fields=["webhook", "created_at"], name="deliveries_of_webhook"),
            models.Index(fields=["webhook", "next_attempt_at"], condition=Q(state=PENDING), name="deliveries_pending"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.about}"

    def record(self, attempt: Attempt) -> None:
        """Store the result of an attempt. After a failure the webhook pauses, and old deliveries are given up."""
        attempts, webhook = self.attempts + 1, self.webhook
        changes = {"attempts": attempts, "attempted_at": Now(), **attempt._asdict()}
        changes["status_code"] = changes.pop("status")
        with transaction.atomic():
            if attempt.error:
                wait = retry_delay(attempts)
                WebhookDelivery.objects.filter(pk=self.pk).update(next_attempt_at=Now() + wait, **changes)
                webhook.deliveries.expired().filter(error="").update(error=attempt.error)
                webhook.deliveries.expired().update(state=FAILED)
                failures = webhook.failures + 1
                webhook.pause(attempt.error, failures, min(retry_delay(failures), timedelta(seconds=MAX_PAUSE_S)))
            else:
                WebhookDelivery.objects.filter(pk=self.pk).update(state=DELIVERED, **changes)
                webhook.show(f"delivered ({attempt.status})", failures=0)


class AnnouncedStatus(models.Model):
    """The status of a robot that a webhook knows, and the time by the database's clock at which it was read."""

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="announced_statuses", db_index=False)
    # No constraint in the database: a server older than this table deletes robots without a query of this table.
    robot = models.ForeignKey(Robot, models.CASCADE, related_name="+", db_constraint=False)
    status = models.CharField(max_length=10, choices=Robot.Status)
    noted_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "teleop"
        default_permissions = ()  # only the background work writes it
        constraints = [models.UniqueConstraint(fields=["webhook", "robot"], name="announced_status_of_robot")]

    def __str__(self) -> str:
        return f"{self.robot_id} {self.status}"


def robots_to_announce(webhook):
    """Select the robots whose status this webhook (its id, or an OuterRef) does not know yet.

    A robot that is offline as before, but has sent a heartbeat since, was online and has disconnected again.
    """
    known = AnnouncedStatus.objects.filter(webhook=webhook, robot=OuterRef("pk"), status=OuterRef("status"))
    is_known = known.filter(~Q(status=OFFLINE) | Q(noted_at__gte=OuterRef("last_heartbeat")))
    have_connected = Robot.objects.exclude(status=OFFLINE, last_heartbeat=None)
    return have_connected.filter(~Exists(is_known)).order_by("pk")
