"""GET /statistics."""

from typing import Any

from django.db import DataError
from django_filters.utils import translate_validation
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.response import Response

from datasets.fleet_statistics.filters import StatisticsFilter
from datasets.fleet_statistics.query import MAX_ROWS, TooManyRows, statistics, total
from robots.api.filters import check_names
from teleop.models import TeleopSession

COUNTS = {"hours": 1.5125, "episodes": 60, "success": 41, "failure": 9, "success_rate": 0.82}
EXAMPLE = OpenApiExample(
    "Days and tasks",
    {
        "from": "2026-11-22",
        "to": "2026-11-22",
        "time_zone": "Europe/Berlin",
        "by": ["day", "task"],
        "total": COUNTS,
        "rows": [{"day": "2026-11-22", "task": "Fold the towel"} | COUNTS],
    },
    response_only=True,
)


class CountsSerializer(serializers.Serializer):
    hours = serializers.FloatField(help_text="Time from the first frame to the last, without steps of the clock.")
    episodes = serializers.IntegerField(help_text="Ended sessions with frames.")
    success = serializers.IntegerField(help_text="Episodes with the label success: true.")
    failure = serializers.IntegerField(help_text="Episodes with the label success: false.")
    success_rate = serializers.FloatField(
        allow_null=True, help_text="success / (success + failure), 0 to 1; null if no episode has the label."
    )


class StatisticsRowSerializer(CountsSerializer):
    """Counts of one combination of the groups in `by`; a row has only the fields of these groups."""

    day = serializers.DateField(required=False, help_text="The day on which the episodes began.")
    task = serializers.CharField(required=False, allow_null=True, help_text="Null: the episodes have no task.")
    operator = serializers.CharField(required=False, allow_null=True, help_text="Null: they have no operator.")
    robot = serializers.CharField(required=False, help_text="The robot's id.")


class StatisticsSerializer(serializers.Serializer):
    time_zone = serializers.CharField()
    by = serializers.ListField(child=serializers.CharField())
    total = CountsSerializer(help_text="The sum of all rows.")
    rows = StatisticsRowSerializer(many=True, help_text="Newest days first, then most hours first.")

    def get_fields(self):
        """Add `from`, which is a reserved word in Python."""
        days = {
            "from": serializers.DateField(allow_null=True, help_text="First day; null: no limit."),
            "to": serializers.DateField(allow_null=True, help_text="Last day; null: no limit."),
        }
        return days | super().get_fields()


class StatisticsView(GenericAPIView):
    queryset = TeleopSession.objects.all()
    serializer_class = StatisticsSerializer
    filterset_class = StatisticsFilter
    pagination_class = None

    @extend_schema(
        summary="Hours, episodes and success rate",
        description="Counts the ended sessions that match all filters, by day, task, operator and robot, or by some of "
        "these. A session belongs to the day on which it began. At most "
        f"{MAX_ROWS:,} rows are returned; a request for more is refused.",
        filters=True,
        examples=[EXAMPLE],
    )
    def get(self, request):
        check_names(request.query_params, StatisticsFilter.base_filters)
        filters = StatisticsFilter(request.query_params, self.queryset)
        if not filters.is_valid():
            raise translate_validation(filters.errors)
        return Response(_answer(filters))


def _answer(filters: StatisticsFilter) -> dict[str, Any]:
    given = filters.form.cleaned_data
    try:
        rows = statistics(filters.qs, given["by"], filters.zone)
    except TooManyRows:
        message = f"by {','.join(given['by'])} gives more than {MAX_ROWS:,} rows; fewer groups or days expected"
        raise ValidationError({"by": [message]}) from None
    except DataError:  # PostgreSQL has its own table of time zones
        message = f"time_zone is {filters.zone.key}; a name that the database knows expected"
        raise ValidationError({"time_zone": [message]}) from None
    return {
        "from": given["from"],
        "to": given["to"],
        "time_zone": filters.zone.key,
        "by": given["by"],
        "total": total(rows),
        "rows": rows,
    }
