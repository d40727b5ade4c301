import re
import secrets

from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now

from robots import notices
from robots.querysets import RobotQuerySet, hash_key

KEY_REVOKED = 4401  # the close code (docs/protocol.md)
ROBOT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Robot(models.Model):
    """One robot: who it is, the hash of its key, and when it was last heard of (written by the ingest workers)."""

    class Status(models.TextChoices):
        ONLINE = "online"
        OFFLINE = "offline"
        ERROR = "error"

    id = models.CharField(
        max_length=64,
        primary_key=True,
        validators=[RegexValidator(rf"\A{ROBOT_ID.pattern}\Z", f"id must match {ROBOT_ID.pattern}")],
    )
    name = models.CharField(max_length=200, null=True, blank=True)
    robot_type = models.CharField(max_length=100, null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.OFFLINE)
    last_heartbeat = models.DateTimeField(null=True, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    meta_info = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    key_hash = models.CharField(max_length=64, blank=True, default="", editable=False)
    last_error_code = models.CharField(max_length=40, blank=True, default="")
    last_error_detail = models.TextField(blank=True, default="")
    last_error_at = models.DateTimeField(null=True, blank=True)

    objects = RobotQuerySet.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.id

    def issue_key(self) -> str:
        """A new key (256 bits, URL-safe), returned this once: only its hash is kept, and the old key is void.

        Whoever is connected with the old key is disconnected, after the commit: before it, the old key would still
        let them in again. The notice names the old hash, as it may arrive after the robot came back with the new key.
        """
        key, old_hash = secrets.token_urlsafe(32), self.key_hash
        self.key_hash = hash_key(key)
        self.save(update_fields=["key_hash"])
        if old_hash:
            of = {"robot_id": self.pk, "key_hash": old_hash}
            transaction.on_commit(lambda: notices.close_connections(KEY_REVOKED, **of))
        return key

    def has_key(self, key: str) -> bool:
        return bool(self.key_hash) and secrets.compare_digest(self.key_hash, hash_key(key))


class StorageFormat(models.Model):
    """How recordings are stored in this database: one row, read by robots/storage_format.py."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    number = models.IntegerField(db_default=1)

    class Meta:
        default_permissions = ()  # only migrations write it
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="one_storage_format")]

    def __str__(self) -> str:
        return str(self.number)
