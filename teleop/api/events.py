"""The events of a session over REST: what its robot's program reported beside the frames."""

import django_filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView, get_object_or_404

from teleop.api import examples
from teleop.models import TeleopEvent, TeleopSession
from teleop.protocol import MAX_EVENTS


class EventFilter(django_filters.FilterSet):
    kind = django_filters.ChoiceFilter(
        choices=TeleopEvent.Kind.choices, help_text=f"One of: {', '.join(TeleopEvent.Kind.values)}."
    )


class UnixTimeField(serializers.FloatField):
    def to_representation(self, value):
        return value.timestamp()


class EventSerializer(serializers.ModelSerializer):
    """An event that a robot reported."""

    event_id = serializers.CharField(read_only=True, help_text="The robot's own id of the event.")
    timestamp = UnixTimeField(
        read_only=True,
        help_text="Time of the event in unix seconds, on the clock of the session's frames.",
    )
    detail = serializers.JSONField(
        read_only=True, help_text="As the robot sent it. docs/protocol.md lists the keys of each kind."
    )
    created_at = serializers.DateTimeField(read_only=True, help_text="When the server stored the event.")

    class Meta:
        model = TeleopEvent
        fields = ["id", "event_id", "kind", "timestamp", "detail", "created_at"]
        read_only_fields = fields


@extend_schema_view(
    get=extend_schema(
        summary="A session's events",
        description="Returns the events that the robot's program reported, oldest first: marks, steps of its clock, "
        f"its restarts, and faults of its cameras. At most {MAX_EVENTS} are stored; `events_dropped` of the session "
        "counts the others. With `after_id` a program reads only the new events of a live session.",
        examples=[examples.EVENT],
    )
)
class EventsView(ListAPIView):
    queryset = TeleopSession.objects.all()  # the permission to view sessions includes their events
    serializer_class = EventSerializer
    filterset_class = EventFilter

    def get_queryset(self):
        events = TeleopEvent.objects.order_by("timestamp", "pk")
        if getattr(self, "swagger_fake_view", False):  # the schema's generator has no session
            return events
        return events.filter(session=get_object_or_404(self.queryset, pk=self.kwargs["pk"]))
