from collections.abc import Mapping, Sequence

import django_filters
from django.db.models import Q
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import ValidationError

from robots.api.pagination import AFTER_ID
from robots.audit import FIELDS
from robots.models import AuditEntry, Robot


def check_names(parameters: Mapping, filters: Mapping, others: Sequence[str] = ()) -> None:
    """Refuse a parameter that is neither a filter nor one of the others, and a filter other than text without value."""
    known = [*filters, *others]
    if unknown := [name for name in parameters if name not in known]:
        expected = ", ".join(known)
        raise ValidationError({name: [f"unknown parameter {name}; {expected} expected"] for name in unknown})
    for name, value in parameters.items():
        if not value and name in filters and not isinstance(filters[name], django_filters.CharFilter):
            raise ValidationError({name: [f"{name} is empty; give it a value or omit it"]})


class StrictFilterBackend(DjangoFilterBackend):
    """Filter backend that refuses a misspelt filter: if it were ignored, the answer would hold all rows."""

    def filter_queryset(self, request, queryset, view):
        if getattr(view, "detail", False):
            return queryset
        filters = getattr(self.get_filterset_class(view, queryset), "base_filters", {})
        check_names(request.query_params, filters, ("limit", "offset", AFTER_ID))
        # Without a filter, the form of all filters would cost 2 ms.
        return super().filter_queryset(request, queryset, view) if request.query_params.keys() & filters else queryset


class RobotFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=Robot.Status.choices, help_text="Status at the last heartbeat.")
    robot_type = django_filters.CharFilter(help_text="Exact robot type.")
    text = django_filters.CharFilter(
        method="with_text", max_length=200, help_text="Text that the id or the name contains."
    )

    def with_text(self, queryset, name, value):
        return queryset.filter(Q(id__icontains=value) | Q(name__icontains=value))


class AuditFilter(django_filters.FilterSet):
    """Filters of the admin's list of audit entries."""

    actor = django_filters.CharFilter(max_length=200, help_text="Exact username, robot id or command.")
    actor_type = django_filters.ChoiceFilter(choices=AuditEntry.ActorType.choices)
    action = django_filters.ChoiceFilter(choices=AuditEntry.Action.choices)
    model = django_filters.ChoiceFilter(choices=[(name, name.rpartition(".")[2]) for name in FIELDS])
    object_id = django_filters.CharFilter(max_length=200, help_text="Exact id of the object.")
    since = django_filters.DateFilter(
        field_name="at", lookup_expr="date__gte", help_text="First day, YYYY-MM-DD in UTC."
    )
    until = django_filters.DateFilter(
        field_name="at", lookup_expr="date__lte", help_text="Last day, YYYY-MM-DD in UTC."
    )
