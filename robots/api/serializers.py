from django.db.models import CharField
from rest_framework import serializers
from rest_framework.authtoken.serializers import AuthTokenSerializer
from rest_framework.exceptions import ValidationError

from robots.api.exceptions import Conflict, WrongLogin
from robots.api.fields import SharedFields, StrictCharField, StrictFields, check_meta
from robots.models import Robot


class LastErrorSerializer(serializers.Serializer):
    code = serializers.CharField(source="last_error_code", help_text="Error code; docs/protocol.md lists the codes.")
    detail = serializers.CharField(source="last_error_detail")
    at = serializers.DateTimeField(source="last_error_at", allow_null=True)


class RobotSerializer(StrictFields, SharedFields, serializers.ModelSerializer):
    """A registered robot."""

    # No check that the id is free: two requests at once would both find it free. The insert detects a conflict.
    id = StrictCharField(max_length=64, validators=Robot._meta.get_field("id").validators)
    meta_info = serializers.DictField(required=False, allow_null=True, help_text="A JSON object of at most 64 KiB.")
    last_error = serializers.SerializerMethodField(
        help_text="The last error of a connection or a frame of this robot; null if there was none."
    )

    serializer_field_mapping = SharedFields.serializer_field_mapping | {CharField: StrictCharField}

    class Meta:
        model = Robot
        fields = [
            "id",
            "name",
            "robot_type",
            "status",
            "last_heartbeat",
            "ip_address",
            "meta_info",
            "disabled",
            "last_error",
            "created_at",
        ]
        read_only_fields = ["status", "last_heartbeat", "ip_address", "created_at"]

    def get_last_error(self, robot) -> LastErrorSerializer(allow_null=True):
        return LastErrorSerializer(robot).data if robot.last_error_code else None

    def validate(self, attrs):
        check_meta(attrs.get("meta_info") or {})
        return attrs

    def update(self, robot, validated_data):
        """Save only the given fields: saving all of them would restore an older key or heartbeat."""
        given = {name: value for name, value in validated_data.items() if name != "id"}  # a robot keeps its id
        for name, value in given.items():
            setattr(robot, name, value)
        robot.save(update_fields=list(given))
        if "disabled" in given:
            robot.close_if_disabled()
        return robot

    def validate_id(self, value):
        if self.instance is not None and value != self.instance.pk:
            raise Conflict(f"id is {value}; {self.instance.pk} expected, as a robot's id cannot change")
        return value


class KeySerializer(serializers.Serializer):
    key = serializers.CharField(
        read_only=True, help_text="256 random bits in URL-safe Base64. The server stores only a hash."
    )


class LoginSerializer(StrictFields, AuthTokenSerializer):
    """A username and password, and in the response the token."""

    username = StrictCharField(write_only=True)
    password = StrictCharField(write_only=True)

    def validate(self, attrs):
        try:
            return super().validate(attrs)
        except ValidationError:
            raise WrongLogin from None
