"""Examples that /schema shows beside the endpoints."""

from drf_spectacular.utils import OpenApiExample

TIMES = {"start_timestamp": 1795362000.123, "end_timestamp": 1795362010.123}
REST = {"camera_key": "front", **TIMES, "file": "(content of the file)"}
UPLOAD = OpenApiExample(
    "A chunk to upload", {"session": 17, **REST}, request_only=True, media_type="multipart/form-data"
)
UPLOAD_BY_KEY = OpenApiExample(
    "A chunk that a robot uploads by the session's key",
    {"session_key": "5f0c8a52-fold-towel", **REST},
    request_only=True,
    media_type="multipart/form-data",
)
FILM = {
    "id": 3,
    "session": 17,
    "robot": "robot_A",
    "camera_key": "front",
    **TIMES,
    "timing": "",
    "first_picture_s": 0.066667,
    "duration_s": 10.0,
    "stretch": 1.0,
    "has_audio": False,
    "media_type": "video/mp4",
    "codec": "h264",
    "pixel_format": "yuv420p",
    "width": 640,
    "height": 480,
    "rate": 30.0,
    "playable": True,
    "preview": "original",
    "size": 2_480_113,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "content": "http://127.0.0.1:8000/videos/3/content",
    "poster": "http://127.0.0.1:8000/videos/3/poster",
    "proxy": None,
}
VIDEO = OpenApiExample("A chunk", FILM, response_only=True)
WITH_WARNING = OpenApiExample(
    "A chunk that browsers do not play",
    FILM
    | {
        "codec": "mpeg4",
        "playable": False,
        "preview": "pending",
        "poster": None,
        "warning": "browsers do not play mpeg4 (yuv420p) in video/mp4. The file is stored, and the server makes a "
        "small H.264 version for the replay (proxy). To upload a file that browsers play: ffmpeg -i film.mp4 "
        "-c:v libx264 -pix_fmt yuv420p -g 30 converted.mp4",
    },
    response_only=True,
    status_codes=["201"],
)
