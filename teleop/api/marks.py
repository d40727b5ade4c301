"""REST endpoints for a session's marks: those of people, stored in its meta_info, and the robot's, which are events."""

import json

from django.db import transaction
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response

from robots import audit
from robots.api.exceptions import Conflict
from robots.api.fields import StrictCharField, StrictFields, check_meta
from robots.api.permissions import MayChange
from robots.api.schema import problem
from teleop.models import TRIMS, MarksReversed, TeleopEvent, TeleopSession, TooManyMarks
from teleop.protocol import MAX_NOTE, MAX_TIMESTAMP, MIN_TIMESTAMP

SLIP = {"timestamp": 1795362003.5, "note": "the gripper slips"}
MARK = OpenApiExample("A mark", SLIP, request_only=True)
MARKS = OpenApiExample(
    "All marks",
    SLIP | {"kind": None, "by": "ada"},
    response_only=True,
    status_codes=["200", "201"],  # of one element of the list
)
TRIM = OpenApiExample("The begin of exports", {"timestamp": 1795362001.25, "kind": "trim_start"}, request_only=True)
ROBOTS_MARK = OpenApiExample(
    "A robot's mark",
    {"timestamp": 1795362007.25, "note": "cube lifted", "kind": None, "by": "robot_A", "event": "5f0c-3"},
    response_only=True,
    status_codes=["200"],
)
RENAMED = OpenApiExample(
    "Another note", {"note": "the gripper lets go", "seen_note": "the gripper slips"}, request_only=True
)
TIMESTAMP = OpenApiParameter(
    "timestamp", float, OpenApiParameter.PATH, description="Time of the mark, in unix seconds."
)


class UnixSecondsField(serializers.FloatField):
    def __init__(self, **options):
        super().__init__(min_value=MIN_TIMESTAMP, max_value=MAX_TIMESTAMP, **options)

    def to_internal_value(self, data):
        is_number = isinstance(data, int | float) and not isinstance(data, bool)
        if not is_number or not MIN_TIMESTAMP <= data <= MAX_TIMESTAMP:
            message = f"{self.field_name} is {data!r:.40}; unix seconds between 2000 and 2100 expected"
            raise ValidationError(message)
        return float(data)


class MarkSerializer(StrictFields, serializers.Serializer):
    """A moment of a session that a person has marked."""

    timestamp = UnixSecondsField(help_text="Time of the mark in unix seconds, on the clock of the session's frames.")
    note = StrictCharField(max_length=MAX_NOTE, default="", allow_blank=True)
    kind = serializers.ChoiceField(
        TRIMS,
        required=False,
        allow_null=True,
        help_text="Null: a plain mark. trim_start, trim_end: exports leave out what is before, after it. A "
        "session has one of each; another one moves it.",
    )
    by = serializers.CharField(read_only=True, help_text="Username of the person, or the robot's id.")


class MarkChangeSerializer(StrictFields, serializers.Serializer):
    """A change of a mark; what is omitted stays."""

    timestamp = UnixSecondsField(required=False, help_text="New time of the mark in unix seconds.")
    note = StrictCharField(required=False, max_length=MAX_NOTE, allow_blank=True)
    seen_note = StrictCharField(
        required=False,
        max_length=MAX_NOTE,
        allow_blank=True,
        help_text="Change only marks with this note; 409 if none has it. Somebody else may have changed it.",
    )


class ListedMarkSerializer(MarkSerializer):
    """A mark of a person or of the robot."""

    event = serializers.CharField(
        required=False, help_text="The event_id of a robot's mark; absent if a person added the mark."
    )


def marks_of(session: TeleopSession) -> list[dict]:
    """Return the marks of people and of the robot, oldest first, as ListedMarkSerializer has them."""
    events = session.events.filter(kind=TeleopEvent.Kind.MARK).order_by("pk")
    of_robot = [
        {
            "timestamp": event.timestamp.timestamp(),
            "note": _note_of(event)[:MAX_NOTE],
            "by": session.robot_id,
            "event": event.event_id,
        }
        for event in events
    ]
    return sorted([*session.marks, *of_robot], key=lambda mark: mark["timestamp"])


def _note_of(event: TeleopEvent) -> str:
    """Return the note as text; a robot may have sent a value of any type."""
    note = event.detail.get("note", "") if isinstance(event.detail, dict) else event.detail
    return note if isinstance(note, str) else json.dumps(note, ensure_ascii=False)


def _people_marked(marks: list[dict], pk: str, timestamp: str) -> list[dict]:
    """Return the marks of people at exactly this time; raise NotFound if there are none."""
    if not (found := [mark for mark in marks if mark["timestamp"] == float(timestamp)]):
        raise NotFound(f"session {pk} has no mark of a person at {timestamp}")
    return found


class MarksMixin:
    """Actions of the sessions' viewset; its get_queryset locks the row for these actions."""

    @extend_schema(
        summary="Add a mark",
        description="Marks a moment of the session and returns all its marks, oldest first. A mark of the kind "
        "`trim_start` or `trim_end` replaces the earlier one of its kind. The marks of people are "
        "stored in meta_info as `marks` and count towards its 64 KiB. Neither a robot nor PATCH can change them.",
        request=MarkSerializer,
        responses={201: ListedMarkSerializer(many=True), 409: problem("The session has 1000 marks, the maximum.")},
        examples=[MARK, TRIM, MARKS],
        filters=False,  # the filters belong to the list of sessions
    )
    @action(detail=True, methods=["post"], permission_classes=[MayChange], pagination_class=None)
    def marks(self, request, pk):
        mark = MarkSerializer(data=request.data)
        mark.is_valid(raise_exception=True)
        kind = mark.validated_data.pop("kind", None)
        added = mark.validated_data | {"by": request.user.get_username()} | ({"kind": kind} if kind else {})

        def in_place_of_its_kind(marks: list[dict]) -> tuple[list[dict], list[dict]]:
            return [each for each in marks if kind and each.get("kind") == kind], [added]

        return self._change_marks(in_place_of_its_kind, 201)

    @extend_schema(
        summary="A session's marks",
        description="Returns all marks, oldest first: those of people, and those that the robot sent as events.",
        responses={200: ListedMarkSerializer(many=True)},
        examples=[MARKS, ROBOTS_MARK],
        filters=False,
    )
    @marks.mapping.get
    def list_marks(self, request, pk):
        return Response(ListedMarkSerializer(marks_of(self.get_object()), many=True).data)

    @extend_schema(
        summary="Remove a mark",
        description="Removes all marks that people added at exactly this time, and returns the remaining marks. A "
        "robot's mark is an event of the session, and cannot be removed.",
        parameters=[TIMESTAMP],
        responses={200: ListedMarkSerializer(many=True)},
        examples=[MARKS],
        filters=False,
    )
    @action(
        detail=True,
        methods=["delete"],
        url_path=r"marks/(?P<timestamp>[0-9]{1,10}(?:\.[0-9]{1,9})?)",
        permission_classes=[MayChange],
        pagination_class=None,
    )
    def unmark(self, request, pk, timestamp):
        def of_this_moment(marks: list[dict]) -> tuple[list[dict], list[dict]]:
            return _people_marked(marks, pk, timestamp), []

        return self._change_marks(of_this_moment, 200)

    @extend_schema(
        summary="Change a mark",
        description="Changes the note or the time of the marks that people added at exactly this time, and returns all "
        "marks. A robot's mark cannot be changed.",
        parameters=[TIMESTAMP],
        request=MarkChangeSerializer,
        responses={
            200: ListedMarkSerializer(many=True),
            409: problem("No mark at this time has the note `seen_note`."),
        },
        examples=[RENAMED, MARKS],
        filters=False,
    )
    @unmark.mapping.patch
    def change_mark(self, request, pk, timestamp):
        change = MarkChangeSerializer(data=request.data)
        change.is_valid(raise_exception=True)
        changes = dict(change.validated_data)
        seen = changes.pop("seen_note", None)

        def changed(marks: list[dict]) -> tuple[list[dict], list[dict]]:
            of_moment = _people_marked(marks, pk, timestamp)
            found = [mark for mark in of_moment if seen is None or mark["note"] == seen]
            if not found:
                note = of_moment[0]["note"][:100]
                raise Conflict(f"the mark at {timestamp} has the note {note!r} now; read it again")
            return found, [mark | changes for mark in found]

        return self._change_marks(changed, 200)

    @transaction.atomic
    def _change_marks(self, change, status: int) -> Response:
        session: TeleopSession = self.get_object()
        removed, added = change(session.marks)
        try:
            session.set_marks([mark for mark in session.marks if mark not in removed] + added)
        except TooManyMarks as error:
            raise Conflict(str(error)) from error
        except MarksReversed as error:
            raise ValidationError({"timestamp": [str(error)]}) from error
        check_meta(session.meta_info)
        session.save_meta()
        audit.record(
            audit.actor_of(self.request), audit.Action.CHANGED, [session], {"meta_info.marks": [removed, added]}
        )
        return Response(ListedMarkSerializer(marks_of(session), many=True).data, status)
