from math import isfinite

from django.conf import settings
from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError

from robots.api.exceptions import TooLarge
from robots.api.fields import StrictCharField, StrictFields
from teleop.frames.parameters import WholeField
from teleop.models import TeleopSession
from teleop.protocol import MAX_TIMESTAMP, MIN_TIMESTAMP
from videos.models import CAMERA_KEY, MAX_CAMERA_KEY, VideoChunk
from videos.probe import NoVideo, ProbesBusy, seconds_of_video

MAX_ID = 2**31 - 1
CAMERA_EXPECTED = "camera_key is %(value).40s; letters, digits, _ and -, separated by single dots, expected"
TOLERANCE_S, TOLERANCE = 1.0, 0.05  # a camera's frame rate is less accurate than a clock


class UploadsBusy(APIException):
    status_code = 503
    default_code = "uploads_busy"
    wait = 10  # Retry-After


class VideoSerializer(serializers.ModelSerializer):
    content = serializers.HyperlinkedIdentityField(view_name="video-content", help_text="URL of the video's content.")

    class Meta:
        model = VideoChunk
        fields = [
            "id",
            "session",
            "robot",
            "camera_key",
            "start_timestamp",
            "end_timestamp",
            "size",
            "sha256",
            "content",
        ]
        read_only_fields = fields


class TimestampField(serializers.FloatField):
    """Field of unix seconds as text."""

    def __init__(self, **options):
        super().__init__(min_value=MIN_TIMESTAMP, max_value=MAX_TIMESTAMP, **options)

    def to_internal_value(self, data):
        try:
            value = float(data) if len(data) <= 40 and "_" not in data else None
        except ValueError:
            value = None
        if value is None or not isfinite(value) or not MIN_TIMESTAMP <= value <= MAX_TIMESTAMP:
            bounds = "unix seconds between 2000 and 2100 expected"
            raise ValidationError(f"{self.field_name} is {data[:40]}; {bounds}")
        return value


def no_such_session(session_id: int) -> str:
    return f"session is {session_id}; there is no such session"


class UploadSerializer(StrictFields, serializers.Serializer):
    """A chunk of one camera's video."""

    session = WholeField(1, MAX_ID, required=True, help_text="The session's id.")
    camera_key = StrictCharField(
        max_length=MAX_CAMERA_KEY,
        validators=[RegexValidator(rf"\A{CAMERA_KEY}\Z", CAMERA_EXPECTED)],
        help_text="Name of the camera as in LeRobot: `observation.images.front`.",
    )
    start_timestamp = TimestampField(
        help_text="Time of the first video frame in unix seconds, on the clock of the session's frames."
    )
    end_timestamp = TimestampField(help_text="Time of the end of the video. It must be later than start_timestamp.")
    file = serializers.FileField(help_text="An mp4 file of this duration, at most VIDEO_MAX_BYTES large.")

    def to_internal_value(self, data):
        if twice := [name for name in data if len(data.getlist(name)) > 1]:
            raise ValidationError(
                {name: [f"{name} was sent {len(data.getlist(name))} times; once expected"] for name in twice}
            )
        texts = self.fields.keys() & data.keys() - {"file"}
        if files := [name for name in texts if not isinstance(data[name], str)]:
            raise ValidationError({name: [f"{name} is a file; text expected"] for name in files})
        return super().to_internal_value(data)

    def validate_session(self, value) -> TeleopSession:
        session = TeleopSession.objects.filter(pk=value).first()
        robot = self.context.get("robot")
        # A robot gets the same answer for another robot's session as for an unknown id, so that it cannot find out
        # which ids exist.
        if session is None or (robot and session.robot_id != robot.pk):
            raise ValidationError(no_such_session(value))
        return session

    def validate_file(self, value):
        if value.size > settings.VIDEO_MAX_BYTES:
            raise TooLarge(f"file is {value.size} bytes; at most {settings.VIDEO_MAX_BYTES} expected (VIDEO_MAX_BYTES)")
        return value

    def validate(self, attrs):
        start, end = attrs["start_timestamp"], attrs["end_timestamp"]
        if end <= start:
            raise ValidationError(
                {"end_timestamp": [f"end_timestamp is {end}; later than start_timestamp ({start}) expected"]}
            )
        return attrs

    def chunk(self) -> VideoChunk:
        names = ("session", "camera_key", "start_timestamp", "end_timestamp")
        return VideoChunk(**{name: self.validated_data[name] for name in names})

    def probe(self) -> None:
        """Check the video's length; called last, as it reads the whole file, after refusals for lack of permission."""
        data = self.validated_data
        stated = data["end_timestamp"] - data["start_timestamp"]
        try:
            found = seconds_of_video(data["file"].temporary_file_path())
        except NoVideo as error:
            raise ValidationError({"file": [f"file is not a usable video: {error}"]}) from None
        except ProbesBusy as error:
            from teleop.monitoring.counters import (
                REQUESTS_REFUSED,  # here, as `serve` has to set prometheus-client's folder first
            )

            REQUESTS_REFUSED.labels("uploads_busy").inc()
            raise UploadsBusy(f"{error}; try again later") from None
        if abs(found - stated) > (most := max(TOLERANCE_S, TOLERANCE * stated)):
            bound = f"{stated:.3f} s (end_timestamp - start_timestamp) expected, within {most:.3f} s"
            raise ValidationError({"file": [f"file is {found:.3f} s of video; {bound}"]})
