from django.db.models import BooleanField, Case, F, Func, IntegerField, JSONField, QuerySet, When
from django.db.models.lookups import GreaterThan, LessThanOrEqual
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from robots import audit
from robots.api.serializers import LastErrorSerializer, StrictBooleanField, StrictCharField, StrictFields, check_meta
from teleop.frames.data import joints_of
from teleop.models import MARKS, STAFF_LABELS, TeleopSession

MAX_TAGS = 50
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
    return sessions.defer("meta_info").annotate(
        listed_meta_info=Case(short, output_field=JSONField()),
        meta_info_left_out=Case(
            When(GreaterThan(size, MAX_LISTED_META), then=True), default=False, output_field=BooleanField()
        ),
    )


class QualitySerializer(serializers.Serializer):
    """Quality as teleop/quality/scores.py defines it; a number is null if there are too few frames to compute it."""

    idle_share = serializers.FloatField(allow_null=True, help_text="Share of the time in which no joint moves, 0 to 1.")
    jerk = serializers.FloatField(
        allow_null=True, help_text="Root mean square of the joints' third derivative, in the robot's units/s^3."
    )
    fps_jitter = serializers.FloatField(
        allow_null=True, help_text="Standard deviation of the time between two frames, as a share of what fps makes it."
    )
    missing_frames = serializers.IntegerField(help_text="Between its first frame_index and its last.")
    duration_s = serializers.FloatField(allow_null=True)
    duration_ratio = serializers.FloatField(
        allow_null=True, help_text="To the median of other sessions of its task, if there are three; as of then."
    )
    error = serializers.CharField(
        required=False,
        help_text="Only if its frames could not be looked through, as they are too many or too odd: why.",
    )


class SessionSerializer(serializers.ModelSerializer):
    """A session in a list, from the queryset of `as_listed`."""

    live = serializers.BooleanField(source="is_live", read_only=True, help_text="It is being recorded now.")
    duration_s = serializers.FloatField(
        read_only=True, allow_null=True, help_text="From its first frame to its last; null while it is live."
    )
    quality = QualitySerializer(
        read_only=True, allow_null=True, help_text="Computed some seconds after it has ended; null until then."
    )
    meta_info = serializers.JSONField(
        source="listed_meta_info",
        read_only=True,
        allow_null=True,
        help_text=f"Null if it has more than {MAX_LISTED_META} bytes as text; the session by itself has all of it.",
    )
    meta_info_left_out = serializers.BooleanField(read_only=True, help_text="meta_info is null as it is too large.")

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
            "fps",
            "frame_count",
            "meta_info",
            "meta_info_left_out",
            "quality",
            "updated_at",
        ]
        read_only_fields = fields


class JointsSerializer(serializers.Serializer):
    observation = serializers.ListField(child=serializers.CharField())
    action = serializers.ListField(child=serializers.CharField())

    def get_attribute(self, instance):
        """Read the joints from the first frame of the session."""
        return joints_of(instance)


class SessionDetailSerializer(SessionSerializer):
    """A single session, with the values that are read from its frames and videos."""

    effective_fps = serializers.FloatField(
        read_only=True, allow_null=True, help_text="Frames a second that are stored, by their own timestamps."
    )
    missing_frames = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="Between its first frame_index and its last; null while it is live."
    )
    joints = JointsSerializer(read_only=True, help_text="As its first frame names them, in the order of the vector.")
    cameras = serializers.ListField(child=serializers.CharField(), read_only=True)
    meta_info = serializers.JSONField(read_only=True, allow_null=True)
    meta_info_left_out = None

    class Meta(SessionSerializer.Meta):
        fields = [
            *(name for name in SessionSerializer.Meta.fields if name != "meta_info_left_out"),
            "effective_fps",
            "missing_frames",
            "joints",
            "cameras",
            "staff_labels",
        ]
        read_only_fields = fields
        extra_kwargs = {"staff_labels": {"help_text": f"Those of {', '.join(STAFF_LABELS)} that people have set."}}


class OwnSessionSerializer(SessionDetailSerializer):
    """A session as its robot may see it: without the labels and marks that people added, and without quality."""

    def to_representation(self, session):
        shown = super().to_representation(session)
        return shown | {"meta_info": session.meta_of_robot, "staff_labels": [], "quality": None}


class MetaChangesSerializer(serializers.Serializer):
    """Changes of meta_info. The labels have types; any other key belongs to the client."""

    task = StrictCharField(max_length=500, required=False, allow_null=True)
    success = StrictBooleanField(required=False, allow_null=True)
    tags = serializers.ListField(
        child=StrictCharField(max_length=100), max_length=MAX_TAGS, required=False, allow_null=True
    )
    note = StrictCharField(max_length=10_000, required=False, allow_null=True)

    def to_internal_value(self, data):
        if isinstance(data, dict) and MARKS in data:
            raise ValidationError({MARKS: [f"{MARKS} are not merged; POST /sessions/{{id}}/marks expected"]})
        return data | super().to_internal_value(data)


class SessionChangeSerializer(StrictFields, serializers.Serializer):
    """A change of a session. Call `save(actor=...)` in a transaction that has locked the session's row."""

    meta_info = MetaChangesSerializer(
        required=False, help_text="Merged into what there is, key by key; null removes a key."
    )
    seen = serializers.DictField(
        required=False,
        help_text="Keys of meta_info as you last saw them (null: not there). If one is different by now, nothing is "
        "changed and the answer is 409: of two who label at once none overwrites what they have not seen.",
    )

    def update(self, session, validated_data):
        actor, seen = validated_data["actor"], validated_data.get("seen", {})
        if actor.type == audit.ActorType.ROBOT:  # a robot could find out by guessing which labels people have set
            seen = {name: value for name, value in seen.items() if name not in session.peoples_meta}
        session.check_meta_is(seen)
        if "meta_info" in validated_data:
            before = audit.values_of(session, LABEL_FIELDS)
            session.merge_meta(validated_data["meta_info"], by_staff=actor.type != audit.ActorType.ROBOT)
            check_meta(session.meta_info)
            session.save_meta()
            if changes := audit.difference(before, audit.values_of(session, LABEL_FIELDS)):
                audit.record(actor, audit.Action.CHANGED, [session], changes)
        return session


class PulseSerializer(serializers.Serializer):
    """The current state of the session that is being recorded."""

    id = serializers.IntegerField()
    key = serializers.CharField()
    start_time = serializers.DateTimeField()
    frame_count = serializers.IntegerField(help_text="As of the last heartbeat, every 3 s.")
    rate_hz = serializers.FloatField(allow_null=True, help_text="Of its newest 300 frames, by their timestamps.")
    lag_s = serializers.FloatField(allow_null=True, help_text="How old its newest stored frame is; 0 if it is ahead.")


class RobotStatusSerializer(serializers.Serializer):
    status = serializers.CharField()
    last_heartbeat = serializers.DateTimeField(allow_null=True)
    clock_skew_s = serializers.FloatField(
        allow_null=True,
        help_text="The newest frame's timestamp less the database's clock; null without a live session. Positive: the "
        "robot's clock is ahead. Negative by more than the network takes: it is behind, or its frames come late.",
    )
    last_error = LastErrorSerializer(allow_null=True)
    live_session = PulseSerializer(allow_null=True)
    last_sessions = SessionSerializer(many=True, help_text="The last ten, newest first.")


class WriterSerializer(serializers.Serializer):
    """State of the writer in the process that answers; each worker has its own writer."""

    status = serializers.CharField()
    pending_frames = serializers.IntegerField(help_text="Received and not committed yet.")
    last_commit_s = serializers.FloatField(
        allow_null=True, help_text="How long ago it last stored or refused a frame; null: never."
    )


class HealthSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["ok", "unavailable"])
    detail = serializers.CharField(allow_blank=True, help_text="Each part that is down, and what is wrong with it.")
    version = serializers.CharField()
    database = serializers.CharField(help_text="`ok`, or what is wrong.")
    requests = serializers.CharField(help_text="Whether one gets a connection to the database: `ok`, or what is wrong.")
    channel_layer = serializers.CharField(help_text="`ok`, or what is wrong.")
    sessions = serializers.CharField(
        help_text="Of the process that answers: the start, end and heartbeat of sessions; `ok`, or what is wrong."
    )
    writer = WriterSerializer()


class LiveSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["ok"])
