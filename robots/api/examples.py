"""Examples that /schema shows beside the endpoints."""

from drf_spectacular.utils import OpenApiExample

DESCRIPTION = {"name": "left arm", "robot_type": "so101_follower", "meta_info": {"site": "lab 2"}}

NEW_ROBOT = OpenApiExample("A robot to register", {"id": "robot_A", **DESCRIPTION}, request_only=True)
ROBOT_CHANGE = OpenApiExample("A new name", {"name": "right arm"}, request_only=True)
ROBOT = OpenApiExample(
    "A robot",
    {
        "id": "robot_A",
        "name": "left arm",
        "robot_type": "so101_follower",
        "status": "online",
        "last_heartbeat": "2026-11-22T15:47:03.120000Z",
        "ip_address": "10.0.0.7",
        "meta_info": {"site": "lab 2"},
        "disabled": False,
        "last_error": {
            "code": "wrong_key",
            "detail": "the key is not valid for this robot; it may have been replaced",
            "at": "2026-11-21T09:00:00Z",
        },
        "created_at": "2026-11-01T08:00:00Z",
    },
    response_only=True,
)
