"""Real films, and the session of the robot `arm` that they are uploaded to."""

import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

START = 1767600000.0  # 2026-01-05T08:00:00Z
FPS = 10


CONTAINERS = {  # how FFmpeg names each, and a codec that it takes
    "mp4": ("mp4", "libx264"),
    "mov": ("mov", "libx264"),
    "webm": ("webm", "libvpx"),
    "mkv": ("matroska", "libx264"),
    "avi": ("avi", "mpeg4"),
    "ts": ("mpegts", "mpeg4"),
}


def film(
    seconds: float = 1.0,
    kind: str = "video",
    shade: int = 0,
    first: str = "pictures",
    container: str = "mp4",
    codec: str = "",
    pixels: str = "yuv420p",
) -> bytes:
    """Return a film of grey pictures, or of silence (`kind="sound"`); with `first="index"` it plays while it loads.

    Equal arguments, also those by default, return the same bytes: an encoder on a busy machine may write others.
    """
    return _film(seconds, kind, shade, first, container, codec, pixels)


@cache
def _film(seconds: float, kind: str, shade: int, first: str, container: str, codec: str, pixels: str) -> bytes:
    import av
    import numpy

    format, usual_codec = CONTAINERS[container]
    file = tempfile.NamedTemporaryFile(suffix=f".{container}")  # noqa: SIM115 - by its name: the index is moved later
    options = {"movflags": "faststart"} if first == "index" else {}
    with av.open(file.name, "w", format=format, options=options) as output:
        if kind == "sound":
            stream = output.add_stream("aac", rate=48_000)
            frame = av.AudioFrame.from_ndarray(numpy.zeros((1, 1024), "float32"), format="fltp", layout="mono")
            frame.sample_rate = 48_000
            frames = [frame] * int(seconds * 48_000 / 1024)
        else:
            stream = output.add_stream(codec or usual_codec, rate=FPS)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            picture = numpy.full((48, 64, 3), shade, "uint8")
            frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for _ in range(round(seconds * FPS))]
        for index, frame in enumerate(frames):
            frame.pts = index * (1024 if kind == "sound" else 1)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return Path(file.name).read_bytes()


@pytest.fixture(autouse=True)
def media(settings, tmp_path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings.MEDIA_ROOT


@pytest.fixture
def session(db):
    from robots.models import Robot
    from teleop.models import TeleopSession

    robot = Robot.objects.get_or_create(pk="arm")[0]
    moment = datetime.fromtimestamp(START, UTC)
    return TeleopSession.objects.create(robot=robot, key="morning-run", start_time=moment, end_time=moment)


def files(media: Path) -> list[str]:
    """Return the names of all files in the folder, including those without a row."""
    return sorted(str(path.relative_to(media)) for path in media.rglob("*") if path.is_file())


def form(at, content: bytes | None = None, start=START, seconds=1.0, name="chunk.mp4", **changes) -> dict:
    """Return the fields of an upload to the session `at`; a change to None omits the field."""
    fields = {
        "session": at.pk,
        "camera_key": "front",
        "start_timestamp": start,
        "end_timestamp": start + seconds,
        "file": SimpleUploadedFile(name, film(seconds) if content is None else content, "video/mp4"),
    } | changes
    return {name: value for name, value in fields.items() if value is not None}


def upload(client, *args, **changes):
    return client.post("/videos", form(*args, **changes), format="multipart")
