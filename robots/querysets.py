import hashlib
from datetime import timedelta

from django.db import models
from django.db.models.functions import Now

STALE_AFTER = timedelta(seconds=30)


def hash_key(key: str) -> str:
    """SHA-256 in hex: the keys are 256 random bits, so there is nothing for a slow hash to protect."""
    return hashlib.sha256(key.encode()).hexdigest()


class NotAdmitted(Exception):
    """Why a robot may not connect: a code and a sentence, for the log and the robot's last error."""

    def __init__(self, code: str, detail: str):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class RobotQuerySet(models.QuerySet):
    def admit(self, robot_id: str, key: str | None):
        """The robot whose key this is; raises NotAdmitted."""
        robot = self.filter(pk=robot_id).first()
        if robot is None:
            raise NotAdmitted("unknown_robot", f"robot {robot_id} is not registered")
        if not key:
            raise NotAdmitted("missing_key", "no key was sent; Authorization: Bearer KEY expected")
        if not robot.has_key(key):
            raise NotAdmitted("wrong_key", "the key is not this robot's; it may have been replaced")
        return robot

    def with_key(self, key: str):
        """The robot whose key this is, or None."""
        return self.filter(key_hash=hash_key(key)).first() if key else None

    def note_error(self, robot_id: str, code: str, detail: str) -> None:
        """Keeps the robot's last error where staff can read it; an unknown robot has no row to keep it in."""
        self.filter(pk=robot_id).update(last_error_code=code, last_error_detail=detail[:1000], last_error_at=Now())

    def heard_of(self, robot_ids, status: str) -> None:
        """A heartbeat of each, by the database's clock."""
        self.filter(pk__in=robot_ids).update(status=status, last_heartbeat=Now())

    def silent(self):
        """Said to be here, but not heard of for 30 s, by the database's clock."""
        return self.exclude(status="offline").filter(last_heartbeat__lt=Now() - STALE_AFTER)
