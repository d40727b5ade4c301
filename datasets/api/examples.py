"""Examples that /schema shows beside the endpoints."""

from drf_spectacular.utils import OpenApiExample

NEW_EXPORT = OpenApiExample(
    "A dataset for LeRobot",
    {"name": "towels-2026-11", "where": "task=Fold the towel&success=true", "fps": 30, "validation": 0.1},
    request_only=True,
)
BY_IDS = OpenApiExample(
    "An estimate of two sessions as MCAP",
    {"sessions": [17, 18], "format": "mcap", "dry_run": True},
    request_only=True,
)
ESTIMATE = {"sessions": 60, "episodes": 60, "hours": 1.5125, "frames": 326_700, "bytes": 1_480_113_000}
DRY_RUN = OpenApiExample("The estimate", ESTIMATE | {"shortage": None}, response_only=True, status_codes=["200"])
PENDING = {
    "id": 5,
    "name": "towels-2026-11",
    "format": "lerobot-v3.0",
    "options": {"format": "lerobot-v3.0", "fps": 30, "max_gap_s": 0.25, "on_gap": "split", "validation": 0.1},
    "where": "task=Fold the towel&success=true",
    "sessions": 60,
    "estimate": ESTIMATE,
    "state": "pending",
    "progress": None,
    "error": "",
    "episodes": None,
    "seconds": None,
    "size_bytes": None,
    "created_by": "ada",
    "created_at": "2026-11-27T15:40:00.123000Z",
    "finished_at": None,
    "expires_at": None,
    "content": None,
    "report": None,
}
CREATED = OpenApiExample("An export that waits", PENDING, response_only=True, status_codes=["202"])
DONE = OpenApiExample(
    "An export",
    PENDING
    | {
        "state": "done",
        "episodes": 63,
        "seconds": 5398.5,
        "size_bytes": 1_312_480_113,
        "finished_at": "2026-11-27T15:52:10.500000Z",
        "expires_at": "2026-12-27T15:52:10.500000Z",
        "content": "http://127.0.0.1:8000/exports/5/content",
        "report": "http://127.0.0.1:8000/exports/5/report",
    },
    response_only=True,
    status_codes=["200"],
)
REPORT = OpenApiExample(
    "A report, in parts",
    {
        "name": "towels-2026-11",
        "format": "lerobot-v3.0",
        "episodes": 63,
        "rows": 161_955,
        "hours": 1.499583,
        "verified": {"rows": 161_955, "values": 2_429_325, "pictures": 323_910, "files": 9},
        "fills": {"repeated_rows": 12, "unused_frames": 0, "largest_offset_ms": 8.3},
        "trimmed_seconds": {"gap": 41.2, "too short": 0.1},
        "warnings": ["session 17: 2 frames are missing, from frame 318 on"],
    },
    response_only=True,
    status_codes=["200"],
)
