"""Serializers that describe the responses in the schema; a response writes frames as their stored text."""

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers


class FrameSerializer(serializers.Serializer):
    """A frame with all keys that its robot sent (docs/protocol.md)."""

    frame_index = serializers.IntegerField()
    timestamp = serializers.FloatField(help_text="Time of capture, in unix seconds.")
    observation = serializers.DictField(required=False)
    action = serializers.DictField(required=False)


class FramesPageSerializer(serializers.Serializer):
    results = FrameSerializer(many=True)
    next = serializers.URLField(
        allow_null=True,
        help_text="URL of the next page; null after the last one. With `after` null means that the session has ended.",
    )


class RobotFrameSerializer(FrameSerializer):
    session_id = serializers.IntegerField()


class RobotFramesPageSerializer(serializers.Serializer):
    results = RobotFrameSerializer(many=True)
    next = serializers.URLField(allow_null=True, help_text="URL of the next page; null after the last one.")


class ColumnSerializer(serializers.Serializer):
    name = serializers.CharField()
    timestamps = serializers.ListField(child=serializers.FloatField(), help_text="Times in unix seconds.")
    values = serializers.ListField(
        child=serializers.FloatField(allow_null=True),
        help_text="One value for each timestamp; null in the middle of a gap.",
    )


class ClockStepSerializer(serializers.Serializer):
    """A step of the robot's clock between two frames of a session."""

    frame_index = serializers.IntegerField(help_text="The first frame after the step.")
    before = serializers.FloatField(help_text="Timestamp of the frame before the step, in unix seconds.")
    timestamp = serializers.FloatField(help_text="Timestamp of the frame after the step, in unix seconds.")
    step_s = serializers.FloatField(help_text="Size of the step in seconds; negative if the clock stepped back.")


class SeriesSerializer(serializers.Serializer):
    stride = serializers.IntegerField(
        help_text="1: every frame was read. k: only every kth frame was read, as there are many."
    )
    anchors = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        help_text="Pairs of frame_index and timestamp over the whole range, with its first and last frame and those "
        "next to gaps. Interpolate linearly between two pairs.",
    )
    gaps = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        help_text="Begin and end of each time without frames that is longer than one frame; the 500 longest.",
    )
    series = ColumnSerializer(many=True)
    clock_steps = ClockStepSerializer(
        many=True,
        help_text="Steps of the robot's clock in the session. All timestamps above leave them out: they continue as if "
        "the clock had not stepped.",
    )


FRAME = {
    "frame_index": 0,
    "timestamp": 1703318400.123,
    "observation": {"shoulder_pan.pos": 1.5, "gripper.pos": 40.25},
    "action": {"shoulder_pan.pos": 1.6, "gripper.pos": 40.5},
}
FRAMES = OpenApiExample(
    "A page of frames",
    {"results": [FRAME], "next": "https://teleop.example/sessions/17/frames?start=1&limit=1"},
    response_only=True,
    media_type="application/json",
)
ROBOT_FRAMES = OpenApiExample(
    "A page of frames",
    {
        "results": [{"session_id": 17, **FRAME}],
        "next": "https://teleop.example/robots/robot_A/frames?from=1703318400&limit=1&cursor=17.0",
    },
    response_only=True,
)
SERIES = OpenApiExample(
    "A joint with a gap",
    {
        "stride": 1,
        "anchors": [[0, 1703318400.0], [1, 1703318400.5], [2, 1703318401.0], [7, 1703318403.5], [8, 1703318404.0]],
        "gaps": [[1703318401.0, 1703318403.5]],
        "series": [
            {
                "name": "observation.shoulder_pan.pos",
                "timestamps": [1703318400.0, 1703318400.5, 1703318401.0, 1703318402.25, 1703318403.5, 1703318404.0],
                "values": [1.5, 1.75, 2.0, None, 8.25, 8.0],
            }
        ],
        "clock_steps": [],
    },
    response_only=True,
)
