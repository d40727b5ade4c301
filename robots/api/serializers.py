from django.db.models import CharField
from rest_framework import serializers
from rest_framework.authtoken.serializers import AuthTokenSerializer
from rest_framework.exceptions import ValidationError

from robots.api.exceptions import Conflict, WrongLogin
from robots.meta_info import problem_with
from robots.models import Robot


def check_meta(value: dict) -> dict:
    if problem := problem_with(value):
        raise ValidationError({"meta_info": [f"meta_info is {problem}"]})
    return value


class StrictCharField(serializers.CharField):
    """Field that accepts only strings, unchanged: DRF would convert a number to a string and strip blanks."""

    def __init__(self, **kwargs):
        super().__init__(**{"trim_whitespace": False} | kwargs)

    def to_internal_value(self, data):
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    def to_internal_value(self, data):
        if not isinstance(data, bool):
            raise ValidationError(f"{data!r:.40} is neither true nor false")
        return data


class StrictFields:
    """A serializer that refuses unknown fields; it ignores read-only fields, as in any PUT."""

    def to_internal_value(self, data):
        if isinstance(data, dict) and (unknown := [name for name in data if name not in self.fields]):
            expected = ", ".join(name for name, field in self.fields.items() if not field.read_only)
            raise ValidationError({name: [f"there is no field {name[:40]}; {expected} expected"] for name in unknown})
        return super().to_internal_value(data)


class LastErrorSerializer(serializers.Serializer):
    code = serializers.CharField(source="last_error_code", help_text="As in docs/protocol.md.")
    detail = serializers.CharField(source="last_error_detail")
    at = serializers.DateTimeField(source="last_error_at", allow_null=True)


class RobotSerializer(StrictFields, serializers.ModelSerializer):
    # No check that the id is free: two requests at once would both find it free. The insert detects a conflict.
    id = StrictCharField(max_length=64, validators=Robot._meta.get_field("id").validators)
    meta_info = serializers.DictField(required=False, allow_null=True, help_text="A JSON object of at most 64 KiB.")
    last_error = serializers.SerializerMethodField(help_text="Why it was last refused, or its frame was; null: never.")

    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {CharField: StrictCharField}

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
        return robot

    def validate_id(self, value):
        if self.instance is not None and value != self.instance.pk:
            raise Conflict(f"id is {value}; a robot keeps its id, {self.instance.pk} expected")
        return value


class KeySerializer(serializers.Serializer):
    key = serializers.CharField(read_only=True, help_text="256 random bits; only their hash is kept.")


class LoginSerializer(StrictFields, AuthTokenSerializer):
    username = StrictCharField(write_only=True)
    password = StrictCharField(write_only=True)

    def validate(self, attrs):
        try:
            return super().validate(attrs)
        except ValidationError:
            raise WrongLogin from None
