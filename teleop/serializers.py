from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from robots.serializers import (
    LastErrorSerializer,
    StrictBooleanField,
    StrictCharField,
    StrictFields,
    check_meta,
)
from teleop.frames.data import joints_of
from teleop.models import MARKS, STAFF_LABELS, TeleopSession

MAX_TAGS = 50


class QualitySerializer(serializers.Serializer):
    """As teleop/quality.py defines it; null is what too few frames do not tell."""

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


class SessionSerializer(serializers.ModelSerializer):
    """A session as the lists show it."""

    live = serializers.BooleanField(source="is_live", read_only=True, help_text="It is being recorded now.")
    duration_s = serializers.FloatField(
        read_only=True, allow_null=True, help_text="From its first frame to its last; null while it is live."
    )
    quality = QualitySerializer(
        read_only=True, allow_null=True, help_text="Computed some seconds after it has ended; null until then."
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
            "fps",
            "frame_count",
            "meta_info",
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
    """A session by itself: also what is read from its frames and videos."""

    effective_fps = serializers.FloatField(
        read_only=True, allow_null=True, help_text="Frames a second that are stored, by their own timestamps."
    )
    missing_frames = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="Between its first frame_index and its last; null while it is live."
    )
    joints = JointsSerializer(read_only=True, help_text="As its first frame names them, in the order of the vector.")
    cameras = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta(SessionSerializer.Meta):
        fields = [
            *SessionSerializer.Meta.fields,
            "effective_fps",
            "missing_frames",
            "joints",
            "cameras",
            "staff_labels",
        ]
        read_only_fields = fields
        extra_kwargs = {"staff_labels": {"help_text": f"Those of {', '.join(STAFF_LABELS)} that people have set."}}


class MetaChangesSerializer(serializers.Serializer):
    """The labels have types; any other key is the client's own."""

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
    meta_info = MetaChangesSerializer(
        required=False, help_text="Merged into what there is, key by key; null removes a key."
    )
    seen = serializers.DictField(
        required=False,
        help_text="Keys of meta_info as you last saw them (null: not there). If one is different by now, nothing is "
        "changed and the answer is 409: of two who label at once none overwrites what they have not seen.",
    )

    def update(self, session, validated_data):
        session.check_meta_is(validated_data.get("seen", {}))
        if "meta_info" in validated_data:
            session.merge_meta(validated_data["meta_info"], validated_data["by_staff"])
            check_meta(session.meta_info)
            session.save_meta()
        return session


class PulseSerializer(serializers.Serializer):
    """The session that is being recorded."""

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
    """Of the process that answers; each worker has its own."""

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
    requests = serializers.CharField(help_text="Whether requests get a connection to the database: `ok`, or what is wrong.")
    channel_layer = serializers.CharField(help_text="`ok`, or what is wrong.")
    sessions = serializers.CharField(
        help_text="Of the process that answers: the start, end and heartbeat of sessions; `ok`, or what is wrong."
    )
    writer = WriterSerializer()


class LiveSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["ok"])
