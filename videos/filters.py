import django_filters
from rest_framework.exceptions import ValidationError

from teleop.api.filters import IdFilter, MomentFilter
from videos.models import VideoChunk


class VideoFilter(django_filters.FilterSet):
    session = IdFilter(field_name="session_id", help_text="Its id.")
    robot = django_filters.CharFilter(field_name="robot_id", max_length=64, help_text="The robot's id.")
    camera_key = django_filters.CharFilter(max_length=100, help_text="Exactly this camera.")

    class Meta:
        model = VideoChunk
        fields = []

    @classmethod
    def get_filters(cls):
        """Add `to` and `from`, as Python does not accept `from` as a name."""
        return super().get_filters() | {
            "from": MomentFilter(method="by_from", help_text="Not over at this moment (ISO 8601)."),
            "to": MomentFilter(method="by_to", help_text="Begun before this moment; later than `from`."),
        }

    def filter_queryset(self, queryset):
        begin, end = self.form.cleaned_data.get("from"), self.form.cleaned_data.get("to")
        if begin and end and begin >= end:
            raise ValidationError({"to": [f"to is {end.isoformat()}; later than from, {begin.isoformat()}, expected"]})
        return super().filter_queryset(queryset)

    def by_from(self, queryset, name, value):
        return queryset.overlapping(begin=value.timestamp())

    def by_to(self, queryset, name, value):
        return queryset.overlapping(end=value.timestamp())
