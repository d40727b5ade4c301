"""Serializers that describe the responses in the schema; a response writes frames as their stored text."""

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers


class FrameSerializer(serializers.Serializer):
    """A frame as its robot sent it (docs/protocol.md), with all other keys that the robot sent."""

    frame_index = serializers.IntegerField()
    timestamp = serializers.FloatField(help_text="When it was captured, in unix seconds.")
    observation = serializers.DictField(required=False)
    action = serializers.DictField(required=False)


class FramesPageSerializer(serializers.Serializer):
    results = FrameSerializer(many=True)
    next = serializers.URLField(
        allow_null=True,
        help_text="The next page; null: that was all, and with `after` that the session has ended.",
    )


class RobotFrameSerializer(FrameSerializer):
    session_id = serializers.IntegerField()


class RobotFramesPageSerializer(serializers.Serializer):
    results = RobotFrameSerializer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The next page; null: that was all.")


class ColumnSerializer(serializers.Serializer):
    name = serializers.CharField()
    timestamps = serializers.ListField(child=serializers.FloatField(), help_text="Unix seconds.")
    values = serializers.ListField(
        child=serializers.FloatField(allow_null=True), help_text="One for each timestamp; null in the middle of a gap."
    )


class SeriesSerializer(serializers.Serializer):
    stride = serializers.IntegerField(help_text="1: every frame was looked at. k: every kth, as they were too many.")
    anchors = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        help_text="frame_index and timestamp of frames all over the range, its first and last and those beside gaps: "
        "what lies between two of them is found by a straight line.",
    )
    gaps = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        help_text="From when to when no frame is stored, for longer than one frame; the 500 longest.",
    )
    series = ColumnSerializer(many=True)


FRAME = {
    "frame_index": 0,
    "timestamp": 1703318400.123,
    "observation": {"shoulder_pan.pos": 1.5, "gripper.pos": 40.25},
    "action": {"shoulder_pan.pos": 1.6, "gripper.pos": 40.5},
}
FRAMES = OpenApiExample(
    "A page",
    {"results": [FRAME], "next": "https://teleop.example/sessions/17/frames?start=1&limit=1"},
    response_only=True,
    media_type="application/json",
)
ROBOT_FRAMES = OpenApiExample(
    "A page",
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
    },
    response_only=True,
)
