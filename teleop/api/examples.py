"""Examples that /schema shows with the endpoints."""

from drf_spectacular.utils import OpenApiExample

SESSION_FIELDS = {
    "id": 17,
    "robot": "robot_A",
    "key": "fold-the-towel-17",
    "live": False,
    "start_time": "2026-11-22T15:40:00.123000Z",
    "end_time": "2026-11-22T15:42:00.106000Z",
    "duration_s": 119.983,
    "clock_steps": [],
    "fps": 60,
    "frame_count": 7198,
    "meta_info": {"task": "Fold the towel", "success": True, "tags": ["towel"], "operator": "ada"},
    "quality": {
        "idle_share": 0.08,
        "jerk": 2103.4,
        "fps_jitter": 0.021,
        "missing_frames": 2,
        "duration_s": 119.983,
        "duration_ratio": 1.12,
        "clock_steps": [],
    },
    "trashed_at": None,
    "updated_at": "2026-11-22T15:50:00.500000Z",
}
REVIEW_FIELDS = {
    "judgement": {
        "idle_share": "usual",
        "jerk": "high",
        "fps_jitter": "usual",
        "missing_frames": "usual",
        "duration_s": "usual",
        "overall": "unusual",
    },
    "sparkline": [12, 80, 255, 190, 66, 3],
    "cameras": ["front", "wrist"],
    "poster": "/videos/42/poster",
}
LISTED_FIELDS = SESSION_FIELDS | {"meta_info_left_out": False}
SESSION = OpenApiExample("A session", LISTED_FIELDS, response_only=True)
REVIEWED_SESSION = OpenApiExample("A session", LISTED_FIELDS | REVIEW_FIELDS, response_only=True)
SESSION_DETAIL = OpenApiExample(
    "One session",
    SESSION_FIELDS
    | REVIEW_FIELDS
    | {
        "effective_fps": 59.983,
        "missing_frames": 2,
        "skipped_frames": 0,
        "events_dropped": 0,
        "joints": {"observation": ["shoulder_pan.pos", "gripper.pos"], "action": ["shoulder_pan.pos", "gripper.pos"]},
        "usual_ranges": {"jerk": [310.5, 1890.0], "duration_s": [80.1, 145.0]},
        "staff_labels": ["success", "tags"],
    },
    response_only=True,
)
ENDING = OpenApiExample(
    "A session that is ending",
    SESSION_DETAIL.value
    | {"live": True, "end_time": None, "duration_s": None, "effective_fps": None}
    | {"missing_frames": None, "quality": None},
    response_only=True,
    status_codes=["202"],
)
LABELS = OpenApiExample(
    "Labels, and a key to remove",
    {"meta_info": {"success": True, "tags": ["towel"], "note": "one fold is crooked", "draft": None}},
    request_only=True,
)
ROBOT_STATUS = OpenApiExample(
    "A streaming robot",
    {
        "status": "online",
        "last_heartbeat": "2026-11-22T15:47:03.120000Z",
        "clock_skew_s": -0.041,
        "last_error": None,
        "live_session": {
            "id": 18,
            "key": "fold-the-towel-18",
            "start_time": "2026-11-22T15:46:00Z",
            "frame_count": 3600,
            "rate_hz": 60.0,
            "lag_s": 0.041,
        },
        "last_sessions": [LISTED_FIELDS],
    },
    response_only=True,
)
HEALTHY = OpenApiExample(
    "All parts work",
    {
        "status": "ok",
        "detail": "",
        "version": "0.1.0",
        "database": "ok",
        "requests": "ok",
        "channel_layer": "ok",
        "sessions": "ok",
        "disk": "ok",
        "writer": {"status": "ok", "pending_frames": 12, "last_commit_s": 0.014},
    },
    response_only=True,
    status_codes=["200"],
)
DOWN = OpenApiExample(
    "The database does not answer",
    HEALTHY.value
    | {
        "status": "unavailable",
        "detail": "database: no answer within 1 s",
        "database": "no answer within 1 s",
    },
    response_only=True,
    status_codes=["503"],
)
EVENT = OpenApiExample(
    "A step of the clock",
    {
        "id": 7,
        "event_id": "5f0c-2",
        "kind": "clock_step",
        "timestamp": 1795362003.5,
        "detail": {"step_s": 259200.0},
        "created_at": "2026-11-22T15:40:03.700000Z",
    },
    response_only=True,
)
JOB_FIELDS = {
    "id": 5,
    "kind": "proxy",
    "object_id": 42,
    "state": "running",
    "attempts": 1,
    "progress": 0.35,
    "error": "",
    "updated_at": "2026-11-22T15:50:00.500000Z",
}
JOB = OpenApiExample("Work that runs", JOB_FIELDS, response_only=True)
RESTARTED_JOB = OpenApiExample(
    "Restarted work",
    JOB_FIELDS | {"state": "waiting", "attempts": 0, "progress": None},
    response_only=True,
    status_codes=["200"],
)
FACETS = OpenApiExample(
    "Facets",
    {
        "total": 60,
        "task": [{"value": "Fold the towel", "count": 41}, {"value": None, "count": 19}],
        "success": [{"value": True, "count": 30}, {"value": None, "count": 21}, {"value": False, "count": 9}],
        "robot": [{"value": "robot_A", "count": 60, "name": "Left bench"}],
        "operator": [{"value": "ada", "count": 60}],
        "tag": [{"value": "towel", "count": 12}],
        "camera": [{"value": "front", "count": 60}],
    },
    response_only=True,
)
POSITION = OpenApiExample(
    "The third of eight", {"position": 3, "total": 8, "previous": 79, "next": 62}, response_only=True
)
BULK = OpenApiExample(
    "Labels and tags",
    {"ids": [17, 18], "meta_info": {"task": "Fold the towel", "operator": "Kim"}, "add_tags": ["slip"]},
    request_only=True,
)
BULK_ANSWER = OpenApiExample(
    "One of two", {"changed": [17], "refused": {"18": "session 18 is live; end it first"}}, response_only=True
)
SAVED_FILTER = OpenApiExample(
    "Failures of yesterday",
    {"id": 3, "name": "Failures of yesterday", "query": "task=Fold+the+towel&success=false&days=yesterday"},
    response_only=True,
)
