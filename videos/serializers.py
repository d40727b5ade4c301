import os
from math import isfinite

from django.conf import settings
from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError

from robots.api.exceptions import Conflict, TooLarge
from robots.api.fields import StrictCharField, StrictFields
from robots.models import ROBOT_ID, Robot
from robots.querysets import RobotDisabled
from teleop.frames.parameters import WholeField
from teleop.models import DeletedSession, TeleopSession
from teleop.protocol import MAX_TIMESTAMP, MIN_TIMESTAMP, SESSION_KEY
from videos.models import CAMERA_KEY, MAX_CAMERA_KEY, Timing, VideoChunk
from videos.probe import Facts, NoVideo, ProbesBusy, probe

MAX_ID = 2**31 - 1
CAMERA_EXPECTED = "camera_key is %(value).40s; letters, digits, _ and -, separated by single dots, expected"
KEY_EXPECTED = f"session_key is %(value).70s; {SESSION_KEY.pattern} expected"
ROBOT_EXPECTED = f"robot is %(value).70s; {ROBOT_ID.pattern} expected"
TOLERANCE_S, TOLERANCE = 1.0, 0.05  # a camera's frame rate is less accurate than a clock


class UploadsBusy(APIException):
    status_code = 503
    default_code = "uploads_busy"
    wait = 10  # Retry-After


class SessionUnknown(Conflict):
    """The robot has no session with this key yet: its frames may come later."""

    def __init__(self, robot_id: str, key: str):
        detail = f"robot {robot_id} has no session {key} yet; try again later"
        super().__init__({"detail": detail, "code": "session_unknown"})


class SessionDeleted(APIException):
    status_code = 410

    def __init__(self, robot_id: str, key: str):
        super().__init__({"detail": f"session {key} of robot {robot_id} was deleted", "code": "session_deleted"})


class SessionProblem(serializers.Serializer):
    detail = serializers.CharField()
    code = serializers.ChoiceField(
        ["session_unknown", "session_deleted"], required=False, help_text="Only of an upload with session_key."
    )


class FileLinkField(serializers.HyperlinkedIdentityField):
    """Field of the URL of a file beside the film, or null while there is none; `size` names the column of its size."""

    def __init__(self, size: str, **options):
        self.size = size
        super().__init__(allow_null=True, **options)

    def get_url(self, chunk, view_name, request, format):
        return super().get_url(chunk, view_name, request, format) if getattr(chunk, self.size) else None


class VideoSerializer(serializers.ModelSerializer):
    timing = serializers.ChoiceField(
        Timing.choices,
        allow_blank=True,
        read_only=True,
        help_text="As uploaded: which times are right if the video is not as long as its interval.",
    )
    content = serializers.HyperlinkedIdentityField(view_name="video-content", help_text="URL of the uploaded file.")
    poster = FileLinkField("poster_size", view_name="video-poster", help_text="URL of the first picture as JPEG.")
    proxy = FileLinkField(
        "proxy_size",
        view_name="video-proxy",
        help_text="URL of a small H.264 version, if browsers do not play the file. Its first picture is at 0 s.",
    )

    class Meta:
        model = VideoChunk
        fields = [
            "id",
            "session",
            "robot",
            "camera_key",
            "start_timestamp",
            "end_timestamp",
            "timing",
            "first_picture_s",
            "duration_s",
            "stretch",
            "has_audio",
            "media_type",
            "codec",
            "pixel_format",
            "width",
            "height",
            "rate",
            "playable",
            "preview",
            "size",
            "sha256",
            "content",
            "poster",
            "proxy",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "first_picture_s": {"help_text": "Media time of the first picture, in seconds; null: not probed yet."},
            "duration_s": {"help_text": "From the first picture to the end of the last one; null: not probed yet."},
            "stretch": {
                "help_text": "Seconds of the session that a second of the video takes. The media time of a time t is "
                "first_picture_s + (t - start_timestamp) / stretch."
            },
            "media_type": {"help_text": "Media type of the uploaded file."},
            "codec": {"help_text": "Video codec, as FFmpeg names it; empty: not probed yet."},
            "pixel_format": {"help_text": "Pixel format, as FFmpeg names it; empty: not probed yet."},
            "rate": {"help_text": "Pictures per second, on average."},
            "playable": {"help_text": "Whether all present browsers play the file; null: not probed yet."},
            "preview": {"help_text": "The file for browsers; pending: its proxy is not made yet."},
        }


class UploadedVideoSerializer(VideoSerializer):
    """The answer to an upload."""

    warning = serializers.CharField(
        required=False, help_text="Only if browsers do not play the file: the reason, and the command that converts it."
    )

    class Meta(VideoSerializer.Meta):
        fields = read_only_fields = [*VideoSerializer.Meta.fields, "warning"]

    def to_representation(self, chunk):
        shown = super().to_representation(chunk)
        if not shown["warning"]:
            del shown["warning"]
        return shown


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


def session_with_key(robot_id: str, key: str) -> TeleopSession:
    """Return the robot's session with this key; raises SessionDeleted or SessionUnknown."""
    session = TeleopSession.objects.filter(robot_id=robot_id, key=key).first()
    if session:
        return session
    if DeletedSession.objects.filter(robot_id=robot_id, key=key).exists():
        raise SessionDeleted(robot_id, key)
    raise SessionUnknown(robot_id, key)


def check_enabled(robot_id: str) -> None:
    """Raise PermissionDenied if the robot is disabled now; a long upload may have begun before."""
    if Robot.objects.filter(pk=robot_id, disabled=True).exists():
        refusal = RobotDisabled(robot_id)
        raise PermissionDenied({"detail": refusal.detail, "code": refusal.code})


class UploadSerializer(StrictFields, serializers.Serializer):
    """A chunk of one camera's video. `is_person` of the context: a person may upload for a disabled robot."""

    session = WholeField(1, MAX_ID, help_text="The session's id. It or session_key is required.")
    session_key = StrictCharField(
        required=False,
        validators=[RegexValidator(rf"\A{SESSION_KEY.pattern}\Z", KEY_EXPECTED)],
        help_text="The session's key, in place of session: a robot chooses it before it reaches the server.",
    )
    robot = StrictCharField(
        required=False,
        validators=[RegexValidator(rf"\A{ROBOT_ID.pattern}\Z", ROBOT_EXPECTED)],
        help_text="The id of the robot of session_key. A robot that uploads need not send it.",
    )
    camera_key = StrictCharField(
        max_length=MAX_CAMERA_KEY,
        validators=[RegexValidator(rf"\A{CAMERA_KEY}\Z", CAMERA_EXPECTED)],
        help_text="Name of the camera as in LeRobot: `observation.images.front`.",
    )
    start_timestamp = TimestampField(
        help_text="Time of the first video frame in unix seconds, on the clock of the session's frames."
    )
    end_timestamp = TimestampField(help_text="Time of the end of the video. It must be later than start_timestamp.")
    timing = serializers.ChoiceField(
        Timing.choices,
        required=False,
        help_text="If the video is not as long as its interval: `nominal` stretches its pictures over the interval, "
        "`exact` keeps its times. Without it, evenly spaced pictures are stretched.",
    )
    file = serializers.FileField(
        help_text="An mp4, mov, webm, mkv, avi or ts file of this duration, at most VIDEO_MAX_BYTES large."
    )

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
        key, robot_id = attrs.pop("session_key", None), attrs.pop("robot", None)
        if (key is None) == ("session" not in attrs):
            raise ValidationError({"session": ["session or session_key is required, and only one of them"]})
        if key is None and robot_id is not None:
            raise ValidationError({"robot": [f"robot is {robot_id}; session_key, in place of session, expected"]})
        owner = attrs["session"].robot_id if key is None else self._robot_of_key(robot_id)
        if not self.context["is_person"]:
            check_enabled(owner)
        if key is not None:
            attrs["session"] = session_with_key(owner, key)
        return attrs

    def _robot_of_key(self, robot_id: str | None) -> str:
        """Return the id of the robot whose session key was sent; a robot may name only itself."""
        robot = self.context.get("robot")
        if robot and robot_id not in (None, robot.pk):
            raise ValidationError({"robot": [f"robot is {robot_id}; {robot.pk}, whose key was sent, expected"]})
        if not robot and robot_id is None:
            raise ValidationError({"robot": ["robot is required with session_key"]})
        return robot.pk if robot else robot_id

    def deleted(self) -> APIException:
        """Return the error for a session that was deleted while its video was uploaded."""
        session = self.validated_data["session"]
        if "session_key" in self.initial_data:
            return SessionDeleted(session.robot_id, session.key)
        return ValidationError({"session": [no_such_session(session.pk)]})

    def chunk(self) -> VideoChunk:
        """Return the chunk with what the client sent, without the file."""
        return VideoChunk(**{name: value for name, value in self.validated_data.items() if name != "file"})

    def examine(self, chunk: VideoChunk) -> None:
        """Complete the chunk from the file; raises ValidationError.

        The view calls this last, after refusals for lack of permission, as it reads the whole file.
        """
        file = self.validated_data["file"]
        before = os.stat(file.temporary_file_path())
        chunk.describe(self._facts())
        chunk.measure(file)
        after = os.stat(file.temporary_file_path())
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, chunk.size):
            raise ValidationError({"file": ["file changed while it was checked; send it again"]})

    def _facts(self) -> Facts:
        data = self.validated_data
        stated = data["end_timestamp"] - data["start_timestamp"]
        try:
            facts = probe(data["file"].temporary_file_path())
        except NoVideo as error:
            raise ValidationError({"file": [f"file is not a usable video: {error}"]}) from None
        except ProbesBusy as error:
            from teleop.monitoring.counters import (
                REQUESTS_REFUSED,  # here, as `serve` has to set prometheus-client's folder first
            )

            REQUESTS_REFUSED.labels("uploads_busy").inc()
            raise UploadsBusy(f"{error}; try again later") from None
        if abs(facts.duration_s - stated) > (most := max(TOLERANCE_S, TOLERANCE * stated)):
            bound = f"{stated:.3f} s (end_timestamp - start_timestamp) expected, within {most:.3f} s"
            raise ValidationError({"file": [f"file is {facts.duration_s:.3f} s of video; {bound}"]})
        return facts
