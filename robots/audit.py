"""Record each change and its actor in the audit log.

An entry is written in the transaction of the change, so that neither exists without the other. Frames and other data
that a robot streams are not recorded.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from robots.models import AuditEntry, Robot

Action, ActorType = AuditEntry.Action, AuditEntry.ActorType
BATCH_ROWS = 1000
MAX_VALUE_LENGTH = 10_240  # a note has at most 10,000 characters; meta_info may have 64 KiB
CUT_LENGTH = 1000
# Fields in the entry of an added or deleted object. They are named one by one, so that no entry holds a secret.
FIELDS = {
    "robots.robot": ("name", "robot_type", "meta_info"),
    "teleop.teleopsession": ("robot_id", "key", "start_time", "end_time", "frame_count", "meta_info"),
    "videos.videochunk": ("session_id", "camera_key", "start_timestamp", "end_timestamp", "size", "sha256"),
    "datasets.export": ("name", "format", "where", "session_count", "created_by", "size_bytes"),
    "auth.user": ("username", "is_active", "is_staff", "is_superuser"),
    "auth.group": ("name",),
    "authtoken.token": (),
}


class Actor(NamedTuple):
    type: ActorType
    name: str
    user_id: int | None = None


def actor_of(request) -> Actor:
    """Return the actor of a request of Django or of REST framework."""
    robot = getattr(request, "auth", None)
    if isinstance(robot, Robot):
        return Actor(ActorType.ROBOT, robot.pk)
    if request.user.is_authenticated:
        return person(request.user)
    return Actor(ActorType.ANONYMOUS, "")


def person(user) -> Actor:
    return Actor(ActorType.PERSON, user.get_username(), user.pk)


def command(name: str) -> Actor:
    return Actor(ActorType.COMMAND, name)


def record(actor: Actor, action: Action, objects: Iterable[models.Model], changes: dict | None = None) -> None:
    """Write one entry for each object, in the transaction of the change; for a deleted object before its deletion.

    `changes` is the result of difference(). Without it, the entry of an added or deleted object holds its FIELDS.
    """
    entries = [_entry(actor, action, each, changes) for each in objects]
    AuditEntry.objects.bulk_create(entries, batch_size=BATCH_ROWS)


def _entry(actor: Actor, action: Action, of: models.Model, changes: dict | None) -> AuditEntry:
    model, object_id, object_repr = identity(of)
    if changes is None:
        values = {name: value for name, value in values_of(of, FIELDS.get(model, ())).items() if value is not None}
        changes = {Action.ADDED: difference({}, values), Action.DELETED: difference(values, {})}.get(action, {})
    return AuditEntry(
        actor_type=actor.type,
        actor=actor.name,
        user_id=actor.user_id,
        action=action,
        model=model,
        object_id=object_id,
        object_repr=object_repr[:200],
        changes={name: [_bounded(value) for value in values] for name, values in changes.items()},
    )


def model_name(model: type[models.Model]) -> str:
    return model._meta.concrete_model._meta.label_lower


def identity(of: models.Model) -> tuple[str, str, str]:
    """Return the model's name, the primary key and the text of an object."""
    name = model_name(type(of))
    if name == "authtoken.token":  # a token's primary key and text are the token itself, which is a secret
        return name, str(of.user_id), f"token of {of.user}"
    return name, "" if of.pk is None else str(of.pk), str(of)


def values_of(of: models.Model, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list]:
    """Return `{field: [before, after]}` of the changed fields; for meta_info by key, such as `meta_info.task`."""
    before, after = _flat(before), _flat(after)
    changes = {}
    for name in {**before, **after}:
        was, is_now = before.get(name), after.get(name)
        if was != is_now or type(was) is not type(is_now):  # 1 == True, but they are two values of JSON
            changes[name] = [was, is_now]
    return changes


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        if name == "meta_info" and isinstance(value, dict):
            flat |= {f"meta_info.{key}": each for key, each in value.items()}
        else:
            flat[name] = value
    return flat


def _bounded(value: Any) -> Any:
    """Cut a long value, so that a robot that changes its meta_info again and again does not fill the table."""
    text = json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    if len(text) <= MAX_VALUE_LENGTH:
        return value
    return f"{text[:CUT_LENGTH]}… ({len(text)} characters; an entry stores at most {MAX_VALUE_LENGTH})"
