import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import models, transaction
from django.db.models import Case, Count, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Now

from robots import audit
from teleop.background.models import Job

FOLDER = "exports"  # in MEDIA_ROOT
PARTIAL = ".partial"
KIND = "export"  # of the background work
STATES = ("pending", "running", "done", "failed")
OF_EXPORT = re.compile(rf"([0-9]{{1,18}})({re.escape(PARTIAL)})?")


class ExportQuerySet(models.QuerySet):
    def pending(self):
        """Select the exports that are to be made, the oldest first."""
        return self.filter(state="pending").order_by("pk")

    def failed(self):
        return self.filter(state="failed")

    def expired(self, ago: timedelta = timedelta()):
        """Select the exports that have expired, at least for that time."""
        return self.filter(expires_at__lte=Now() - ago)

    def listed(self):
        """Leave the manifest and the report in the database: they have some MB if there are thousands of sessions."""
        return self.defer("manifest", "report").with_progress()

    def with_progress(self):
        """Add `shown_state`, one of STATES; `progress`, 0 to 1 or None; and `problem`, why the last attempt failed."""
        job = Job.objects.filter(kind=KIND, object_id=OuterRef("pk"))
        running = When(Q(state="pending") & ~Q(holder="") & Q(holder__isnull=False), then=Value("running"))
        return self.annotate(
            holder=Subquery(job.values("holder")),
            progress=Subquery(job.values("progress")),
            problem=Coalesce(Subquery(job.values("error")), Value(""), output_field=models.TextField()),
            shown_state=Case(running, default="state", output_field=models.CharField()),
        )

    def in_state(self, state: str):
        return self.with_progress().filter(shown_state=state)

    def totals(self) -> dict[str, int]:
        """Return the `count` of datasets that are stored, and their `size` in bytes."""
        return self.filter(state="done").aggregate(count=Count("pk"), size=Sum("size_bytes", default=0))

    def folders_without_row(self, before: datetime) -> Iterator[Path]:
        """Yield folders of deleted exports, and those of interrupted work, that were last changed before `before`."""
        for folder in _folders():
            changed = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            if changed < before and not self._is_named(folder.name):
                yield folder

    def _is_named(self, name: str) -> bool:
        """Check that the folder belongs to an export or, if it is a partial one, to a process that makes it now."""
        found = OF_EXPORT.fullmatch(name)
        if found is None:
            return False
        number, is_partial = int(found[1]), bool(found[2])
        if is_partial:
            return Job.objects.filter(kind=KIND, object_id=number).exclude(holder="").exists()
        return self.filter(pk=number).exists()

    def without_folder(self) -> Iterator[models.Model]:
        """Yield the exports whose dataset is missing in the storage."""
        for export in self.filter(state="done").defer("manifest", "report").order_by("pk"):
            if not export.folder.is_dir():
                yield export

    def delete(self, actor: audit.Actor | None = None):
        """Delete export by export, as each also deletes its folder; `actor` adds entries to the audit log."""
        with transaction.atomic():
            exports = list(self.defer("manifest", "report"))
            if actor:
                audit.record(actor, audit.Action.DELETED, exports)
            for export in exports:
                export.delete()
        return len(exports), {self.model._meta.label: len(exports)}

    delete.alters_data = True
    delete.queryset_only = True


def _folders() -> Iterator[Path]:
    try:
        yield from sorted(Path(settings.MEDIA_ROOT, FOLDER).iterdir())
    except FileNotFoundError:
        return
