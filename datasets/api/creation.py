"""Create an export from a request: select its sessions, freeze its manifest, and store it for the background work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError

from datasets.models import Export
from robots import audit
from robots.api.exceptions import Conflict
from teleop.background.process import work_is_due
from teleop.monitoring.disk_reserve import shortage
from videos.uploads import check_room


def dry_run(values: dict[str, Any]) -> dict[str, Any]:
    """Return the estimate of the export, and why the disk has no space for it; raises ValidationError, Conflict."""
    _, found = _selected(values)
    return found | {"shortage": shortage(in_media=found["bytes"])}


def create(values: dict[str, Any], actor: audit.Actor) -> Export:
    """Store the export; raises ValidationError, Conflict and DiskFull."""
    from datasets.manifest import freeze  # here, as it loads NumPy

    sessions, found = _selected(values)
    check_room(found["bytes"])
    options = values["options"]
    with _refusing(_field(values)):
        manifest = freeze(values["name"], sessions, options)
    export = Export(
        name=values["name"],
        format=options.format,
        options=options.to_json(),
        where=where_text(values.get("where", "")),
        session_count=len(manifest.sessions),
        estimate=found,
        manifest=manifest.to_json(),
        created_by=actor.name,
    )
    _insert(export, actor)
    work_is_due()
    return Export.objects.listed().get(pk=export.pk)


def where_text(where: str | dict[str, Any]) -> str:
    """Return the filters as in an address."""
    if isinstance(where, str):
        return where
    return urlencode({name: str(value).lower() if isinstance(value, bool) else value for name, value in where.items()})


def _field(values: dict[str, Any]) -> str:
    return "where" if "where" in values else "sessions"


def _selected(values: dict[str, Any]) -> tuple[QuerySet, dict[str, Any]]:
    """Return the sessions and the estimate."""
    from datasets.selection import check_cameras, check_rates, estimate, select  # here, as they load NumPy

    _check_name(values)
    options = values["options"]
    with _refusing(_field(values)):
        sessions = select(values.get("where", ""), values.get("sessions"))
    with _refusing("fps"):
        check_rates(sessions, options)
    with _refusing("cameras"):
        check_cameras(sessions, options)
    return sessions, estimate(sessions, options)


@contextmanager
def _refusing(field: str) -> Iterator[None]:
    """Answer a refusal with 400, which names the field."""
    from datasets.types import Refused

    try:
        yield
    except Refused as error:
        raise ValidationError({field: [str(error)]}) from None


def _check_name(values: dict[str, Any]) -> None:
    if Export.objects.filter(name=values.get("name")).exclude(state=Export.State.FAILED).exists():
        raise _taken(values["name"])


def _insert(export: Export, actor: audit.Actor) -> None:
    """Store the export, in place of a failed one of its name."""
    try:
        with transaction.atomic():
            Export.objects.failed().filter(name=export.name).select_for_update().delete(actor)
            export.save(force_insert=True)
            audit.record(actor, audit.Action.ADDED, [export])
            # After a restore of the database, an export that the backup did not know may have left a dataset here.
            export.delete_folders()
    except IntegrityError:  # of two requests at once
        raise _taken(export.name) from None


def _taken(name: str) -> Conflict:
    return Conflict(f"there is an export with the name {name}; delete it, or choose another name")
