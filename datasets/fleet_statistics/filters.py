"""Parameters of GET /statistics: the filters of GET /sessions, with whole days in place of moments."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import django_filters
from django import forms
from django.core.exceptions import ValidationError as Invalid
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError

from datasets.fleet_statistics.query import GROUPS
from teleop.api.filters import EARLIEST, LATEST, SessionFilter

DAYS = EARLIEST.date() + timedelta(1), LATEST.date() - timedelta(2)  # so that no time zone leaves the range


class DayField(forms.DateField):
    """A day, clamped to the range that a frame can have."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs | {"input_formats": ["%Y-%m-%d"]})

    def clean(self, value):
        day = super().clean(value)
        return day and min(max(day, DAYS[0]), DAYS[1])


class DayFilter(django_filters.DateFilter):
    field_class = DayField


class ZoneField(forms.CharField):
    def clean(self, value):
        name = super().clean(value)
        try:
            return ZoneInfo(name or "UTC")
        except (ValueError, OSError, KeyError):  # the errors of zoneinfo for names that are unusual paths
            message = f"time_zone is {name[:40]}; a name of the IANA database such as Europe/Berlin expected"
            raise Invalid(message) from None


class ZoneFilter(django_filters.CharFilter):
    field_class = ZoneField


class GroupsField(forms.CharField):
    def clean(self, value):
        """Return the names as a tuple without repetitions; `day` without a value."""
        names = tuple(dict.fromkeys((super().clean(value) or "day").split(",")))
        if unknown := [name for name in names if name not in GROUPS]:
            raise Invalid(f"by is {value[:40]}; {', '.join(GROUPS)} expected, not {unknown[0][:40]}")
        return names


@extend_schema_field(
    {
        "type": "string",
        "pattern": "^({0})(,({0}))*$".format("|".join(GROUPS)),
        "description": f"Comma-separated: {', '.join(GROUPS)}. The default is day.",
    }
)
class GroupsFilter(django_filters.CharFilter):
    field_class = GroupsField


class StatisticsFilter(SessionFilter):
    live = None  # live sessions do not count
    by = GroupsFilter(method="no_filter")
    time_zone = ZoneFilter(
        method="no_filter", max_length=64, help_text="Time zone of the days, such as Europe/Berlin. The default is UTC."
    )

    @classmethod
    def get_filters(cls):
        return super().get_filters() | {
            "from": DayFilter(method="by_from", help_text="First day, YYYY-MM-DD in `time_zone`."),
            "to": DayFilter(method="by_to", help_text="Last day, YYYY-MM-DD in `time_zone`."),
        }

    @property
    def zone(self) -> ZoneInfo:
        return self.form.cleaned_data["time_zone"]

    @staticmethod
    def check_times(given):
        first, last = given["from"], given["to"]
        if first and last and first > last:
            raise ValidationError({"to": [f"to is {last}; from ({first}) or a later day expected"]})

    def by_from(self, queryset, name, value):
        return queryset.filter(start_time__gte=self._midnight(value))

    def by_to(self, queryset, name, value):
        return queryset.filter(start_time__lt=self._midnight(value + timedelta(1)))

    def no_filter(self, queryset, name, value):
        return queryset

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone).astimezone(UTC)
