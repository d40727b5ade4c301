import hashlib
import os
import uuid
from pathlib import Path
from typing import Literal

from django.core.files.storage import Storage
from django.db import models, transaction

from robots import audit
from robots.models import Robot
from teleop.models import TeleopSession
from videos.disk import folders_of, sync
from videos.film.facts import Facts
from videos.querysets import VideoChunkQuerySet

FOLDER = "videos"
EXTENSIONS = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
    "video/mp2t": "ts",
}
# As LeRobot names cameras: `observation.images.front`. It names a folder: no dot begins it, ends it or follows a dot.
CAMERA_KEY = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"
MAX_CAMERA_KEY = 100
TOUCH_S = 0.001  # one chunk's end and the next one's start are computed apart, from times in milliseconds or in floats


class SessionGone(Exception):
    """The session was deleted while its video was uploaded."""


class Overlap(Exception):
    """Another chunk of the same camera has a part of the same time."""

    def __init__(self, other: "VideoChunk"):
        when = f"from {other.start_timestamp} to {other.end_timestamp}"
        super().__init__(f"overlaps video {other.pk} of camera {other.camera_key}, {when}")


class Timing(models.TextChoices):
    """Which times are right if the film is not as long as its interval: the interval, or the film's own times."""

    NOMINAL = "nominal"
    EXACT = "exact"


class VideoChunk(models.Model):
    """A piece of one camera's video of a session, on the session's clock (unix seconds).

    The file stays as it was uploaded. Its poster (JPEG) and its proxy (H.264, for a film that browsers do not play) are
    beside it, under names that follow from its own.
    """

    id = models.AutoField(primary_key=True)
    session = models.ForeignKey(TeleopSession, models.CASCADE, related_name="videos", db_index=False)
    robot = models.ForeignKey(Robot, models.PROTECT, related_name="+", db_index=False)
    camera_key = models.CharField(max_length=100)
    file_path = models.FileField(max_length=300)
    start_timestamp = models.FloatField()
    end_timestamp = models.FloatField()
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    timing = models.CharField(max_length=7, choices=Timing, blank=True, default="", db_default="")

    # What a probe finds in the file (videos/film/facts.py). NULL or "": it was stored before probes found this.
    media_type = models.CharField(max_length=40, default="video/mp4", db_default="video/mp4")
    codec = models.CharField(max_length=30, blank=True, default="", db_default="")
    pixel_format = models.CharField(max_length=30, blank=True, default="", db_default="")
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)
    rate = models.FloatField(null=True)  # pictures a second
    first_picture_s = models.FloatField(null=True)  # media time of the first picture
    duration_s = models.FloatField(null=True)  # from the first picture to the end of the last one
    is_evenly_spaced = models.BooleanField(null=True)
    has_audio = models.BooleanField(null=True)
    playable = models.BooleanField(null=True)

    # Bytes of the files beside it. NULL: to be made; 0: none, because it needs none or none can be made.
    poster_size = models.BigIntegerField(null=True)
    proxy_size = models.BigIntegerField(null=True)

    objects = VideoChunkQuerySet.as_manager()

    class Meta:
        ordering = ["session", "camera_key", "start_timestamp"]
        constraints = [
            models.UniqueConstraint(fields=["session", "camera_key", "start_timestamp"], name="chunk_of_camera"),
            models.CheckConstraint(
                condition=models.Q(end_timestamp__gt=models.F("start_timestamp")), name="chunk_lasts"
            ),
        ]
        # What is due in the background (videos/background.py): a few of millions.
        indexes = [
            models.Index(fields=["id"], condition=models.Q(duration_s=None), name="videos_to_probe"),
            models.Index(
                fields=["id"],
                condition=models.Q(poster_size=None, duration_s__isnull=False),
                name="videos_without_poster",
            ),
            models.Index(
                fields=["id"],
                condition=models.Q(proxy_size=None, duration_s__isnull=False),
                name="videos_without_proxy",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id}/{self.camera_key} {self.start_timestamp:.3f}"

    @property
    def stretch(self) -> float:
        """Return the seconds of the session's clock that one second of the film takes; 1 if the film keeps its times.

        The pictures of a film with a wrong nominal rate are equally spaced over its interval. A film whose pictures
        have times of their own keeps them. The uploader can decide by `timing`.
        """
        is_nominal = self.timing == Timing.NOMINAL or (self.timing == "" and self.is_evenly_spaced)
        return (self.end_timestamp - self.start_timestamp) / self.duration_s if is_nominal and self.duration_s else 1.0

    def describe(self, facts: Facts) -> None:
        """Set the columns from what a probe found in the file; its poster and its proxy are then to be made."""
        for name, value in facts._asdict().items():
            setattr(self, name, value)
        self.poster_size = None if facts.has_preview else 0
        self.proxy_size = None if facts.has_preview and not facts.playable else 0

    @property
    def facts(self) -> Facts:
        return Facts(*(getattr(self, name) for name in Facts._fields))

    @property
    def preview(self) -> Literal["original", "proxy", "pending", "none"]:
        """Return the file that browsers play; "pending" until the proxy is made that it needs.

        Most films that were not probed yet are playable.
        """
        if self.playable is not False:
            return "original"
        if self.proxy_size:
            return "proxy"
        return "pending" if self.proxy_size is None else "none"

    @property
    def warning(self) -> str | None:
        """Return why browsers do not play the file, and what to do about it; None if they play it, or if unknown."""
        if self.playable is not False or not self.codec:
            return None
        if not self.facts.has_preview:
            return f"depth: stored, no preview ({self.pixel_format} in {self.codec})"
        even = ' -vf "pad=ceil(iw/2)*2:ceil(ih/2)*2"' if self.width % 2 or self.height % 2 else ""
        return (
            f"browsers do not play {self.codec} ({self.pixel_format}) in {self.media_type}. The file is stored, and "
            "the server makes a small H.264 version for the replay (proxy). To upload a file that browsers play: "
            f"ffmpeg -i film.{self.extension}{even} -c:v libx264 -pix_fmt yuv420p -g 30 converted.mp4"
        )

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.media_type]

    @property
    def poster_name(self) -> str:
        return self._name_beside("poster.jpg")

    @property
    def proxy_name(self) -> str:
        return self._name_beside("proxy.mp4")

    @property
    def file_names(self) -> tuple[str, str, str]:
        """Return the names of the film, its poster and its proxy, of which not each need exist."""
        return self.file_path.name, self.poster_name, self.proxy_name

    def _name_beside(self, ending: str) -> str:
        return f"{self.file_path.name.rpartition('.')[0]}.{ending}"

    @property
    def storage(self) -> Storage:
        return self.file_path.storage

    def measure(self, file) -> None:
        """Set the size and the SHA-256 from the file."""
        file.seek(0)
        self.size, self.sha256 = file.size, hashlib.file_digest(file, "sha256").hexdigest()

    def keep(self, file, actor: audit.Actor | None = None) -> "tuple[VideoChunk, bool]":
        """Store the file and then the row; return the stored chunk and whether it is new; raises Overlap, SessionGone.

        When this returns, the file is on the disk, also if the power fails. The file is stored first, as other
        transactions must not wait for a lock while 2 GiB are copied and synced. A crash between the two steps leaves a
        file without a row, which clean_media finds.
        """
        self.robot_id = self.session.robot_id
        if not self.sha256:
            self.measure(file)
        folder = f"{FOLDER}/{self.session_id}/{self.camera_key}"
        self.file_path = name = self.storage.save(f"{folder}/{uuid.uuid4().hex}.{self.extension}", file)
        kept = None
        try:
            sync(self.path, *folders_of(self.path, self.storage.location))
            kept = self._insert_or_find(actor)
        finally:
            if kept is not self:
                self.storage.delete(name)
        return kept, kept is self

    @transaction.atomic
    def _insert_or_find(self, actor: audit.Actor | None) -> "VideoChunk":
        """Insert the chunk, or return the same chunk if it is stored already; then its file is restored if it is lost.

        Of two uploads at once the second waits for the session's row, and then finds the chunk of the first.
        """
        # no_key: a plain FOR UPDATE would block the robot's frames, as their foreign key takes a lock on this row.
        if not TeleopSession.objects.select_for_update(no_key=True).filter(pk=self.session_id):
            raise SessionGone
        others = VideoChunk.objects.filter(session_id=self.session_id, camera_key=self.camera_key)
        # A chunk that is being deleted is not found, and cannot be deleted before its file is restored.
        near = others.overlapping(self.start_timestamp, self.end_timestamp).select_for_update()
        other = next((chunk for chunk in near if self.overlaps(chunk)), None)
        if other is None:
            self.save(force_insert=True)
            if actor and actor.type == audit.ActorType.PERSON:  # a robot streams its videos, as it does its frames
                audit.record(actor, audit.Action.ADDED, [self])
            return self
        if not self.is_same_as(other):
            raise Overlap(other)
        if not other.is_stored:
            other._restore_from(self)
        return other

    def _restore_from(self, upload: "VideoChunk") -> None:
        """Put the file of the same upload, which is synced, in place of the lost one. Its poster may be lost too."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(upload.path, self.path)
        sync(*folders_of(self.path, self.storage.location))
        self.describe(upload.facts)  # a probe may have given up for lack of the file
        self.save(update_fields=[*Facts._fields, "poster_size", "proxy_size"])

    @property
    def path(self) -> Path:
        return Path(self.file_path.path)

    @property
    def is_stored(self) -> bool:
        """Check that the file is there as a whole."""
        return self.path.is_file() and self.path.stat().st_size == self.size

    def make_again(self, name: str) -> None:
        """Have the lost poster or proxy of this name made again."""
        columns = {self.poster_name: "poster_size", self.proxy_name: "proxy_size"}
        VideoChunk.objects.filter(pk=self.pk).update(**{columns[name]: None})

    def overlaps(self, other: "VideoChunk") -> bool:
        """Check for a shared time longer than a touch, or than half of the shorter chunk: a touch may contain it."""
        begin = max(self.start_timestamp, other.start_timestamp)
        end = min(self.end_timestamp, other.end_timestamp)
        shorter = min(chunk.end_timestamp - chunk.start_timestamp for chunk in (self, other))
        return end - begin > min(TOUCH_S, shorter / 2)

    def is_same_as(self, other: "VideoChunk") -> bool:
        names = ("start_timestamp", "end_timestamp", "sha256")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def delete(self, *args, **kwargs):
        """Delete the row, and its files after the commit: if the transaction is rolled back, all remain."""
        deleted, storage = super().delete(*args, **kwargs), self.storage
        for name in self.file_names:
            # robust: if a file cannot be deleted, Django logs the error, and clean_media can delete the file later.
            transaction.on_commit(lambda name=name: storage.delete(name), robust=True)
        return deleted
