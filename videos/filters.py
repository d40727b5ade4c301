import django_filters

from robots.api.fields import check_range
from teleop.api.filters import BooleanFilter, IdFilter, MomentFilter
from videos.models import VideoChunk


class VideoFilter(django_filters.FilterSet):
    session = IdFilter(field_name="session_id", help_text="The session's id.")
    robot = django_filters.CharFilter(field_name="robot_id", max_length=64, help_text="The robot's id.")
    camera_key = django_filters.CharFilter(max_length=100, help_text="Exact camera key.")
    codec = django_filters.CharFilter(max_length=30, help_text="Exact codec, as FFmpeg names it: `h264`, `mpeg4`.")
    playable = BooleanFilter(
        field_name="playable",
        help_text="Whether browsers play the file. A video that was not probed yet matches neither value.",
    )

    class Meta:
        model = VideoChunk
        fields = []

    @classmethod
    def get_filters(cls):
        """Add `to` and `from`, as Python does not accept `from` as a name."""
        return super().get_filters() | {
            "from": MomentFilter(method="by_from", help_text="Chunks that end after this time (ISO 8601)."),
            "to": MomentFilter(
                method="by_to", help_text="Chunks that start before this time. It must be later than `from`."
            ),
        }

    def filter_queryset(self, queryset):
        check_range(self.form.cleaned_data)
        return super().filter_queryset(queryset)

    def by_from(self, queryset, name, value):
        return queryset.overlapping(begin=value.timestamp())

    def by_to(self, queryset, name, value):
        return queryset.overlapping(end=value.timestamp())
