from typing import Any

from drf_spectacular.drainage import set_override
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from datasets.models import NAME_PATTERN, Export
from datasets.options import (
    CODECS,
    FORMATS,
    MAX_FPS,
    MAX_GAP_S,
    MIN_GAP_S,
    ON_GAP,
    REFUSALS,
    SPLITS,
    TRIMS,
    OptionError,
    Options,
)
from datasets.querysets import STATES
from robots.api.fields import StrictCharField, StrictFields
from teleop.api.filters import MAX_ID

MAX_WHERE = 10_000
TEXTS = {"type": "array", "items": {"type": "string"}}
OPTIONS = {
    "format": {"enum": FORMATS, "default": "lerobot-v3.0"},
    "fps": {"type": "integer", "minimum": 1, "maximum": MAX_FPS, "nullable": True},
    "max_gap_s": {"type": "number", "minimum": MIN_GAP_S, "maximum": MAX_GAP_S, "default": 0.25},
    "on_gap": {"enum": ON_GAP, "default": "split"},
    "interpolate": TEXTS | {"default": []},
    "trim": {"type": "array", "items": {"enum": TRIMS, "type": "string"}, "default": ["marks"]},
    "cameras": TEXTS | {"nullable": True},
    "video_codec": {"enum": CODECS, "default": "h264"},
    "split_by": {"enum": SPLITS, "default": ""},
    "capture_times": {"type": "boolean", "default": False},
    "modality": {"type": "boolean", "default": False},
    "validation": {"type": "number", "minimum": 0, "maximum": 0.9, "default": 0},
    "refuse": {"type": "array", "items": {"enum": REFUSALS, "type": "string"}, "default": []},
}
HELP = {
    "fps": "Rows a second; null: that of the sessions. It may lower the rate.",
    "max_gap_s": "Longest time without a frame or a picture inside an episode, in seconds.",
    "on_gap": "split: a session with a longer gap becomes several episodes. refuse: the export fails.",
    "interpolate": "Joints whose values are interpolated, as patterns like `*.pos`; all others are held.",
    "trim": "marks: leave out what is before trim_start and after trim_end. idle: leave out idle ends.",
    "cameras": "Cameras to export; null: all; []: none.",
    "video_codec": "Codec of films that have to be encoded again.",
    "split_by": "robot: a dataset for each robot.",
    "capture_times": "Add the float64 feature observation.capture_time, in unix seconds.",
    "modality": "Add meta/modality.json; only with lerobot-v2.1.",
    "validation": "Share of the sessions that are for validation.",
    "refuse": "Findings that make the export fail in place of a warning in the report.",
}


class JSONValueField(serializers.JSONField):
    """A value that datasets/options.py or selection.py checks, as they do for a command; `schema` is OpenAPI."""

    def __init__(self, schema: dict[str, Any], **options):
        super().__init__(required=False, allow_null=schema.get("nullable", False), **options)
        set_override(self, "field", {"type": "string"} | schema if "enum" in schema else schema)


class NewExportSerializer(StrictFields, serializers.Serializer):
    """An export to make: its name, its sessions by filters or by their ids, and its options."""

    name = StrictCharField(
        required=False,
        max_length=100,
        validators=Export._meta.get_field("name").validators[:1],
        help_text=f"A name that no other export has, or that a failed one has, which is deleted: {NAME_PATTERN}. "
        "May be omitted with dry_run.",
    )
    where = JSONValueField(
        {"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]},
        help_text="Filters of `GET /sessions`, as in an address (`task=Fold the towel&success=true`) or as an object. "
        "An empty text selects every ended session.",
    )
    sessions = JSONValueField(
        {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": MAX_ID}, "minItems": 1},
        help_text="Ids of sessions, in place of `where`.",
    )
    dry_run = JSONValueField({"type": "boolean", "default": False}, help_text="Only estimate the export.")

    def get_fields(self):
        options = {name: JSONValueField(schema, help_text=HELP.get(name, "")) for name, schema in OPTIONS.items()}
        return super().get_fields() | options

    def validate_dry_run(self, value):
        if not isinstance(value, bool):
            raise ValidationError(f"dry_run is {value!r:.40}; true or false expected")
        return value

    def validate_where(self, value):
        if not isinstance(value, str | dict):
            raise ValidationError(f"where is {value!r:.40}; filters as a text or an object expected")
        if len(str(value)) > MAX_WHERE:
            raise ValidationError(f"where has {len(str(value))} characters; at most {MAX_WHERE} expected")
        return value

    def validate_sessions(self, value):
        if not isinstance(value, list):
            raise ValidationError(f"sessions is {value!r:.40}; a list of ids expected")
        return value

    def validate(self, attrs):
        if not attrs.get("dry_run") and "name" not in attrs:
            raise ValidationError({"name": ["name is required"]})
        if ("where" in attrs) == ("sessions" in attrs):
            raise ValidationError({"where": ["either where or sessions is required, and not both"]})
        try:
            attrs["options"] = Options.from_json({name: attrs[name] for name in OPTIONS if name in attrs})
        except OptionError as error:
            raise ValidationError({error.field: [str(error)]}) from None
        return attrs


class EstimateSerializer(serializers.Serializer):
    """The size of an export, from the rows of sessions and films; frames are not read for it."""

    sessions = serializers.IntegerField()
    episodes = serializers.IntegerField(help_text="At least so many: a session with gaps has several.")
    hours = serializers.FloatField(help_text="Time from the first frame to the last one, of all sessions together.")
    frames = serializers.IntegerField(help_text="Stored frames.")
    bytes = serializers.IntegerField(help_text="Space on the disk while it is made.")


class DryRunSerializer(EstimateSerializer):
    shortage = serializers.CharField(
        allow_null=True, help_text="Why the disk has too little space for it now; null if it has enough."
    )


class ExportSerializer(serializers.ModelSerializer):
    """An export, with its progress while it is made."""

    sessions = serializers.IntegerField(source="session_count", read_only=True, help_text="Number of sessions.")
    options = serializers.DictField(read_only=True, help_text="All options, also those that were not given.")
    estimate = EstimateSerializer(read_only=True, help_text="When the export was created.")
    state = serializers.ChoiceField(
        STATES,
        source="shown_state",
        read_only=True,
        help_text="pending: it waits for the background work; running: it is made and verified; done; failed.",
    )
    progress = serializers.FloatField(
        read_only=True, allow_null=True, help_text="0 to 1 while it is running; null if it is not known."
    )
    error = serializers.SerializerMethodField(
        help_text="Why it has failed or, while it is pending, why the last attempt did not make it."
    )
    content = serializers.SerializerMethodField(help_text="URL of the dataset as a tar; null until it is done.")
    report = serializers.SerializerMethodField(help_text="URL of the report; null until it is done.")

    class Meta:
        model = Export
        fields = [
            "id",
            "name",
            "format",
            "options",
            "where",
            "sessions",
            "estimate",
            "state",
            "progress",
            "error",
            "episodes",
            "seconds",
            "size_bytes",
            "created_by",
            "created_at",
            "finished_at",
            "expires_at",
            "content",
            "report",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "where": {"help_text": "The filters; empty if the sessions were listed, or if there were no filters."},
            "seconds": {"help_text": "Length of all episodes together."},
            "size_bytes": {"help_text": "Size of the files of the dataset."},
            "created_by": {"help_text": "Username."},
            "expires_at": {"help_text": "After this time `manage.py prune` deletes the export; null: never."},
        }

    def get_error(self, export) -> str:
        return export.error or export.problem

    def get_content(self, export) -> serializers.URLField(allow_null=True):
        return self._url(export, "content")

    def get_report(self, export) -> serializers.URLField(allow_null=True):
        return self._url(export, "report")

    def _url(self, export: Export, name: str) -> str | None:
        if export.state != Export.State.DONE:
            return None
        return self.context["view"].reverse_action(name, args=[export.pk])
