"""Audit log in the admin: the changes made there, the history page of each object, and the list of all entries."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import PAGE_VAR
from django.db import models, transaction

from robots import audit
from robots.models import AuditEntry

ENTRIES_PER_PAGE = 100
HIDDEN = "***"


class AuditedAdmin(ModelAdmin):
    """Base that the site adds to each ModelAdmin; it records changes in the audit log in place of Django's LogEntry."""

    object_history_template = "admin/audit_history.html"

    def construct_change_message(self, request, form, formsets, add=False):
        """Return the changed values for log_addition and log_change; Django's message has only the fields' names."""
        fields = {field.name for field in [*self.opts.fields, *self.opts.many_to_many]}
        names = fields.intersection(form.changed_data) - {"password"}
        before = {name: _plain(form.initial.get(name)) for name in names if not add}
        changes = audit.difference(before, {name: _plain(form.cleaned_data.get(name)) for name in names})
        return changes | ({"password": [HIDDEN, HIDDEN]} if "password" in form.changed_data else {})

    def log_addition(self, request, obj, message):
        audit.record(audit.actor_of(request), audit.Action.ADDED, [obj], message)

    def log_change(self, request, obj, message):
        if message:
            audit.record(audit.actor_of(request), audit.Action.CHANGED, [obj], message)

    def log_deletions(self, request, queryset):
        """Record nothing: delete_queryset does it, as Django's action has no transaction around both calls."""

    def delete_model(self, request, obj):
        with transaction.atomic():
            audit.record(audit.actor_of(request), audit.Action.DELETED, [obj])
            super().delete_model(request, obj)

    def delete_queryset(self, request, queryset):
        with transaction.atomic():
            audit.record(audit.actor_of(request), audit.Action.DELETED, queryset)
            super().delete_queryset(request, queryset)

    def history_view(self, request, object_id, extra_context=None):
        entries = AuditEntry.objects.filter(model=audit.model_name(self.model), object_id=unquote(object_id))
        page = self.get_paginator(request, entries.order_by("-pk"), ENTRIES_PER_PAGE).get_page(
            request.GET.get(PAGE_VAR)
        )
        context = {
            "action_list": page,
            "page_range": page.paginator.get_elided_page_range(page.number),
            "pagination_required": page.paginator.num_pages > 1,
        }
        return super().history_view(request, object_id, context | (extra_context or {}))


def _plain(value: Any) -> Any:
    """Return a form's value as JSON accepts it; in a form's initial values a foreign key is already a primary key."""
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, models.QuerySet | list) and any(isinstance(each, models.Model) for each in value):
        return sorted(map(str, value))
    return list(value) if isinstance(value, models.QuerySet) else value
