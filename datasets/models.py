import shutil
from pathlib import Path

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now

from datasets.querysets import FOLDER, KIND, PARTIAL, ExportQuerySet
from teleop.background.models import Job
from teleop.fields import OrderedJSONField

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"  # also of the folder in the tar


class Export(models.Model):
    """A dataset that was made from sessions, or is to be made. Its files are in `MEDIA_ROOT/exports/<id>`.

    The manifest is frozen when the export is created: later labels do not change it. The process that makes the
    dataset has a Job (teleop/background/models.py); `Export.objects.with_progress()` adds its progress.
    """

    class State(models.TextChoices):
        PENDING = "pending"  # also while it is made: then its job has a holder, and `with_progress` says "running"
        DONE = "done"
        FAILED = "failed"

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[RegexValidator(rf"\A{NAME_PATTERN}\Z", f"name must match {NAME_PATTERN}")],
    )
    format = models.CharField(max_length=20)
    options = OrderedJSONField(default=dict)
    # The filters as a query string, such as `task=Fold the towel&success=true`; empty if sessions were listed.
    where = models.TextField(blank=True, default="", db_column="filters")  # SQL has the word WHERE
    session_count = models.IntegerField(default=0)
    estimate = OrderedJSONField(default=dict)  # of datasets/selection.py, when the export was created
    manifest = OrderedJSONField(default=dict)  # up to some MB: lists do not read it
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    error = models.TextField(blank=True, default="")
    report = OrderedJSONField(null=True)
    episodes = models.IntegerField(null=True)
    seconds = models.FloatField(null=True)  # of all episodes together
    size_bytes = models.BigIntegerField(null=True)
    created_by = models.CharField(max_length=150, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    objects = ExportQuerySet.as_manager()

    class Meta:
        default_permissions = ("add", "delete", "view")
        indexes = [models.Index(fields=["id"], condition=models.Q(state="pending"), name="exports_pending")]

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        """Return the folder of the dataset, which exists only as a whole."""
        return Path(settings.MEDIA_ROOT, FOLDER, str(self.pk))

    @property
    def partial_folder(self) -> Path:
        """Return the folder in which the dataset is made."""
        return self.folder.with_name(f"{self.pk}{PARTIAL}")

    def delete_folders(self) -> None:
        for folder in (self.folder, self.partial_folder):
            shutil.rmtree(folder, ignore_errors=True)  # clean_media deletes what remains

    @transaction.atomic
    def delete(self, *args, **kwargs):
        """Delete the row, and its files after the commit: if the transaction is rolled back, all remain.

        A process that makes the dataset is ended within 10 s, as it loses its job.
        """
        folders = Export(pk=self.pk)  # delete() sets the key to None
        Job.objects.filter(kind=KIND, object_id=self.pk).delete()
        deleted = super().delete(*args, **kwargs)
        transaction.on_commit(folders.delete_folders, robust=True)
        return deleted
