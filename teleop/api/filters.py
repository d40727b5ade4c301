from datetime import UTC, datetime

import django_filters
from django import forms
from django_filters.fields import IsoDateTimeField
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError

from robots.api.fields import check_range
from teleop.models import TeleopSession
from teleop.protocol import MAX_FRAME_INDEX, MAX_TIMESTAMP, MIN_TIMESTAMP
from teleop.querysets import ORDERS
from teleop.review.search import MAX_WORDS, search

EARLIEST, LATEST = (datetime.fromtimestamp(limit, UTC) for limit in (MIN_TIMESTAMP, MAX_TIMESTAMP))
MAX_DURATION_S = 10**9
MAX_ID = 2**31 - 1
MAX_IDS = 1000
MAX_JERK, MAX_RATIO = 10**15, 10**9
RATIO = "ratio of the duration to the median of the task's other sessions"
BOOLEANS = [("true", "true"), ("false", "false")]


class MomentField(IsoDateTimeField):
    """A time, clamped to the range that a frame can have, as databases do not support every time."""

    def clean(self, value):
        moment = super().clean(value)
        return moment and min(max(moment, EARLIEST), LATEST)


class MomentFilter(django_filters.IsoDateTimeFilter):
    field_class = MomentField

    def __init__(self, **kwargs):
        super().__init__(widget=forms.TextInput({"data-moment": ""}), **kwargs)  # teleop/localtime.js adds a picker


@extend_schema_field(bool)
class BooleanFilter(django_filters.TypedChoiceFilter):
    """A filter by `true` or `false`; django-filter's own ignores any other value."""

    def __init__(self, **kwargs):
        super().__init__(choices=BOOLEANS, coerce="true".__eq__, **kwargs)


class QualityFilter(django_filters.NumberFilter):
    """A filter by one number of the sessions' quality; sessions without this number never match."""

    def __init__(self, name: str, lookup: str, most: float, help_text: str):
        self.name, self.lookup = name, lookup
        super().__init__(min_value=0, max_value=most, help_text=help_text)

    def filter(self, queryset, value):
        return queryset if value is None else queryset.with_quality(self.name, **{self.lookup: float(value)})


class WholeFilter(django_filters.NumberFilter):
    """A filter by an integer; django-filter's own accepts 1.5 and finds nothing."""

    field_class = forms.IntegerField


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": MAX_ID})
class IdFilter(WholeFilter):
    def __init__(self, **kwargs):
        super().__init__(min_value=1, max_value=MAX_ID, **kwargs)


class IdsField(forms.CharField):
    def clean(self, value):
        """Return the ids as a list; None if there are none."""
        text = super().clean(value)
        ids = text.split(",") if text else []
        if wrong := [item for item in ids if not (item.isascii() and item.isdecimal() and 0 < int(item) <= MAX_ID)]:
            raise forms.ValidationError(f"ids has {wrong[0][:40]!r}; integers between 1 and {MAX_ID} expected")
        if len(ids) > MAX_IDS:
            raise forms.ValidationError(f"ids has {len(ids)} ids; at most {MAX_IDS} expected")
        return list(map(int, ids)) or None


@extend_schema_field({"type": "string", "pattern": "^[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*$"})
class IdsFilter(django_filters.Filter):
    field_class = IdsField


class FrameFilter(django_filters.FilterSet):
    """Filters of the admin's list; an index serves each of them."""

    session = IdFilter(method="by_session")
    from_index = WholeFilter(method="by_index", min_value=0, max_value=MAX_FRAME_INDEX)
    max_id = WholeFilter(method="by_id", min_value=1, max_value=2**63 - 1)

    def by_session(self, queryset, name, value):
        return queryset.of_session(value)

    def by_index(self, queryset, name, value):
        return queryset.from_index(value)

    def by_id(self, queryset, name, value):
        return queryset.up_to_id(value)


class SessionFilter(django_filters.FilterSet):
    robot = django_filters.CharFilter(field_name="robot_id", max_length=64, help_text="The robot's id.")
    live = BooleanFilter(method="by_live", help_text="true: sessions being recorded; false: ended sessions.")
    task = django_filters.CharFilter(method="by_label", help_text="Exact task.")
    success = BooleanFilter(
        field_name="label_success", help_text="Success label. A session without the label matches neither value."
    )
    unlabelled = BooleanFilter(
        field_name="label_success",
        lookup_expr="isnull",
        help_text="true: sessions without the label `success`; false: sessions with it.",
    )
    tag = django_filters.CharFilter(method="by_tag", help_text="Sessions with this tag.")
    operator = django_filters.CharFilter(method="by_label", help_text="Exact operator.")
    search = django_filters.CharFilter(
        method="by_search",
        max_length=200,
        help_text="Words of which each is a part of the task, a tag, the operator, the note, or the robot's id or "
        f"name, in upper or lower case. The first {MAX_WORDS} words count.",
    )
    ids = IdsFilter(field_name="pk", lookup_expr="in", help_text=f"Ids, separated by commas; at most {MAX_IDS}.")
    min_duration = django_filters.NumberFilter(
        method="by_duration",
        min_value=0,
        max_value=MAX_DURATION_S,
        help_text="Minimum duration in seconds. Live sessions do not match.",
    )
    max_duration = django_filters.NumberFilter(
        method="by_max_duration",
        min_value=0,
        max_value=MAX_DURATION_S,
        help_text="Maximum duration in seconds. Live sessions do not match.",
    )
    camera = django_filters.CharFilter(
        method="by_camera", max_length=100, help_text="Sessions with a video of this camera."
    )
    updated_since = MomentFilter(
        field_name="updated_at",
        lookup_expr="gte",
        help_text="Sessions recorded, ended or labelled at or after this time (ISO 8601; UTC without an offset).",
    )
    max_idle_share = QualityFilter("idle_share", "lte", 1, "Maximum share of the time in which no joint moves.")
    max_jerk = QualityFilter("jerk", "lte", MAX_JERK, "Maximum jerk, in the robot's units/s^3.")
    max_fps_jitter = QualityFilter(
        "fps_jitter", "lte", MAX_RATIO, "Maximum jitter of the frame interval, as a share of 1/fps."
    )
    max_missing_frames = QualityFilter(
        "missing_frames", "lte", MAX_FRAME_INDEX, "Maximum number of frames missing in the session."
    )
    min_duration_ratio = QualityFilter("duration_ratio", "gte", MAX_RATIO, f"Minimum {RATIO}.")
    max_duration_ratio = QualityFilter("duration_ratio", "lte", MAX_RATIO, f"Maximum {RATIO}.")

    class Meta:
        model = TeleopSession
        fields = []

    check_times = staticmethod(check_range)

    @classmethod
    def get_filters(cls):
        """Add `from`, which is a reserved word in Python."""
        return super().get_filters() | {
            "from": MomentFilter(
                method="by_from", help_text="Sessions that end at or after this time, or are live (ISO 8601)."
            ),
            "to": MomentFilter(
                method="by_to", help_text="Sessions that start before this time. It must be later than `from`."
            ),
        }

    @property
    def chosen(self) -> dict:
        """Return the values of the given filters by name."""
        return {name: value for name, value in self.form.cleaned_data.items() if value not in (None, "")}

    def filter_queryset(self, queryset, without=()):
        """Select by all filters but those `without`. Sessions in the trash are never selected."""
        given = self.form.cleaned_data
        self.check_times(given)
        least, most = given.get("min_duration_ratio"), given.get("max_duration_ratio")
        if least is not None and most is not None and least > most:
            message = f"max_duration_ratio is {most}; at least min_duration_ratio ({least}) expected"
            raise ValidationError({"max_duration_ratio": [message]})
        queryset = self.of_list(queryset)
        for name, value in given.items():
            if name not in without:
                queryset = self.filters[name].filter(queryset, value)
        return queryset

    def of_list(self, queryset):
        return queryset.not_trashed()

    def by_from(self, queryset, name, value):
        return queryset.overlapping(begin=value)

    def by_to(self, queryset, name, value):
        return queryset.overlapping(end=value)

    def by_live(self, queryset, name, value):
        return queryset.filter(end_time__isnull=value)

    def by_label(self, queryset, name, value):
        return queryset.with_label(name, value)

    def by_search(self, queryset, name, value):
        return search(queryset, value)

    def by_tag(self, queryset, name, value):
        return queryset.with_tag(value)

    def by_duration(self, queryset, name, value):
        return queryset.lasting(at_least=float(value))

    def by_max_duration(self, queryset, name, value):
        return queryset.lasting(at_most=float(value))

    def by_camera(self, queryset, name, value):
        return queryset.seen_by(value)


class TrashFilter(SessionFilter):
    """Filters of a list that can show the trash, in place of all other sessions."""

    trash = BooleanFilter(method="by_trash", help_text="true: the sessions in the trash; false or omitted: all others.")

    def of_list(self, queryset):
        return queryset.in_trash() if self.form.cleaned_data.get("trash") else queryset.not_trashed()

    def by_trash(self, queryset, name, value):
        return queryset  # of_list has selected


class SessionListFilter(TrashFilter):
    """Filters of GET /sessions; their order is one of them."""

    ordering = django_filters.ChoiceFilter(
        method="by_ordering",
        choices=[(order, order) for order in ORDERS],
        help_text="newest (the default) or oldest first; longest or shortest first.",
    )

    @property
    def order(self) -> str:
        return self.form.cleaned_data.get("ordering") or "newest"

    def by_ordering(self, queryset, name, value):
        return queryset.ordered(value)
