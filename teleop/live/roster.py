"""Read the watched robots from the database, as JSON into which live data is spliced."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db.models import F

from robots.models import Robot
from teleop.models import TeleopSession
from teleop.servo import limits_of

MAX_ROBOTS = 1000
MAX_TASK = 200


class RobotSummary(NamedTuple):
    """Summary of a robot. The bytes are members of a JSON object, without the braces."""

    session_id: int | None
    tile: bytes  # of the fleet
    heartbeat: bytes  # the tile's last one, which changes every 3 s
    page: bytes  # of the robot's own page
    idle: (
        bytes  # replaces a RobotSnapshot's `state` and `values` while no message about this robot reaches this process
    )


NOT_LIVE = {"session_id": None, "rate_hz": None, "ack_lag_ms": None, "frame_count": None}


def read(robot_ids: Collection[str] | None) -> dict[str, RobotSummary]:
    """Read these robots, or the MAX_ROBOTS with the latest heartbeat; by id."""
    robots = Robot.objects.order_by(F("last_heartbeat").desc(nulls_last=True), "pk")
    robots = robots[:MAX_ROBOTS] if robot_ids is None else robots.filter(pk__in=robot_ids)
    live = TeleopSession.objects.live().order_by("pk")  # if a robot has two, the newer one counts
    if robot_ids is not None:
        live = live.filter(robot__in=robot_ids)
    sessions = {
        robot_id: session
        for robot_id, *session in live.values_list(
            "robot_id", "pk", "frame_count", "fps", "meta_info__task", "meta_info__limits"
        )
    }
    entries = {robot.pk: entry(robot, *sessions.get(robot.pk, ())) for robot in robots}
    return dict(sorted(entries.items()))


def entry(
    robot: Robot,
    session_id: int | None = None,
    frame_count: int | None = None,
    fps: int | None = None,
    task: Any = None,
    limits: Any = None,
) -> RobotSummary:
    about = {"status": robot.status, "task": task[:MAX_TASK] if isinstance(task, str) else None, "fps": fps}
    error = {"code": robot.last_error_code, "detail": robot.last_error_detail, "at": _iso(robot.last_error_at)}
    tile = {
        "id": robot.pk,
        "name": robot.name,
        "robot_type": robot.robot_type,
        **about,
        "last_error": error if robot.last_error_code else None,
    }
    heartbeat = {"last_heartbeat": _iso(robot.last_heartbeat)}
    servo_limits = limits_of(robot.meta_info, {"limits": limits})
    page = {"robot_id": robot.pk, **about, "limits": servo_limits.by_key, "limits_ignored": servo_limits.problems}
    idle = NOT_LIVE | {"session_id": session_id, "frame_count": frame_count}
    return RobotSummary(session_id, *map(members, (tile, heartbeat, page, idle)))


def members(of: dict[str, Any]) -> bytes:
    return orjson.dumps(of)[1:-1]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
