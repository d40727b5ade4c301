from django.db import models

from robots.models import Robot
from teleop.models import TeleopSession


class VideoChunk(models.Model):
    """A piece of one camera's video of a session, on the session's clock (unix seconds)."""

    id = models.AutoField(primary_key=True)
    session = models.ForeignKey(TeleopSession, models.CASCADE, related_name="videos", db_index=False)
    robot = models.ForeignKey(Robot, models.PROTECT, related_name="+", db_index=False)
    camera_key = models.CharField(max_length=100)
    file_path = models.FileField(max_length=300)
    start_timestamp = models.FloatField()
    end_timestamp = models.FloatField()
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["session", "camera_key", "start_timestamp"]
        constraints = [
            models.UniqueConstraint(fields=["session", "camera_key", "start_timestamp"], name="chunk_of_camera"),
            models.CheckConstraint(
                condition=models.Q(end_timestamp__gt=models.F("start_timestamp")), name="chunk_lasts"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id}/{self.camera_key} {self.start_timestamp:.3f}"
