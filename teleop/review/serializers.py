"""Bodies and answers of the endpoints for the review of sessions."""

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from robots.api.fields import BoundedListField, StrictBooleanField, StrictFields
from teleop.api.filters import MAX_ID
from teleop.api.serializers import MAX_TAG, MAX_TAGS, LabelField, MetaChangesSerializer

MAX_BULK = 1000


class FacetValueSerializer(serializers.Serializer):
    value = serializers.CharField(allow_null=True, help_text="Null: sessions without a value.")
    count = serializers.IntegerField()


class SuccessValueSerializer(FacetValueSerializer):
    value = serializers.BooleanField(allow_null=True, help_text="Null: sessions without the label.")


class RobotValueSerializer(FacetValueSerializer):
    value = serializers.CharField(help_text="The robot's id.")
    name = serializers.CharField(allow_null=True)


class FacetsSerializer(serializers.Serializer):
    """The number of sessions by value, the most frequent values first, at most 50 of each facet and the chosen one.

    Each facet ignores the filters for its own value.
    """

    total = serializers.IntegerField(help_text="The number of sessions that match all filters.")
    task = FacetValueSerializer(many=True)
    success = SuccessValueSerializer(many=True)
    robot = RobotValueSerializer(many=True)
    operator = FacetValueSerializer(many=True)
    tag = FacetValueSerializer(many=True)
    camera = FacetValueSerializer(many=True)


class PositionSerializer(serializers.Serializer):
    """The place of a session in a list."""

    position = serializers.IntegerField(
        allow_null=True, help_text="From 1 on; null if the session does not match the filters."
    )
    total = serializers.IntegerField(help_text="The number of sessions that match the filters.")
    previous = serializers.IntegerField(allow_null=True, help_text="Id of the session before it in the list.")
    next = serializers.IntegerField(allow_null=True, help_text="Id of the session after it in the list.")


class StrictIntegerField(serializers.IntegerField):
    def to_internal_value(self, data):
        if type(data) is not int:
            raise ValidationError(f"{data!r:.40} is not an integer")
        return super().to_internal_value(data)


class TagsField(BoundedListField):
    def __init__(self, **kwargs):
        super().__init__(child=LabelField(max_length=MAX_TAG), max_length=MAX_TAGS, required=False, **kwargs)


class BulkSerializer(StrictFields, serializers.Serializer):
    """A change of many sessions."""

    ids = BoundedListField(child=StrictIntegerField(min_value=1, max_value=MAX_ID), min_length=1, max_length=MAX_BULK)
    meta_info = MetaChangesSerializer(required=False, help_text="As in PATCH /sessions/{id}.")
    seen = serializers.DictField(
        required=False,
        help_text="Values of meta_info that you have last seen, by key (null: no such key). Sessions with another "
        "value are not changed.",
    )
    add_tags = TagsField(help_text="Tags to add to those of each session.")
    remove_tags = TagsField(help_text="Tags to remove from those of each session.")
    trash = StrictBooleanField(required=False, help_text="true: move to the trash; false: restore from it.")

    def validate(self, data):
        if not data.keys() - {"ids", "seen"}:
            raise ValidationError("no change is given; meta_info, add_tags, remove_tags or trash expected")
        if "tags" in data.get("meta_info", {}) and data.keys() & {"add_tags", "remove_tags"}:
            raise ValidationError({"meta_info": ["tags cannot be set together with add_tags or remove_tags"]})
        return data


class BulkAnswerSerializer(serializers.Serializer):
    changed = serializers.ListField(
        child=serializers.IntegerField(), help_text="Ids of the sessions that now have the change."
    )
    refused = serializers.DictField(
        child=serializers.CharField(), help_text="By id, why the other sessions were not changed."
    )
