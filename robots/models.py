import json
import re
import secrets

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now
from rest_framework.authtoken.models import TokenProxy

from robots import worker_messages
from robots.close_codes import Close
from robots.querysets import RobotQuerySet, hash_key
from robots.row_locks import RowLockQuerySet

ROBOT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# %.80s cuts a long value.
WRONG_ID = (
    'id is "%(value).80s"; 1 to 64 of the characters a-z, A-Z, 0-9, "_", "." and "-" expected, '
    "the first a letter or digit"
)


class Robot(models.Model):
    """One robot: its description, the hash of its key, and its last heartbeat (written by the ingest workers)."""

    class Status(models.TextChoices):
        ONLINE = "online"
        OFFLINE = "offline"
        ERROR = "error"

    id = models.CharField(
        max_length=64,
        primary_key=True,
        validators=[RegexValidator(rf"\A{ROBOT_ID.pattern}\Z", WRONG_ID)],
    )
    name = models.CharField(max_length=200, null=True, blank=True)
    robot_type = models.CharField(max_length=100, null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.OFFLINE)
    last_heartbeat = models.DateTimeField(null=True, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    meta_info = models.JSONField(null=True, blank=True)
    disabled = models.BooleanField(
        db_default=False, default=False, help_text="A disabled robot cannot connect; its sessions stay."
    )
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
        """Return a new key (256 bits, URL-safe), this once: only its hash is kept, and the old key is void.

        Workers close connections made with the old key after the commit: before the commit, the old key would still be
        accepted again. The message names the old hash, as it may arrive after the robot reconnected with the new key.
        """
        key, old_hash = secrets.token_urlsafe(32), self.key_hash
        self.key_hash = hash_key(key)
        self.save(update_fields=["key_hash"])
        if old_hash:
            of = {"robot_id": self.pk, "key_hash": old_hash}
            transaction.on_commit(lambda: worker_messages.close_connections(Close.KEY_REVOKED, **of))
        return key

    def close_if_disabled(self) -> None:
        """After the commit, close the robot's connections if it is disabled."""
        if self.disabled:
            transaction.on_commit(lambda: worker_messages.close_connections(Close.DISABLED, robot_id=self.pk))

    def has_key(self, key: str) -> bool:
        return bool(self.key_hash) and secrets.compare_digest(self.key_hash, hash_key(key))


class ApiToken(TokenProxy):
    """Token of a person for REST, without its secret in its text: the admin shows the text on pages and in messages."""

    class Meta:
        proxy = True
        default_permissions = ()  # those of authtoken's own model count
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"token of {self.user}"


class StorageFormat(models.Model):
    """Format of the recordings in this database: one row, read by robots/storage_format.py."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    number = models.IntegerField(db_default=1)

    class Meta:
        default_permissions = ()  # only migrations write it
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="one_storage_format")]

    def __str__(self) -> str:
        return str(self.number)


class AuditEntry(models.Model):
    """One change: its actor, its time, and the values before and after. Written by robots/audit.py.

    Django's LogEntry cannot store this: it needs a user for every entry, and a robot or a command is no user. It also
    deletes the entries of a user together with the user. Here the actor's name is text and outlives the user.
    """

    class ActorType(models.TextChoices):
        PERSON = "person"
        ROBOT = "robot"
        COMMAND = "command"
        ANONYMOUS = "anonymous"  # ROBOT_AUTH=open

    class Action(models.TextChoices):
        ADDED = "added"
        CHANGED = "changed"
        DELETED = "deleted"
        ENDED = "ended"
        DISCONNECTED = "disconnected"
        KEY_ISSUED = "key issued"
        LINK_ISSUED = "link issued"
        ERASED = "erased"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now(), editable=False)
    actor_type = models.CharField(max_length=10, choices=ActorType)
    actor = models.CharField(max_length=200)
    # No constraint in the database: a server older than this table deletes users without a query of this table.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", db_constraint=False
    )
    action = models.CharField(max_length=20, choices=Action)
    model = models.CharField(max_length=100)  # "teleop.teleopsession"; as text it needs no content type
    object_id = models.CharField(max_length=200)
    object_repr = models.CharField(max_length=200)
    changes = models.JSONField(default=dict, encoder=DjangoJSONEncoder)  # {field: [before, after]}

    objects = RowLockQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["model", "object_id"], name="audit_of_object")]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.who}: {self.action} {self.model} {self.object_id}"

    @property
    def who(self) -> str:
        return self.actor if self.actor_type == self.ActorType.PERSON else f"{self.actor_type} {self.actor}".rstrip()

    @property
    def change_lines(self) -> list[str]:
        return [
            f"{name}: {' → '.join(json.dumps(value, ensure_ascii=False) for value in values)}"
            for name, values in self.changes.items()
        ]
