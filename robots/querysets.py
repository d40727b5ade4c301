import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from robots.row_locks import RowLockQuerySet

STALE_AFTER = timedelta(seconds=30)
ROBOT_DISABLED = "robot_disabled"


def hash_key(key: str) -> str:
    """Return the SHA-256 in hex; the keys are 256 random bits, so a slow hash would add no protection."""
    return hashlib.sha256(key.encode()).hexdigest()


class HandshakeRefused(Exception):
    """Refusal of a robot's connection: a code and a sentence, for the log and the robot's last error."""

    status = 403

    def __init__(self, code: str, detail: str):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class RobotDisabled(HandshakeRefused):
    """Refusal of a robot that staff have disabled; its answer has the code and the sentence."""

    def __init__(self, robot_id: str):
        super().__init__(ROBOT_DISABLED, f"robot {robot_id} is disabled; staff can enable it on its page in the admin")


class RobotQuerySet(RowLockQuerySet):
    def authenticate(self, claims: Sequence[tuple[str, str | None]]) -> list:
        """Return for each (robot_id, key) the robot, or a HandshakeRefused with the reason; one statement for all."""
        robots = self.in_bulk({robot_id for robot_id, _ in claims})
        return [_authenticated(robots.get(robot_id), robot_id, key) for robot_id, key in claims]

    def with_key(self, key: str):
        """Return the robot that has this key, or None."""
        return self.filter(key_hash=hash_key(key)).first() if key else None

    def record_errors(self, errors: Mapping[str, tuple[str, str]]) -> None:
        """Keep the last error of each robot, `{robot_id: (code, detail)}`, where staff can read it.

        An unknown robot has no row for its error. A robot with a locked row keeps its older error.
        """
        if not errors:
            return
        with transaction.atomic(savepoint=False):
            available = set(self.filter(pk__in=errors).lock_available().values_list("pk", flat=True))
            rows = [(pk, code, detail[:1000]) for pk, (code, detail) in errors.items() if pk in available]
            self.update_each(("last_error_code", "last_error_detail"), rows, also="last_error_at = {now}")

    def mark_seen(self, statuses: Mapping[str, str], addresses: Mapping[str, str | None] | None = None) -> None:
        """Write a heartbeat and the status of each robot, `{robot_id: status}`, by the database's clock.

        A robot with a locked row is left out: its next heartbeat comes in seconds.
        """
        with transaction.atomic(savepoint=False):
            available = self.filter(pk__in=statuses).lock_available().values_list("pk", flat=True)
            rows = [(pk, statuses[pk], (addresses or {}).get(pk)) for pk in available]
            self.update_each(("status", "ip_address"), rows, also="last_heartbeat = {now}")

    def unresponsive(self):
        """Return robots that are not offline, but without a heartbeat for 30 s, by the database's clock."""
        return self.exclude(status="offline").filter(last_heartbeat__lt=Now() - STALE_AFTER)


def _authenticated(robot, robot_id: str, key: str | None):
    if robot is None:
        return HandshakeRefused("unknown_robot", f"robot {robot_id} is not registered")
    if not key:
        return HandshakeRefused("missing_key", "no key was sent; Authorization: Bearer KEY expected")
    if not robot.has_key(key):
        return HandshakeRefused("wrong_key", "the key is not valid for this robot; it may have been replaced")
    return RobotDisabled(robot_id) if robot.disabled else robot
