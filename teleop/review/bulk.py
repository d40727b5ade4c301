"""Change many sessions, each in its own transaction and under its own row lock, as PATCH does."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from rest_framework.exceptions import ErrorDetail, ValidationError

from robots import audit
from teleop.api.serializers import MAX_TAGS, SessionChangeSerializer
from teleop.models import LabelChanged, SessionIsLive, TeleopSession


def change_all(changes: Mapping[str, Any], actor: audit.Actor) -> dict[str, Any]:
    """Apply validated changes; return the ids of the changed sessions, and by id why others were not."""
    changed, refused = [], {}
    for session_id in dict.fromkeys(changes["ids"]):
        try:
            if _change(session_id, changes, actor):
                changed.append(session_id)
            else:
                refused[str(session_id)] = f"there is no session {session_id}; it may have been deleted"
        except ValidationError as error:
            refused[str(session_id)] = f"session {session_id}: {_sentence(error.detail)}"
        except (SessionIsLive, LabelChanged) as error:
            refused[str(session_id)] = str(error)
    return {"changed": changed, "refused": refused}


@transaction.atomic
def _change(session_id: int, changes: Mapping[str, Any], actor: audit.Actor) -> bool:
    """Return False if there is no such session."""
    # no_key: a plain FOR UPDATE would block the session's frames, as their foreign key locks this row too.
    session = TeleopSession.objects.select_for_update(no_key=True).filter(pk=session_id).first()
    if session is None:
        return False
    session.check_meta_is(changes.get("seen", {}))
    if labels := _labels(session, changes):
        SessionChangeSerializer().update(session, {"actor": actor, "meta_info": labels})
    if "trash" in changes:
        session.set_trashed(changes["trash"], actor)
    return True


def _labels(session: TeleopSession, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes of meta_info, with the tags of this session; raises ValidationError for too many tags."""
    labels = dict(changes.get("meta_info", {}))
    if changes.keys() & {"add_tags", "remove_tags"}:
        stored = session.labels["tags"]
        before = stored if isinstance(stored, list) else []
        added, removed = changes.get("add_tags", []), changes.get("remove_tags", [])
        tags = [tag for tag in [*before, *(tag for tag in added if tag not in before)] if tag not in removed]
        tags = list(dict.fromkeys(tags)) if all(isinstance(tag, str) for tag in tags) else tags
        if len(tags) > MAX_TAGS and len(tags) > len(before):
            raise ValidationError({"tags": [f"it would have {len(tags)} tags; at most {MAX_TAGS} expected"]})
        if tags != before:
            labels["tags"] = tags or None
    return labels


def _sentence(detail: Any) -> str:
    """Return the first message of an error."""
    while not isinstance(detail, ErrorDetail):
        detail = next(iter(detail.values())) if isinstance(detail, dict) else detail[0]
    return str(detail)
