"""Query parameters of the frame endpoints. Each error names the parameter, the value and the bound."""

from datetime import UTC, datetime
from math import isnan

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from robots.api.fields import StrictFields, check_range
from teleop.frames.negotiation import FORMATS
from teleop.protocol import MAX_FRAME_INDEX, MAX_TIMESTAMP, MIN_TIMESTAMP

DEFAULT_FRAMES, MAX_FRAMES = 100, 1000  # a page
MAX_STRIDE = 10_000
MAX_WAIT_S = 30
MAX_FIELDS, MAX_FIELD_LENGTH = 64, 200
MIN_POINTS, DEFAULT_POINTS, MAX_POINTS = 10, 2000, 20_000
FIELDS_HELP = "Comma-separated names: `observation.joint_positions,action`. A name selects everything below it."
MOMENT = {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]}
MOMENT_EXPECTED = "ISO 8601 (its + written as %2B) or unix seconds expected"


class WholeField(serializers.IntegerField):
    """An integer whose error names the value and both bounds; DRF's error names one bound."""

    def __init__(self, low: int, high: int, **options):
        self.bounds = low, high
        super().__init__(**{"required": False, "min_value": low, "max_value": high} | options)

    def to_internal_value(self, data):
        low, high = self.bounds
        try:
            value = int(data) if len(data) <= 20 and data.isascii() and "_" not in data else None
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            message = f"{self.field_name} is {data[:40]}; an integer between {low} and {high} expected"
            raise ValidationError(message)
        return value


@extend_schema_field(OpenApiTypes.STR)
class FieldsField(serializers.CharField):
    """A comma-separated list of names: `observation.joint_positions,action`."""

    def __init__(self, **options):
        most = MAX_FIELDS * (MAX_FIELD_LENGTH + 1)
        super().__init__(required=False, max_length=most, help_text=FIELDS_HELP, **options)

    def to_internal_value(self, data):
        names = [name for name in super().to_internal_value(data).split(",") if name]
        if len(names) > MAX_FIELDS:
            raise ValidationError(f"{self.field_name} has {len(names)} names; at most {MAX_FIELDS} expected")
        return tuple(names)


@extend_schema_field(MOMENT)
class MomentField(serializers.DateTimeField):
    """A time in ISO 8601 (UTC without an offset) or unix seconds; clamped to the range that a frame can have."""

    def to_internal_value(self, data):
        try:
            seconds = float(data)
        except ValueError:
            seconds = self._parse(data).timestamp()
        if isnan(seconds):
            raise ValidationError(f"{self.field_name} is {data[:40]}; {MOMENT_EXPECTED}")
        return datetime.fromtimestamp(min(max(seconds, MIN_TIMESTAMP), MAX_TIMESTAMP), UTC)

    def _parse(self, data: str) -> datetime:
        try:
            return super().to_internal_value(data)
        except (ValidationError, OverflowError):
            raise ValidationError(f"{self.field_name} is {data[:40]}; {MOMENT_EXPECTED}") from None


class Parameters(StrictFields, serializers.Serializer):
    """Parameters that refuse unknown names; DRF would silently ignore a misspelt parameter."""


class SpanParameters(Parameters):
    start = WholeField(0, MAX_FRAME_INDEX, default=0, help_text="First frame_index.")
    stop = WholeField(1, MAX_FRAME_INDEX + 1, default=MAX_FRAME_INDEX + 1, help_text="Last frame_index, not included.")
    fields = FieldsField()

    def validate(self, attrs):
        start, stop = attrs["start"], attrs["stop"]
        if start >= stop and "after" not in attrs:
            raise ValidationError({"stop": [f"stop is {stop}; more than start ({start}) expected"]})
        return {"fields": ()} | attrs


class FramesParameters(SpanParameters):
    """Parameters of a session's frames; `context["format"]` is the negotiated format."""

    stride = WholeField(
        1,
        MAX_STRIDE,
        default=1,
        help_text="n: only the first frame at or after each of start, start + n, start + 2n, ...",
    )
    limit = WholeField(1, MAX_FRAMES, default=DEFAULT_FRAMES, help_text="Maximum number of frames in a page.")
    after = WholeField(-1, MAX_FRAME_INDEX, help_text="Follow a session: only frames after this frame_index (-1: all).")
    wait = WholeField(0, MAX_WAIT_S, default=0, help_text="With `after`: seconds to wait for a frame.")
    format = serializers.ChoiceField(
        FORMATS, required=False, help_text="Replaces the Accept header: pages (json), or the whole range as one stream."
    )

    def validate(self, attrs):
        if "after" in attrs:
            self._refuse(("start", "stop", "stride"), "not allowed with after")
            attrs["start"] = attrs["after"] + 1
        else:
            self._refuse(("wait",), "allowed only with after")
        if self.context["format"] != "json":
            self._refuse(("limit", "after", "wait"), "allowed only with format=json")
        return super().validate(attrs)

    def _refuse(self, names: tuple[str, ...], why: str) -> None:
        given = {name: self.initial_data[name] for name in names if name in self.initial_data}
        if given:
            raise ValidationError({name: [f"{name} is {value[:40]}; {why}"] for name, value in given.items()})


class RobotFramesParameters(Parameters):
    """Parameters of a robot's frames. `get_fields` adds `from`, which is a reserved word in Python."""

    limit = WholeField(1, MAX_FRAMES, default=DEFAULT_FRAMES, help_text="Maximum number of frames in a page.")
    cursor = serializers.RegexField(
        r"\A[0-9]{1,10}\.[0-9]{1,10}\Z",
        required=False,
        error_messages={"invalid": "cursor is invalid; the cursor in a page's `next` expected"},
        help_text="Position of the page, from `next` of the page before.",
    )

    def get_fields(self):
        return super().get_fields() | {
            "from": MomentField(required=False, help_text="Frames at or after this time."),
            "to": MomentField(required=False, help_text="Frames before this time. It must be later than `from`."),
        }

    def validate(self, attrs):
        check_range(attrs)
        return attrs


class SeriesParameters(SpanParameters):
    points = WholeField(
        MIN_POINTS, MAX_POINTS, default=DEFAULT_POINTS, help_text="Maximum number of points per column."
    )
