from django.db import models
from django.db.models.functions import Now


class RobotQuerySet(models.QuerySet):
    def note_error(self, robot_id: str, code: str, detail: str) -> None:
        """Keeps the robot's last error where staff can read it; an unknown robot is nobody's row, so nothing is kept."""
        self.filter(pk=robot_id).update(last_error_code=code, last_error_detail=detail[:1000], last_error_at=Now())
