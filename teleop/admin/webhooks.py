"""Webhooks in the admin: their URL and secret, the result of the last attempt, and all deliveries."""

import django_filters
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, Q
from django.urls import reverse

from robots import audit
from robots.admin_tools import display
from robots.admin_tools.audit import HIDDEN
from robots.admin_tools.read_only import ReadOnlyAdmin
from teleop.background.process import work_is_due
from teleop.webhooks.events import EventType
from teleop.webhooks.models import DELIVERED, FAILED, PENDING, Webhook, WebhookDelivery

STATUSES = {DELIVERED: "online", FAILED: "failure"}
TEST_DATA = {"message": "This is a test of a webhook of LeRobot Backend."}


class DeliveryFilter(django_filters.FilterSet):
    webhook = django_filters.NumberFilter(min_value=1, max_value=2**31 - 1, help_text="The webhook's number.")
    type = django_filters.ChoiceFilter(choices=EventType.choices)
    state = django_filters.ChoiceFilter(choices=[(name, name) for name in (PENDING, DELIVERED, FAILED)])


@admin.register(Webhook)
class WebhookAdmin(admin.ModelAdmin):
    list_display = ["name", "url", "is_enabled", "last_attempt", "in_short", "pending"]
    show_full_result_count = False
    actions = ["send_test"]
    fields = ["name", "url", "secret", "is_enabled", "last_attempt", "last_result", "pending", "all_deliveries"]
    readonly_fields = ["last_attempt", "last_result", "pending", "all_deliveries"]

    def get_queryset(self, request):
        waiting = Count("deliveries", filter=Q(deliveries__state=PENDING))
        return super().get_queryset(request).annotate(pending_count=waiting)

    def get_fields(self, request, obj=None):
        """Leave the secret out for people who may only view: with it they could send forged events."""
        fields = super().get_fields(request, obj)
        if obj is None:
            return fields[:4]
        return fields if self.has_change_permission(request, obj) else [name for name in fields if name != "secret"]

    def formfield_for_dbfield(self, db_field, request, **options):
        """Compare the secret with the stored one: Django adds a hidden input to a field whose default is a function."""
        extra = {"show_hidden_initial": False} if db_field.name == "secret" else {}
        return super().formfield_for_dbfield(db_field, request, **options | extra)

    @admin.display(description="last attempt")
    def last_attempt(self, webhook):
        return display.ago(webhook.last_attempt_at)

    @admin.display(description="last result")
    def in_short(self, webhook):
        return display.clipped(webhook.last_result or None)

    @admin.display(description="waiting deliveries")
    def pending(self, webhook):
        return display.number(webhook.pending_count)

    @admin.display(description="deliveries")
    def all_deliveries(self, webhook):
        url = reverse("admin:teleop_webhookdelivery_changelist")
        return display.link(f"{url}?webhook={webhook.pk}", "All deliveries of the last 7 days")

    def construct_change_message(self, request, form, formsets, add=False):
        changes = super().construct_change_message(request, form, formsets, add)
        return changes | ({"secret": [HIDDEN, HIDDEN]} if "secret" in changes else {})

    def save_model(self, request, obj, form, change):
        """Save only the changed fields: saving all of them would restore an older result."""
        obj.save(update_fields=form.changed_data if change else None)
        if not change or (obj.is_enabled and "is_enabled" in form.changed_data):
            obj.begin()
        if {"url", "secret"} & {*form.changed_data}:
            obj.resume()
        transaction.on_commit(work_is_due)

    def get_deleted_objects(self, objs, request):
        """Return counts: deliveries are deleted with their webhook, and Django would ask for a permission on each."""
        webhooks = list(objs)
        deliveries = WebhookDelivery.objects.filter(webhook__in=webhooks).count()
        return webhooks, {"webhooks": len(webhooks), "webhook deliveries": deliveries}, set(), []

    @admin.action(description="Send a test event", permissions=["change"])
    def send_test(self, request, queryset):
        webhooks = list(queryset.enabled())
        for webhook in webhooks:
            webhook.announce(EventType.TEST, f"webhook {webhook.pk}", TEST_DATA)
        transaction.on_commit(work_is_due)
        tests = display.count(len(webhooks), "test event")
        self.message_user(request, f"{tests} will be sent; see its result under Webhook deliveries.", messages.SUCCESS)
        if left_out := len(queryset) - len(webhooks):
            disabled = display.count(left_out, "webhook")
            self.message_user(request, f"{disabled} not called: enable it first.", messages.WARNING)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """What was sent and what is waiting, the newest first."""

    filterset_class = DeliveryFilter
    list_display = ["id", "webhook", "type", "about", "shown_state", "attempts", "code", "in_short", "created"]
    list_select_related = ["webhook"]
    fields = [
        "message", "webhook", "type", "about", "shown_state", "attempts", "code", "error", "answer",
        "created", "attempted", "next_attempt", "body",
    ]  # fmt: skip
    ordering = ["-pk"]
    actions = ["send_again"]

    @admin.display(description="webhook-id")
    def message(self, delivery):
        return f"msg_{delivery.message_id.hex}"

    @admin.display(description="state")
    def shown_state(self, delivery):
        return display.status(STATUSES.get(delivery.state, "offline"), delivery.state)

    @admin.display(description="status")
    def code(self, delivery):
        return delivery.status_code or display.NOTHING

    @admin.display(description="error")
    def in_short(self, delivery):
        return display.clipped(delivery.error or None)

    def created(self, delivery):
        return display.moment(delivery.created_at)

    @admin.display(description="last attempt")
    def attempted(self, delivery):
        return display.moment(delivery.attempted_at)

    @admin.display(description="next attempt")
    def next_attempt(self, delivery):
        return display.moment(delivery.next_attempt_at) if delivery.state == PENDING else display.NOTHING

    @admin.action(description="Send failed deliveries again", permissions=["send"])
    def send_again(self, request, queryset):
        with transaction.atomic():
            failed = list(queryset.filter(state=FAILED))
            audit.record(audit.actor_of(request), audit.Action.CHANGED, failed, {"state": [FAILED, PENDING]})
            queryset.filter(pk__in=[delivery.pk for delivery in failed]).send_again()
            transaction.on_commit(work_is_due)
        events = display.count(len(failed), "event")
        self.message_user(request, f"{events} will be sent again.", messages.SUCCESS)

    def has_send_permission(self, request):
        return request.user.has_perm("teleop.change_webhook")
