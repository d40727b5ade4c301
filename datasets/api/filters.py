import django_filters
from django.db.models import Q

from datasets.models import Export
from datasets.options import FORMATS
from datasets.querysets import STATES


class ExportFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(
        choices=[(state, state) for state in STATES], method="by_state", help_text="pending, running, done or failed."
    )
    format = django_filters.ChoiceFilter(choices=[(name, name) for name in FORMATS], help_text="Exact format.")
    created_by = django_filters.CharFilter(max_length=150, help_text="Exact username.")
    text = django_filters.CharFilter(
        method="with_text", max_length=200, help_text="Text that the name or the filters of the export contain."
    )

    class Meta:
        model = Export
        fields = []

    def by_state(self, queryset, name, value):
        return queryset.in_state(value)

    def with_text(self, queryset, name, value):
        return queryset.filter(Q(name__icontains=value) | Q(where__icontains=value))
