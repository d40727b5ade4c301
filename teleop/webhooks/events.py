"""The events that webhooks announce, and their bodies.

A body has no names of operators and no notes: it leaves the server, and cannot be erased there.
"""

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone

from robots.models import Robot


class EventType(models.TextChoices):
    SESSION_ENDED = "session.ended", "session.ended"
    ROBOT_ERROR = "robot.error", "robot.error"
    ROBOT_OFFLINE = "robot.offline", "robot.offline"
    TEST = "test", "test"


OF_STATUS = {Robot.Status.ERROR: EventType.ROBOT_ERROR, Robot.Status.OFFLINE: EventType.ROBOT_OFFLINE}


def body_of(event_type: EventType, data: dict[str, Any]) -> str:
    """Return the JSON that is sent: the same bytes in each attempt."""
    body = {"type": event_type, "timestamp": timezone.now(), "data": data}
    return json.dumps(body, cls=DjangoJSONEncoder, separators=(",", ":"))


def session_data(session) -> dict[str, Any]:
    return {
        "id": session.pk,
        "robot": session.robot_id,
        "key": session.key,
        "start_time": session.start_time,
        "end_time": session.end_time,
        "duration_s": session.duration_s,
        "fps": session.fps,
        "frame_count": session.frame_count,
        "task": session.label_task,
        "success": session.label_success,
        "tags": session.label_tags or [],
        "quality": session.quality,
        "path": f"/sessions/{session.pk}",
    }


def robot_data(robot: Robot) -> dict[str, Any]:
    names = ("id", "name", "robot_type", "status", "last_heartbeat")
    errors = ("last_error_code", "last_error_detail", "last_error_at")
    return {name: getattr(robot, name) for name in (*names, *errors)} | {"path": f"/robots/{robot.pk}"}
