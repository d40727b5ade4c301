"""Examples that /schema shows beside the endpoints."""

from drf_spectacular.utils import OpenApiExample

TIMES = {"start_timestamp": 1795362000.123, "end_timestamp": 1795362010.123}
UPLOAD = OpenApiExample(
    "A chunk to upload",
    {"session": 17, "camera_key": "front", **TIMES, "file": "(content of the mp4 file)"},
    request_only=True,
    media_type="multipart/form-data",
)
VIDEO = OpenApiExample(
    "A chunk",
    {
        "id": 3,
        "session": 17,
        "robot": "robot_A",
        "camera_key": "front",
        **TIMES,
        "size": 2_480_113,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "content": "http://127.0.0.1:8000/videos/3/content",
    },
    response_only=True,
)
