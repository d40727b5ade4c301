from collections.abc import Sequence

from django.db import transaction
from django.db.models import BooleanField, Case, F, Func, IntegerField, JSONField, QuerySet, When
from django.db.models.lookups import GreaterThan, LessThanOrEqual
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from robots import audit
from robots.api.fields import (
    BoundedListField,
    SharedFields,
    StrictBooleanField,
    StrictCharField,
    StrictFields,
    check_meta,
)
from robots.api.serializers import LastErrorSerializer
from teleop.background.process import work_is_due
from teleop.frames.data import joints_of
from teleop.frames.serializers import ClockStepSerializer
from teleop.models import MARKS, STAFF_LABELS, TaskRange, TeleopSession
from teleop.protocol import MAX_EVENTS
from teleop.quality.ranges import NUMBERS, judge
from teleop.querysets import read_films

MAX_TAGS, MAX_TAG, MAX_OPERATOR = 50, 100, 150
LABEL_FIELDS = ("meta_info", "staff_labels")
MAX_LISTED_META = 4096  # bytes; with up to 64 KiB each, a page of a thousand sessions was 59 MB and took 400 MB


class StoredBytes(Func):
    """The length of a JSON column as text. PostgreSQL knows the stored size without reading the value."""

    output_field = IntegerField()
    template = (
        f"CASE WHEN pg_column_size(%(expressions)s) > {MAX_LISTED_META} THEN {MAX_LISTED_META + 1} "
        "ELSE octet_length(%(expressions)s::text) END"
    )

    def as_sqlite(self, compiler, connection, **extra):
        return self.as_sql(compiler, connection, template="length(CAST(%(expressions)s AS BLOB))", **extra)


def as_listed(sessions: QuerySet) -> QuerySet:
    """Leave large meta_info in the database: then `listed_meta_info` is null and `meta_info_left_out` is true."""
    size = StoredBytes("meta_info")
    short = When(LessThanOrEqual(size, MAX_LISTED_META), then=F("meta_info"))
    return sessions.defer("meta_info", "label_success", "label_operator", "label_tags").annotate(
        listed_meta_info=Case(short, output_field=JSONField()),
        meta_info_left_out=Case(
            When(GreaterThan(size, MAX_LISTED_META), then=True), default=False, output_field=BooleanField()
        ),
    )


def read_related(sessions: Sequence[TeleopSession]) -> Sequence[TeleopSession]:
    """Read what a review shows of these sessions from other tables: a query a table, not one a session."""
    read_films(sessions)
    TaskRange.objects.read_for(sessions)
    return sessions


class ServoHealthSerializer(serializers.Serializer):
    """Values of one kind that the motors reported, in degrees C, %, V or A."""

    frames_over = serializers.IntegerField(help_text="Frames in which a motor's value was outside its limits.")
    min = serializers.FloatField(help_text="The least value of all motors.")
    max = serializers.FloatField(help_text="The greatest value of all motors.")


class QualitySerializer(serializers.Serializer):
    """Quality scores of a session. A number is null if there are too few frames to compute it."""

    idle_share = serializers.FloatField(allow_null=True, help_text="Share of the time in which no joint moves, 0 to 1.")
    jerk = serializers.FloatField(
        allow_null=True, help_text="Root mean square of the joints' third derivative, in the robot's units/s^3."
    )
    fps_jitter = serializers.FloatField(
        allow_null=True, help_text="Standard deviation of the frame interval, as a share of 1/fps."
    )
    missing_frames = serializers.IntegerField(help_text="Frames missing between the first and the last frame_index.")
    duration_s = serializers.FloatField(allow_null=True)
    duration_ratio = serializers.FloatField(
        allow_null=True,
        help_text="Ratio of the duration to the median of the task's other sessions when it was computed; null if "
        "there were fewer than three others.",
    )
    clock_steps = ClockStepSerializer(
        many=True,
        default=[],  # a quality that was computed before it had this field
        help_text="Steps of the robot's clock, the first 20. The other scores leave them out.",
    )
    servo_health = serializers.DictField(
        child=ServoHealthSerializer(),
        required=False,
        help_text="By kind (`temperature`, `load`, `voltage`, `current`, `error`); absent if the motors reported none.",
    )
    limits_ignored = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Why `limits` in a meta_info are ignored; absent if none is.",
    )
    camera_faults = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()),
        required=False,
        help_text="By camera, how often the robot reported each fault (`stopped`, `frozen`, `resized`, `slow`); absent "
        "if it reported none.",
    )
    error = serializers.CharField(
        required=False,
        help_text="Why the scores could not be computed from the frames; absent if they were computed.",
    )

    def to_representation(self, stored):
        """Return the stored values, which have these names and types: DRF takes 25 us a session to convert each."""
        return {name: stored.get(name, []) for name in self.fields if name in stored or name == "clock_steps"}


def _nullable(*words: str) -> dict:
    return {"type": "string", "nullable": True, "enum": [*words, None]}


@extend_schema_field(
    {
        "type": "object",
        "description": "Each number of the quality compared with the usual range of the session's task; null if the "
        "session has no such number, or fewer than eight sessions of the task have it. `overall` is unusual if one of "
        "the numbers is low or high, and null if all are null.",
        "properties": dict.fromkeys(NUMBERS, _nullable("low", "usual", "high"))
        | {"overall": _nullable("usual", "unusual")},
        "required": [*NUMBERS, "overall"],
    }
)
class JudgementField(serializers.Field):
    def to_representation(self, judgement):
        return judgement  # the dictionary of judge(), as it is


@extend_schema_field(serializers.ListField(child=serializers.IntegerField(min_value=0, max_value=255), max_length=64))
class SparklineField(serializers.Field):
    def to_representation(self, stored):
        return list(stored)


class SessionSerializer(SharedFields):
    """A session in a list."""

    live = serializers.BooleanField(
        source="is_live", read_only=True, help_text="True while the session is being recorded."
    )
    duration_s = serializers.FloatField(
        read_only=True,
        allow_null=True,
        help_text="Time from the first frame to the last one, without clock_steps; null while the session is live.",
    )
    clock_steps = serializers.SerializerMethodField(
        help_text="Steps of the robot's clock, the first 20; up to 3 s late while the session is live."
    )
    quality = QualitySerializer(
        read_only=True, allow_null=True, help_text="Computed some seconds after the session ended; null until then."
    )
    trashed_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When it was moved to the trash; null if it is not in the trash."
    )
    meta_info = serializers.JSONField(
        source="listed_meta_info",
        read_only=True,
        allow_null=True,
        help_text=f"Null if larger than {MAX_LISTED_META} bytes as text; `GET /sessions/{{id}}` returns all of it.",
    )
    meta_info_left_out = serializers.BooleanField(
        read_only=True, help_text="True if meta_info was too large for the list."
    )

    class Meta:
        model = TeleopSession
        fields = [
            "id",
            "robot",
            "key",
            "live",
            "start_time",
            "end_time",
            "duration_s",
            "clock_steps",
            "fps",
            "frame_count",
            "meta_info",
            "meta_info_left_out",
            "quality",
            "trashed_at",
            "updated_at",
        ]
        read_only_fields = fields

    @extend_schema_field(ClockStepSerializer(many=True))
    def get_clock_steps(self, session):
        return session.clock_steps or []


class ReviewedSessionSerializer(SessionSerializer):
    """A session in a list for people: `read_related` reads what it shows from other tables."""

    judgement = JudgementField(read_only=True)
    sparkline = SparklineField(
        read_only=True,
        allow_null=True,
        help_text="How fast the joints move, from the begin of the session to its end, as shares of the fastest part "
        "(255). Computed with the quality; null until then.",
    )
    cameras = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="The cameras with videos of the session."
    )
    poster = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="Path of a picture of the first camera, `/videos/{id}/poster`; null until there is one.",
    )

    class Meta(SessionSerializer.Meta):
        fields = [*SessionSerializer.Meta.fields, "judgement", "sparkline", "cameras", "poster"]
        read_only_fields = fields


class JointsSerializer(serializers.Serializer):
    observation = serializers.ListField(child=serializers.CharField())
    action = serializers.ListField(child=serializers.CharField())

    def get_attribute(self, instance):
        """Read the joints from the first frame of the session."""
        return joints_of(instance)


class SessionDetailSerializer(ReviewedSessionSerializer):
    """A session with the values that are read from its frames and videos."""

    effective_fps = serializers.FloatField(
        read_only=True, allow_null=True, help_text="Stored frames per second, by the frames' timestamps."
    )
    missing_frames = serializers.IntegerField(
        read_only=True,
        allow_null=True,
        help_text="Frames missing between the first and the last frame_index, without skipped_frames; null while live.",
    )
    skipped_frames = serializers.IntegerField(
        read_only=True, help_text="Indexes that the robot's program left unused when it restarted."
    )
    events_dropped = serializers.IntegerField(
        read_only=True, help_text=f"Events of the robot that were not stored, as the session had {MAX_EVENTS}."
    )
    joints = JointsSerializer(
        read_only=True, help_text="Names of the joints in the first frame, in the order of the vector."
    )
    usual_ranges = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        read_only=True,
        help_text="Usual range of each number of the quality in sessions of this task, `[low, high]`; {} if it has too "
        "few sessions.",
    )
    meta_info = serializers.JSONField(read_only=True, allow_null=True)
    meta_info_left_out = None

    class Meta(ReviewedSessionSerializer.Meta):
        fields = [
            *(name for name in ReviewedSessionSerializer.Meta.fields if name != "meta_info_left_out"),
            "effective_fps",
            "missing_frames",
            "skipped_frames",
            "events_dropped",
            "joints",
            "usual_ranges",
            "staff_labels",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "staff_labels": {"help_text": f"Names of the labels ({', '.join(STAFF_LABELS)}) that people have set."}
        }


class OwnSessionSerializer(SessionDetailSerializer):
    """A session as its robot may see it: without the labels and marks that people added, and without quality."""

    def to_representation(self, session):
        shown = super().to_representation(session)
        hidden = {"staff_labels": [], "quality": None, "judgement": judge(None, {}), "usual_ranges": {}}
        return shown | {"meta_info": session.meta_of_robot} | hidden


class LabelField(StrictCharField):
    """A label as text, not empty; its errors name the label, the value and the bound."""

    def run_validation(self, data=serializers.empty):
        is_given = data is not None and data is not serializers.empty
        if is_given and not (isinstance(data, str) and 0 < len(data) <= self.max_length):
            length = f" ({len(data):,} characters)" if isinstance(data, str) else ""
            name, bound = self.field_name or self.parent.field_name, f"1 to {self.max_length:,} characters"
            raise ValidationError(f"{name} is {data!r:.40}{length}; a text of {bound} expected")
        return super().run_validation(data)


class MetaChangesSerializer(serializers.Serializer):
    """Changes of meta_info. The labels listed here have types; any other key accepts any JSON value."""

    task = LabelField(max_length=500, required=False, allow_null=True)
    success = StrictBooleanField(required=False, allow_null=True)
    tags = BoundedListField(child=LabelField(max_length=MAX_TAG), max_length=MAX_TAGS, required=False, allow_null=True)
    operator = LabelField(
        max_length=MAX_OPERATOR, required=False, allow_null=True, help_text="The person who operated the robot."
    )
    note = LabelField(max_length=10_000, required=False, allow_null=True)

    def to_internal_value(self, data):
        if isinstance(data, dict) and MARKS in data:
            raise ValidationError({MARKS: [f"{MARKS} cannot be changed here; use POST /sessions/{{id}}/marks"]})
        return data | super().to_internal_value(data)


class SessionChangeSerializer(StrictFields, serializers.Serializer):
    """A change of a session's meta_info."""

    meta_info = MetaChangesSerializer(
        required=False, help_text="Merged into the stored meta_info, key by key; null removes a key."
    )
    seen = serializers.DictField(
        required=False,
        help_text="Values of meta_info that you have last seen, by key (null: no such key). If a stored value differs, "
        "the response is 409 and nothing is changed, so that nobody overwrites a label without having seen it.",
    )

    def update(self, session, validated_data):
        actor, seen = validated_data["actor"], validated_data.get("seen", {})
        if actor.type == audit.ActorType.ROBOT:  # a robot could find out by guessing which labels people have set
            seen = {name: value for name, value in seen.items() if name not in session.peoples_meta}
        session.check_meta_is(seen)
        if "meta_info" in validated_data:
            task_before = session.label_task
            before = audit.values_of(session, LABEL_FIELDS)
            session.merge_meta(validated_data["meta_info"], by_staff=actor.type != audit.ActorType.ROBOT)
            check_meta(session.meta_info)
            session.save_meta()
            if session.label_task != task_before:
                TaskRange.objects.note_changes([task_before, session.label_task])
                transaction.on_commit(work_is_due)
            if changes := audit.difference(before, audit.values_of(session, LABEL_FIELDS)):
                audit.record(actor, audit.Action.CHANGED, [session], changes)
        return session


class PulseSerializer(serializers.Serializer):
    """Current state of the live session."""

    id = serializers.IntegerField()
    key = serializers.CharField()
    start_time = serializers.DateTimeField()
    frame_count = serializers.IntegerField(help_text="Number of frames at the last heartbeat, every 3 s.")
    rate_hz = serializers.FloatField(allow_null=True, help_text="Rate of the newest 300 frames, by their timestamps.")
    lag_s = serializers.FloatField(
        allow_null=True, help_text="Age of the newest stored frame; 0 if its timestamp is in the future."
    )


class RobotStatusSerializer(serializers.Serializer):
    status = serializers.CharField()
    last_heartbeat = serializers.DateTimeField(allow_null=True)
    clock_skew_s = serializers.FloatField(
        allow_null=True,
        help_text="The newest frame's timestamp minus the database's clock; null without a live session. A positive "
        "value means that the robot's clock is ahead. A negative value larger than the network delay means that its "
        "clock is behind, or that its frames arrive late.",
    )
    last_error = LastErrorSerializer(allow_null=True)
    live_session = PulseSerializer(allow_null=True)
    last_sessions = SessionSerializer(many=True, help_text="The last ten sessions, newest first.")


class WriterSerializer(serializers.Serializer):
    """State of the writer in the process that answers the request. Each worker has its own writer."""

    status = serializers.CharField()
    pending_frames = serializers.IntegerField(help_text="Frames received and not committed yet.")
    last_commit_s = serializers.FloatField(
        allow_null=True, help_text="Seconds since the writer last stored or refused a frame; null if it has not yet."
    )


class HealthSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["ok", "unavailable"])
    detail = serializers.CharField(allow_blank=True, help_text="The parts that do not work, each with its problem.")
    version = serializers.CharField()
    database = serializers.CharField(help_text="`ok`, or the problem.")
    requests = serializers.CharField(help_text="Whether requests get a database connection: `ok`, or the problem.")
    channel_layer = serializers.CharField(help_text="`ok`, or the problem.")
    sessions = serializers.CharField(
        help_text="Whether this process can write the start, end and heartbeat of sessions: `ok`, or the problem."
    )
    disk = serializers.CharField(
        help_text="`ok`, or why uploads, posters, proxies and exports are stopped; frames are stored nevertheless."
    )
    writer = WriterSerializer()


class LiveSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["ok"])
